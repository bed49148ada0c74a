from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from monai_smia.attacks import BIM
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.report.figures import Panel, detection_figure
from monai_smia.report.figures.detection import DECISION, FOUND, TRUTH

LABEL = {"boxes": torch.tensor([[4.0, 4, 20, 20], [30, 10, 60, 30]]), "labels": torch.tensor([0, 1])}
NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long), "scores": torch.zeros(0)}


def test_right_boxes_are_told_from_wrong_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    write = Figure.savefig

    def savefig(self: Figure, *args: Any, **options: Any) -> None:
        figures.append(self)
        write(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    image = torch.rand(3, 64, 40, generator=torch.Generator().manual_seed(0)) * 0.8
    found = {
        "boxes": torch.tensor([[4.0, 4, 20, 22], [4, 4, 20, 20], [30, 10, 40, 30], [30, 10, 60, 30]]),
        "labels": torch.tensor([0, 1, 1, 1]),  # right; of another class; too small; right, but unsure
        "scores": torch.tensor([0.9, 0.8, 0.5, 0.2]),
    }
    row = PlannedAttack(BIM(eps=0.01, loss="ranking"), 0.01, "equal radius")
    path = tmp_path / "figures" / "case.png"
    detection_figure(path, image, LABEL, found, [Panel(row.key(), image + 0.01, NOTHING)], classes=["bubbles", "blur"])
    clean, attacked = figures[0].axes
    assert clean.get_title() == "clean: 1 of 2 objects found, 2 boxes wrong"
    assert attacked.get_title() == "BIM ranking 0.01 (equal radius): 0 of 2 objects found, 0 boxes wrong"
    assert Counter(to_hex(patch.get_edgecolor()) for patch in clean.patches) == {TRUTH: 2, FOUND: 1, DECISION: 2}
    assert Counter(to_hex(patch.get_edgecolor()) for patch in attacked.patches) == {TRUTH: 2}
    assert [text.get_text() for text in clean.texts] == ["bubbles", "blur", "bubbles 0.90", "blur 0.80", "blur 0.50"]
    assert Image.open(path).size[0] >= 880  # labels can be read


def test_a_picture_without_objects(tmp_path: Path) -> None:
    label = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    path = tmp_path / "case.png"
    detection_figure(path, torch.rand(3, 20, 30), label, {**LABEL, "scores": torch.ones(2)}, [])
    assert path.is_file()
