from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from monai_smia.attacks import BIM
from monai_smia.evaluation import PlannedAttack
from monai_smia.report.figures import Panel, photograph_figure
from monai_smia.report.figures.photograph import _named


def colors(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_every_panel_is_drawn_with_its_perturbation(tmp_path: Path) -> None:
    image = torch.full((3, 40, 60), 100.0)
    panels = []
    for shift in (4.0, -4.0, 0.0):
        row = PlannedAttack(BIM(eps=4.0, clip=(0.0, 255.0)), 4 / 255, "equal radius").key()
        panels.append(Panel(row, image + shift, torch.tensor(2)))
    photograph_figure(tmp_path / "figures" / "eye.png", image, torch.tensor(1), torch.tensor(1), panels, "grey levels")
    drawn = colors(tmp_path / "figures" / "eye.png")
    assert [p.name for p in (tmp_path / "figures").iterdir()] == ["eye.png"]
    flat = drawn.reshape(-1, 3)
    for grey in (100, 104, 96):  # clean, and the two adversarial photographs
        assert (np.abs(flat - grey).max(1) <= 1).sum() > 500
    for magnified in (255, 0, 127):  # change by plus eps, by minus eps, and none
        assert (np.abs(flat - magnified).max(1) <= 1).sum() > 500


def test_images_in_unit_range(tmp_path: Path) -> None:
    image = torch.full((3, 40, 60), 0.2)
    panel = Panel(PlannedAttack(BIM(eps=0.1), 0.1, "").key(), image, torch.tensor(0))
    photograph_figure(tmp_path / "eye.png", image, 0, torch.tensor(0), [panel], "")
    assert (np.abs(colors(tmp_path / "eye.png") - 51).max(-1) <= 1).sum() > 500


@pytest.mark.parametrize(
    ("classes", "name"),
    [
        (3, "3"),
        (torch.tensor(2), "2"),
        (torch.tensor([1]), "1"),
        (torch.tensor([0, 1, 1]), "1, 2"),
        (torch.tensor([0, 0]), "none"),
    ],
)
def test_classes_and_labels_by_their_numbers(classes: object, name: str) -> None:
    assert _named(classes) == name
