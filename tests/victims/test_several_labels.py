"""A classifier of several labels, from the victim to the report."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from helpers import network
from monai.data import MetaTensor

from monai_smia.evaluation import AttackEvaluation, paper_comparison
from monai_smia.metrics import ClassificationMetrics
from monai_smia.report.figures import photograph_figure
from monai_smia.victims import ClassificationVictim


def test_every_case_is_evaluated_and_drawn(tmp_path: Path) -> None:
    """With figures on every case failed: only one element tensors can be converted."""
    victim = ClassificationVictim(network("classification", 2, channels=3, classes=4).eval(), activation="sigmoid")
    images = [torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(number)) for number in range(4)]
    labels = [victim.decide(victim.infer(image[None]))[0].long() for image in images]
    labels[0][:] = 1 - labels[0]  # wrong when clean
    evaluation = AttackEvaluation(
        cases=[{"case": str(number), "image": number, "label": number} for number in range(4)],
        loading=lambda item: {"image": MetaTensor(images[item["image"]]), "label": labels[item["label"]]},
        victim=victim,
        attacks=paper_comparison(0.1, steps=4),
        metrics=ClassificationMetrics(4),
        output_dir=tmp_path,
        figure=photograph_figure,
        progress=False,
    )
    rows = {row["attack"]: row for row in evaluation.run()["rows"]}
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    clean = [record for record in records if record.get("attack") == "Clean"]
    assert [record["accuracy"] for record in clean] == [0, 1, 1, 1]
    assert all(len(record[name]) == 4 for record in clean for name in ("grade", "decided", "probabilities", "log_odds"))
    assert rows["Clean"]["accuracy"] == 0.75
    assert rows["BIM"]["accuracy"] < 0.75
    assert list((tmp_path / "figures").glob("*.png"))
