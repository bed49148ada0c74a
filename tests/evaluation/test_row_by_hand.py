"""The records of one row of one case: figures of the pipeline, sizes, what is stored, drawn and told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_smia.attacks import BIM, CriticalRadius, Noise
from monai_smia.evaluation import PlannedAttack
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.errors import DisagreementError
from monai_smia.evaluation.pipeline import Scored
from monai_smia.evaluation.row import RowEvaluator
from monai_smia.metrics import CaseMetrics
from monai_smia.storage import BelowOneUnitError, NotStorableError
from monai_smia.victims import ClassificationVictim

CPU = torch.device("cpu")


class Right(CaseMetrics):
    primary = "accuracy"

    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        return {"accuracy": 1.0 - float(victim.damage(prediction, label)[0])}


class Sign(nn.Module):
    """Class 1 where the mean lies above a half."""

    def forward(self, image: Tensor) -> Tensor:
        score = image.flatten(1).mean(1) - 0.5
        return torch.stack([-score, score], 1)


@dataclass
class Asked:
    """A pipeline of which every answer is given, and that notes what it was asked."""

    share: float | None = 1.0
    shown: Any = 1
    images: list[Any] = field(default_factory=list)

    def fingerprint_parts(self) -> Mapping[str, Any]:
        return {}

    def prepare(self, case: Case) -> Case:
        return case

    def score(self, case: Case, image: Tensor | Path, metrics: CaseMetrics) -> Scored:
        self.images.append(image)
        damage = 0.75 if isinstance(image, Path) else float(image.mean() < 0.5)
        return Scored({"accuracy": 1 - damage}, damage, decision=0)

    def agreement(self, case: Case) -> float | None:
        return self.share

    def difference(self, case: Case, share: float) -> str:
        return f"they differ: {share}"

    def shown_truth(self, case: Case) -> Any:
        return self.shown


class Files:
    """Writes nothing, and reads what it was given times a factor; or raises."""

    def __init__(self, factor: float = 1.0, error: Exception | None = None) -> None:
        self.factor, self.error, self.written = factor, error, {}  # type: ignore[var-annotated]

    def write(self, image: Tensor, adversarial: Tensor, **options: Any) -> Path:
        if self.error is not None:
            raise self.error
        self.written = {"image": image, "adversarial": adversarial, **options}
        return Path("file")

    def read(self, path: Any) -> Tensor:
        clean: Tensor = self.written["image"]
        return clean + self.factor * (self.written["adversarial"] - clean)


def case() -> Case:
    image = torch.full((1, 1, 8), 0.55)
    return Case(
        "c", "source", image, torch.tensor([1]), torch.ones_like(image, dtype=torch.bool), patient="p", frozen=0.25
    )


def evaluator(folder: Path, pipeline: Any = None, **options: Any) -> RowEvaluator:
    victim = ClassificationVictim(Sign(), loss="margin")
    return RowEvaluator(victim, Right(), folder, CPU, unit="HU", pipeline=pipeline, **options)


ROW = PlannedAttack(BIM(eps=0.1, steps=2, clip=None, seed=3, progress=False), 0.1, "equal radius")


def test_a_clean_row_and_its_agreement(tmp_path: Path) -> None:
    (clean,) = evaluator(tmp_path, Asked(share=0.95))(case(), PlannedAttack())
    assert clean.metrics == {
        "accuracy": 1.0, "damage": 0.0, "clean_damage": 0.0, "added_damage": 0.0, "frozen": 0.25, "agreement": 0.95,
    }  # fmt: skip
    assert (clean.costs.gradients, clean.seed, clean.history, clean.patient) == (None, None, None, "p")
    assert clean.costs.seconds is not None
    assert clean.costs.seconds > 0
    with pytest.raises(DisagreementError, match=r"they differ: 0\.949"):
        evaluator(tmp_path, Asked(share=0.949))(case(), PlannedAttack())
    (alone,) = evaluator(tmp_path)(case(), PlannedAttack())
    assert "agreement" not in alone.metrics
    assert alone.probe is None
    (probed,) = evaluator(tmp_path)(case(), PlannedAttack(), probe_with=ROW.attack)
    assert probed.probe is not None


def test_an_attacked_row_has_the_sizes_of_its_change(tmp_path: Path) -> None:
    pipeline = Asked()
    (record,) = evaluator(tmp_path, pipeline)(case(), ROW)
    assert len(pipeline.images) == 2  # the attacked image, and the clean one of which nothing is known yet
    assert record.metrics["linf"] == pytest.approx(0.1)
    assert record.metrics["l2"] == pytest.approx(0.1 * 8**0.5)
    assert record.metrics["at_bound"] == 1.0
    assert (record.metrics["damage"], record.metrics["clean_damage"], record.metrics["added_damage"]) == (1, 0, 1)
    costs = record.costs
    assert (costs.gradients, costs.planned_gradients, costs.zero_gradient_steps) == (2, 2, 0)
    assert record.history is not None
    assert set(record.history) == {"loss", "cosine", "linf", "variance"}
    assert record.history["linf"] == pytest.approx([0.0, 0.1, 0.1])
    assert (record.row.eps_input, record.row.unit) == (0.1, "HU")
    known = case()
    known.clean_damage, known.clean_metrics = 0.5, {"accuracy": 0.5}
    pipeline.images.clear()
    (record,) = evaluator(tmp_path, pipeline)(known, ROW)
    assert (len(pipeline.images), record.metrics["added_damage"]) == (1, 0.5)


@pytest.mark.parametrize(("share", "at_bound"), [(0.9985, 0.0), (0.9995, 1.0)])
def test_what_lies_within_a_thousandth_of_the_radius_is_at_it(share: float, at_bound: float, tmp_path: Path) -> None:
    row = PlannedAttack(BIM(eps=0.1, steps=1, step_size=0.1 * share, clip=None, progress=False), 0.1, "x")
    (record,) = evaluator(tmp_path)(case(), row)
    assert record.metrics["at_bound"] == at_bound


@pytest.mark.parametrize(("factor", "lost"), [(1.0, False), (0.5, False), (0.0, True)])
def test_a_stored_row_is_of_the_file(factor: float, lost: bool, tmp_path: Path) -> None:
    files, pipeline, kept = Files(factor), Asked(), []
    computed, stored = evaluator(tmp_path, pipeline, storage=files)(
        case(), ROW, settle=lambda record, path: kept.append((record, path))
    )
    assert pipeline.images[-1] == Path("file")
    assert (stored.metrics["damage"], stored.below_quantization, str(stored.stage)) == (0.75, lost, "stored")
    assert stored.metrics["linf"] == pytest.approx(0.1 * factor, abs=1e-7)
    assert files.written["stem"] == "c_bim_equal-radius_eps0.1"
    assert (files.written["eps"], files.written["source"], "norm" in files.written) == (0.1, "source", False)
    assert kept == [(computed, Path("file"))]
    assert (stored.history, stored.costs.seconds) == (None, None)


def test_the_norm_is_said_where_it_is_another(tmp_path: Path) -> None:
    files = Files()
    row = PlannedAttack(BIM(eps=0.1, steps=1, norm="l2", clip=None, progress=False), 0.1, "x")
    evaluator(tmp_path, storage=files, pipeline=Asked())(case(), row)
    assert files.written["norm"] == "l2"


def test_less_than_one_unit_is_no_file(tmp_path: Path) -> None:
    kept: list[Any] = []
    pipeline = Asked()
    _, stored = evaluator(tmp_path, pipeline, storage=Files(error=BelowOneUnitError("x")))(
        case(), ROW, settle=lambda *told: kept.append(told)
    )
    assert (stored.below_quantization, stored.metrics["linf"], stored.metrics["damage"]) == (True, 0.0, 0.0)
    assert kept == []
    none = PlannedAttack(Noise(eps=0.0, clip=None), 0.0, "x")
    _, stored = evaluator(tmp_path, Asked(), storage=Files(error=BelowOneUnitError("x")))(case(), none)
    assert not stored.below_quantization  # nothing was computed that could be lost


def test_what_no_file_can_hold_is_told_once_a_case(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    evaluate = evaluator(tmp_path, Asked(), storage=Files(error=NotStorableError("no file of mine")))
    with caplog.at_level(logging.INFO, logger="monai_smia"):
        for _ in range(2):
            assert [str(record.stage) for record in evaluate(case(), ROW)] == ["computed"]
    assert [r.getMessage() for r in caplog.records if r.name.startswith("monai_smia")] == [
        "c has no stored rows: no file of mine"
    ]


@pytest.mark.parametrize(
    ("draw", "shown", "count"),
    [(lambda r: True, 1, 1), (lambda r: False, 1, 0), (None, 1, 0), (lambda r: True, None, 0)],
)
def test_what_is_drawn(draw: Any, shown: Any, count: int, tmp_path: Path) -> None:
    drawn: list[Any] = []
    evaluate = evaluator(tmp_path, Asked(shown=shown), figure=lambda *told: drawn.append(told))
    evaluate(case(), ROW, draw=draw)
    assert len(drawn) == count
    if count:
        path, image, truth, clean, panels, unit = drawn[0]
        assert path.parent == tmp_path / "figures"
        assert (truth, clean, unit, len(panels)) == (1, 0, "HU", 1)
        assert torch.equal(image, case().image[0])


def test_a_search_for_a_radius_asks_the_pipeline(tmp_path: Path) -> None:
    """The victim falls below a mean of a half; the pipeline as well, and it is asked at every radius."""
    pipeline = Asked()
    search = CriticalRadius(BIM(eps=0.2, steps=2, clip=None, progress=False), precision=0.1, progress=False)
    (record,) = evaluator(tmp_path, pipeline)(case(), PlannedAttack(search, 0.2, "critical radius"))
    assert 0.05 <= record.metrics["linf"] <= 0.056
    assert len(pipeline.images) > 5
    assert search.judge is None
