"""Pictures of an image whose landmarks are predicted, under attack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_smia.report.figures.panel import DECISION, TRUTH, Panel, saved_figure, show
from monai_smia.units import in_unit
from monai_smia.victims.preprocessing import as_plain

INCHES, TITLE = 3.2, 0.3  # of the longer side of a picture, above it


def landmark_figure(
    path: Path,
    image: Tensor,
    label: Tensor,
    clean_decision: Tensor,
    panels: Sequence[Panel],
    unit: str = "",
    *,
    point_axis: int = 1,
) -> None:
    """Landmarks on the clean image and under every attack: true ones blue, predicted ones red, a line between the two.

    Args:
        path: PNG to write.
        image: clean image ``(1 or 3, H, W)``.
        label: true points, NaN where one is not known, as indices of the image's two axes.
        clean_decision: points on the clean image.
        panels: every attack, with the points predicted.
        unit: unit of the image.
        point_axis: axis of a batch of points that holds the two coordinates of each.
    """
    cells: list[tuple[str, Tensor, Any]] = [("clean", image, clean_decision)]
    cells += [(panel.title(in_unit(f"{panel.bound:.3g}", unit)), panel.image, panel.decision) for panel in panels]
    height, width = (INCHES * n / max(image.shape[1:]) for n in image.shape[1:])
    low, high = float(image.min()), float(image.max())
    truth = _points(label, point_axis)
    with saved_figure(path, (width * len(cells), height + TITLE)) as figure:
        for column, (title, attacked, decision) in enumerate(cells):
            axis = figure.add_axes((column / len(cells), 0, 0.99 / len(cells), height / (height + TITLE)))
            found = _points(decision, point_axis)
            distance = np.linalg.norm(found - truth, axis=1)
            grey = (as_plain(attacked).detach().float().cpu().permute(1, 2, 0).numpy() - low) / max(high - low, 1e-12)
            title = f"{title}: mean error {np.nanmean(distance):.3g}"
            show(axis, grey.clip(0, 1).squeeze(), title, fontsize=6.5, cmap="gray", vmin=0, vmax=1)
            for (i, j), (y, x) in zip(truth, found, strict=True):
                axis.plot([j, x], [i, y], color=DECISION, linewidth=0.8)
            axis.plot(truth[:, 1], truth[:, 0], "o", color=TRUTH, markersize=4, fillstyle="none")
            axis.plot(found[:, 1], found[:, 0], "x", color=DECISION, markersize=4)


def _points(numbers: Any, point_axis: int) -> np.ndarray:
    """The points ``(N, 2)`` of one image."""
    values = as_plain(torch.as_tensor(numbers)).detach().double().cpu()
    return np.asarray(values.movedim(point_axis - (point_axis > 0), -1).reshape(-1, 2).numpy())
