"""Pictures of a case under attack."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from monai_smia.evaluation.plan import PlannedAttack

WINDOWS = {"HU": (-1000.0, 400.0)}
TRUE, DECIDED = "#00c8ff", "#ff5050"


def case_figure(
    path: Path, image: Tensor, label: Tensor, panels: Sequence[tuple[PlannedAttack, Tensor, Tensor]], unit: str = ""
) -> None:
    """One row per attack: clean image with the label, perturbation, adversarial image with label and decision.

    A volume is shown in the axial slice with most label.

    Args:
        path: PNG to write.
        image: clean image ``(C, *spatial)``.
        label: label map ``(1, *spatial)``.
        panels: row, adversarial image and decision ``(1, *spatial)`` of every attack.
        unit: unit of the image.
    """
    shown = [(row, a, d) for row, a, d in panels if row.attack is not None] or list(panels)
    clean, truth = _slice(image, label), _slice(label, label)
    low, high = WINDOWS.get(unit, (float(image.min()), float(image.max())))
    figure = Figure(figsize=(9, 3 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown), 3, squeeze=False)
    for (row, adversarial, decision), (left, middle, right) in zip(shown, axes, strict=True):
        bound = float(row.attack.eps) if row.attack is not None else 1.0
        attacked = _slice(adversarial, label)
        left.imshow(clean, cmap="gray", vmin=low, vmax=high)
        noise = middle.imshow(attacked - clean, cmap="RdBu_r", vmin=-bound, vmax=bound)
        right.imshow(attacked, cmap="gray", vmin=low, vmax=high)
        for axis in (left, right):
            _outline(axis, truth, TRUE)
        _outline(right, _slice(decision, label), DECIDED)
        figure.colorbar(noise, ax=middle, shrink=0.8)
        name = f"{row.name} {row.loss or ''}".strip()
        left.set_title("clean, label", fontsize=9)
        middle.set_title(f"{name}, eps {bound:g} {unit} ({row.setting})", fontsize=9)
        right.set_title("adversarial: label blue, decision red", fontsize=9)
        for axis in (left, middle, right):
            axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, dpi=80, format="png")
    os.replace(partial, path)


def _outline(axis: object, mask: np.ndarray, color: str) -> None:
    if mask.any():
        axis.contour(mask > 0, levels=[0.5], colors=color, linewidths=0.8)  # type: ignore[attr-defined]


def _slice(value: Tensor, label: Tensor) -> np.ndarray:
    """First channel, for a volume the axial slice with most label, first axis to the right, second upwards."""
    plane = torch.as_tensor(value)[0]
    if plane.ndim == 3:
        plane = plane[..., int((label[0] > 0).sum((0, 1)).argmax())]
        plane = plane.T
    return np.asarray(plane.numpy())
