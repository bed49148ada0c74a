from __future__ import annotations

import re

import pytest

from monai_smia.records.rows import ALPHA, CLEAN, COMPUTED, EQUAL_RADIUS, ITERATIONS, STORED, RowKey, Stage

ROWS = [
    (RowKey(), "Clean", "clean"),
    (RowKey("PGD", EQUAL_RADIUS, "soft_jaccard", 5e-5), "PGD soft_jaccard, equal radius, eps 5e-05", None),
    (RowKey("BIM", ITERATIONS, eps=0.05, steps=25), "BIM, 25 iterations, eps 0.05", "bim_25-iterations_eps0.05"),
    (RowKey("SMIA", ALPHA, eps=0.05, alpha=0.75), "SMIA, alpha 0.75, eps 0.05", "smia_alpha-0.75_eps0.05"),
    (RowKey("Ensemble(PGD, Square)", eps=0.1), "Ensemble(PGD, Square), eps 0.1", "ensemble-pgd-square_eps0.1"),
    (RowKey("Transfer/../x", loss="<lambda>", eps=0.1), None, "transfer-..-x_lambda_eps0.1"),
]


@pytest.mark.parametrize(("row", "label", "slug"), ROWS)
def test_names(row: RowKey, label: str | None, slug: str | None) -> None:
    assert label is None or row.label == label
    assert slug is None or row.slug == slug
    assert re.fullmatch(r"[a-z0-9._+-]+", row.slug)  # a safe file name
    assert row.is_clean == (row.attack == CLEAN)
    assert RowKey.from_json({**row.to_json(), "jaccard": 0.5}) == row


@pytest.mark.parametrize("stage", [COMPUTED, STORED, Stage.after("gaussian smoothing"), Stage.oracle("x")])
def test_a_stage_is_told_by_its_text(stage: Stage) -> None:
    assert Stage.parse(str(stage)) == stage
    assert stage.is_after == (stage == Stage.after("gaussian smoothing"))
