"""The evaluation of tasks whose label is no image: a grade, and boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import network
from monai.data import MetaTensor
from torch import Tensor

from monai_smia.evaluation import AttackEvaluation, PlannedAttack, paper_comparison
from monai_smia.evaluation.cases import batch_of_one
from monai_smia.metrics import CaseMetrics
from monai_smia.victims import ClassificationVictim, Victim


class Grade(CaseMetrics):
    """Accuracy from the records, as kappa or AUC would be."""

    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        return {
            "grade": int(label[0]),
            "decision": int(victim.decide(prediction)[0]),
            "probabilities": prediction.softmax(1)[0].tolist(),
        }

    def summary(self, records: Any) -> dict[str, float | None]:
        return {"accuracy": sum(r["grade"] == r["decision"] for r in records) / len(records)}


class CentreVictim(Victim):
    """Finds one box: its centre is the image's centre of mass; the prediction is a dictionary of head maps."""

    def __init__(self) -> None:
        super().__init__(
            torch.nn.Identity(), loss=self.distance, divergence=lambda p, q: (p["box_reg"] - q["box_reg"]).abs()[:, 0]
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = torch.arange(image.shape[-1], dtype=image.dtype)
        weight = image.sum((1, 2))
        return {"box_reg": (weight * x).sum(1, keepdim=True) / weight.sum(1, keepdim=True)}

    def distance(self, prediction: Any, label: Any) -> Tensor:
        truth = torch.stack([(target["boxes"][0, 0] + target["boxes"][0, 2]) / 2 for target in label])
        return (prediction["box_reg"][:, 0] - truth).abs()

    def decide(self, prediction: Any) -> list[dict[str, Tensor]]:
        return [{"boxes": torch.stack([c - 1, c - 1, c + 1, c + 1], -1).detach()} for c in prediction["box_reg"]]

    def damage(self, prediction: Any, label: Any) -> Tensor:
        return (self.distance(prediction, label) > 1).float()

    def check_label(self, prediction: Any, label: Any) -> None:
        assert isinstance(label, list)

    def batch_size(self, prediction: Any) -> int:
        return len(prediction["box_reg"])


class Distance(CaseMetrics):
    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        boxes = victim.decide(prediction)[0]["boxes"].tolist()
        return {"distance": float(victim.distance(prediction, label)[0]), "boxes": boxes}


def run(folder: Path, victim: Victim, metrics: CaseMetrics, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    images = {c["image"]: torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(i)) for i, c in enumerate(cases)}
    evaluation = AttackEvaluation(
        cases=cases,
        loading=lambda item: {"image": images[item["image"]], "label": item["label"]},
        victim=victim,
        attacks=[row for row in paper_comparison(0.1, steps=3) if row.name in ("Clean", "BIM")],
        metrics=metrics,
        output_dir=folder,
        progress=False,
    )
    rows = evaluation.run()["rows"]
    assert [row["stage"] for row in rows] == ["computed"] * len(rows)  # no storage was given
    return rows


def test_grades(tmp_path: Path) -> None:
    victim = ClassificationVictim(network("classification", 2).eval())
    cases = [{"case": str(i), "image": f"{i}.png", "label": i % 3} for i in range(3)]
    clean, bim = run(tmp_path, victim, Grade(), cases)[:2]
    assert bim["accuracy"] < clean["accuracy"]
    assert "grade" not in clean  # a fact, not a metric: no mean of it
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert sum(records[0]["probabilities"]) == pytest.approx(1)
    assert "probabilities" not in (tmp_path / "cases.csv").read_text()


def test_boxes(tmp_path: Path) -> None:
    truth = {"boxes": [[2.5, 0.0, 4.5, 8.0]], "labels": [0]}
    rows = run(tmp_path, CentreVictim(), Distance(), [{"case": "a", "image": "a.png", "label": truth}])
    assert rows[1]["distance"] > rows[0]["distance"] + 0.05
    assert "boxes" not in rows[0]


def test_extra_attacks_join_at_equal_radius() -> None:
    from monai_smia.attacks import PGD

    plan = paper_comparison([0.1, 0.2], steps=4, extra=[lambda **o: PGD(norm="l2", **o)])
    extra = [row for row in plan if getattr(row.attack, "norm", "") == "l2"]
    assert [(r.eps, r.attack.steps, r.setting) for r in extra if isinstance(r, PlannedAttack) and r.attack] == [
        (0.1, 4, "equal radius"),
        (0.2, 4, "equal radius"),
    ]


def test_only_a_label_map_must_be_on_the_images_grid() -> None:
    image = MetaTensor(torch.zeros(1, 4, 4), affine=torch.eye(4))
    assert batch_of_one(torch.tensor([0, 1, 1]), image).tolist() == [[0, 1, 1]]
    with pytest.raises(ValueError, match="shape"):
        batch_of_one(torch.zeros(1, 5, 4), image)
    with pytest.raises(ValueError, match="affine"):
        batch_of_one(MetaTensor(torch.zeros(1, 4, 4), affine=torch.diag(torch.tensor([2.0, 2, 1, 1]))), image)
