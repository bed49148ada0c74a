"""How a case is looked at: what is drawn of a decision, and what is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from monai.data import MetaTensor

from monai_smia.report.figures.views import BLUE, ORANGE, YELLOW, DetectionView, PhotographView, SegmentationView, View


def drawn(view: View, decision: Any) -> Any:
    axis = Figure().subplots()
    view.decide(axis, decision)
    return axis


def colors(axis: Any) -> list[tuple[str, str]]:
    return [(to_hex(patch.get_edgecolor()).upper(), patch.get_linestyle()) for patch in axis.patches]


def test_boxes_are_told_apart_by_color_and_line() -> None:
    label = {"boxes": torch.tensor([[4.0, 4, 20, 20], [30, 10, 60, 30]]), "labels": torch.tensor([0, 1])}
    found = {
        "boxes": torch.tensor([[4.0, 4, 20, 22], [30, 10, 40, 30], [30, 10, 60, 30]]),
        "labels": torch.tensor([0, 1, 1]),  # right; too small; right, but unsure
        "scores": torch.tensor([0.9, 0.5, 0.2]),
    }
    view = DetectionView(torch.rand(3, 64, 40), label, "", ["bubbles", "blur"])
    axis = drawn(view, found)
    assert colors(axis) == [(BLUE.upper(), ":")] * 2 + [(YELLOW.upper(), "-"), (ORANGE.upper(), "--")]
    assert [text.get_text() for text in axis.texts] == ["bubbles 0.90", "blur 0.50"]
    assert view.said(found, {}) == "1 of 2 found, wrong boxes: 1"
    assert view.ratio == 40 / 64  # MONAI has the width first
    eta = torch.zeros(3, 64, 40)
    eta[0, 5, 7] = 3.0
    assert np.argwhere(view.change(eta) == 1).tolist() == [[7, 5]]  # mean of three channels, row and column


def test_a_photograph_is_right_or_wrong() -> None:
    view = PhotographView(torch.full((3, 8, 10), 200.0), torch.tensor(2), "grey levels", ["None", "Mild", "Moderate"])
    assert view.said(torch.tensor(2), {}) == "Moderate, right"
    assert view.said(torch.tensor(1), {}) == "Mild, wrong"
    assert colors(drawn(view, torch.tensor(2))) == [(BLUE.upper(), "-")]
    assert colors(drawn(view, torch.tensor(0))) == [(ORANGE.upper(), "--")]
    axis = Figure().subplots()
    view.draw(axis, torch.full((3, 8, 10), 255.0))
    assert axis.images[0].get_array().max() == pytest.approx(1)


def test_a_slice_is_seen_in_its_window_with_a_scale_in_millimeters() -> None:
    affine = torch.diag(torch.tensor([-2.0, -3.0, 5.0, 1.0]))
    label = torch.zeros(1, 12, 10, 6)
    label[:, 3:9, 2:8, 4] = 1
    image = MetaTensor(torch.full((1, 12, 10, 6), -500.0), affine=affine)
    view = SegmentationView(image, label, "HU")
    axis = Figure().subplots()
    view.draw(axis, image)
    assert axis.images[0].get_clim() == (-1000, 400)
    assert view.note() == "Window -1000 to 400 HU."
    assert view.bar() == (25.0, "50 mm")  # of 2 mm along the axis that is drawn across
    assert view.ratio == pytest.approx(10 * 3 / (12 * 2))
    assert view.plane.index == 4
    assert len(drawn(view, label).collections) == 2
    assert view.said(label, {"jaccard": 0.5}) == "Jaccard index 0.500"


def test_the_scale_follows_the_axis_that_is_drawn_across() -> None:
    """A volume stored with its axes in another order is turned before it is drawn."""
    affine = torch.tensor([[0.0, -3, 0, 0], [-2, 0, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])  # rows run to the front
    image = MetaTensor(torch.zeros(1, 12, 10, 6), affine=affine)
    label = torch.zeros(1, 12, 10, 6)
    label[:, 3:9, 2:8, 4] = 1
    assert SegmentationView(image, label, "HU").bar() == (pytest.approx(50 / 3), "50 mm")
