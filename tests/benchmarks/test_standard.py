"""What the comparison with other libraries counts, and when its sentences are true."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_smia.threat import ThreatModel


@pytest.fixture(scope="module")
def standard() -> Any:
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import standard
    finally:
        sys.path.remove(folder)
    return standard


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.3)])
def test_an_image_outside_of_the_ball_or_the_range_counts_as_the_clean_one(
    standard: Any, norm: str, eps: float
) -> None:
    image = torch.full((4, 1, 3, 3), 0.05)
    image[2:] = 0.5
    found = image + 0.0999  # of nine voxels: an L2 norm of 0.2997
    found[1] -= 0.1998  # below the range
    found[3] += 0.001  # beyond the radius
    kept = standard.allowed(found, image, ThreatModel(eps, norm))
    assert [bool((kept[k] == found[k]).all()) for k in range(4)] == [True, False, True, False]
    assert torch.equal(kept[[1, 3]], image[[1, 3]])


def rows(ours: float, theirs: float, first: float, seconds: float) -> list[dict[str, Any]]:
    common = {"network": "plain", "norm": "linf", "eps": 0.1, "steps": 100, "clean": 1.0}
    kept = {
        "ours: standard": (ours, seconds),
        "ours: soft Jaccard alone": (first, 1.0),
        "ours: steered balanced CE alone": (0.9, 1.0),
        "torchattacks: AutoAttack": (theirs, 10.0),
        "all of the others together": (theirs, 20.0),
    }
    return [{**common, "attack": name, "kept": k, "seconds": s} for name, (k, s) in kept.items()]


def test_a_sentence_is_true_only_where_ours_is_lowest_or_level_and_in_time(standard: Any) -> None:
    def true(claims: Any, *values: float) -> list[bool]:
        return [bool(told) for _, told in claims(rows(*values))]

    assert true(standard.classification_claims, 0.30, 0.30, 0.4, 5.0) == [True, True]
    assert true(standard.classification_claims, 0.31, 0.30, 0.4, 5.1) == [False, False]
    assert true(standard.segmentation_claims, 0.29, 0.30, 0.30, 5.0) == [True, True]
    assert true(standard.segmentation_claims, 0.304, 0.30, 0.32, 5.0) == [True, True]
    *_, (level, _) = standard.segmentation_claims(rows(0.29, 0.30, 0.304, 5.0))
    *_, (worse, _) = standard.segmentation_claims(rows(0.29, 0.30, 0.306, 5.0))
    assert (level.endswith("at most 0.0040 above it."), worse.endswith("0.0060 above it, which is not level.")) == (
        True,
        True,
    )
    (line, *_) = standard.pivoted(rows(0.29, 0.30, 0.30, 5.0))
    assert line == {"attack": "clean", "plain, 0.1, 100 gradients": "1.000"}
