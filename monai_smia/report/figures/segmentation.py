"""Pictures of a case under attack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor
from monai.transforms import Orientation
from torch import Tensor

from monai_smia.report.figures.panel import DECISION, TRUTH, WINDOWS, Panel, saved_figure, show
from monai_smia.units import in_unit
from monai_smia.victims.preprocessing import as_plain

TITLES = ("clean: reference blue, decision red", "adversarial", "adversarial: decision red")


def segmentation_figure(
    path: Path,
    image: Tensor,
    label: Tensor,
    clean_decision: Tensor,
    panels: Sequence[Panel],
    unit: str = "",
) -> None:
    """A segmentation under attack: one line per attack.

    Clean image with the decision before, perturbation, adversarial image, and that with the decision after.

    The label is blue, decisions are red. Of a volume the axial slice with most label is shown, as radiologists look at
    it (the patient's right on the left, anterior up), if the image is a MetaTensor.

    Args:
        path: PNG to write.
        image: clean image ``(C, *spatial)``.
        label: label map ``(1, *spatial)``.
        clean_decision: decision on the clean image ``(1, *spatial)``.
        panels: every attack, with the decision ``(1, *spatial)``.
        unit: unit of the image.
    """
    plane = Plane(image, label)
    clean, truth, before = plane(image), plane(label), plane(clean_decision)
    low, high = WINDOWS.get(unit, (float(as_plain(image).min()), float(as_plain(image).max())))
    gray: dict[str, Any] = {"cmap": "gray", "vmin": low, "vmax": high, "aspect": plane.aspect}
    height = 2.6 * plane.aspect * clean.shape[0] / clean.shape[1] + 0.25
    with saved_figure(path, (11, height * len(panels)), dpi=90) as figure:
        for number, panel in enumerate(panels):
            bound, attacked = panel.bound, plane(panel.image)
            # placed by hand: matplotlib's layout engines take most of the time that a figure needs
            left = (0.245 * i + (0.03 if i > 1 else 0) for i in range(4))
            bottom, tall = 1 - (number + 0.98) / len(panels), 0.86 / len(panels)
            axes = [figure.add_axes((x, bottom, 0.235, tall)) for x in left]
            show(axes[0], clean, TITLES[0], fontsize=8, **gray)
            _outlines(axes[0], truth, before)
            change: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -bound, "vmax": bound, "aspect": plane.aspect}
            noise = show(axes[1], attacked - clean, panel.title(in_unit(bound, unit)), fontsize=8, **change)
            box = axes[1].get_position()
            bar = figure.add_axes((box.x1 + 0.004, box.y0 + 0.1 * box.height, 0.006, 0.8 * box.height))
            figure.colorbar(noise, cax=bar, ticks=[-bound, 0, bound]).ax.tick_params(labelsize=6, pad=1)
            show(axes[2], attacked, TITLES[1], fontsize=8, **gray)
            show(axes[3], attacked, TITLES[2], fontsize=8, **gray)
            _outlines(axes[3], truth, plane(panel.decision))


class Plane:
    """Picks the plane to show and turns it as it is looked at."""

    def __init__(self, image: Tensor, label: Tensor) -> None:
        self.affine = image.affine if isinstance(image, MetaTensor) else None
        self.index: int | None = None
        self.aspect = 1.0
        self.across: float | None = None  # millimeters of a pixel, from left to right
        turned = self._turn(label)
        if turned.ndim == 4:
            self.index = int((turned[0] > 0).sum((0, 1)).argmax())
            if isinstance(turned, MetaTensor):
                self.aspect = float(turned.pixdim[1] / turned.pixdim[0])
                self.across = float(turned.pixdim[0])

    def __call__(self, value: Tensor) -> np.ndarray:
        """The plane of an image or a label ``(C, *spatial)``, of its first channel, as it is drawn."""
        plane = as_plain(self._turn(value))[0]
        if self.index is not None:
            plane = plane[..., self.index]
        return np.asarray(plane.T.cpu().numpy())

    def _turn(self, value: Tensor) -> Tensor:
        if self.affine is None or value.ndim != 4:
            return as_plain(value)
        turned: Any = Orientation("LPS", labels=None)(MetaTensor(as_plain(value), affine=self.affine))
        return turned


def _outlines(axis: Any, truth: np.ndarray, decision: np.ndarray) -> None:
    for mask, color in ((truth, TRUTH), (decision, DECISION)):
        if mask.any() and not mask.all():
            axis.contour(mask > 0, levels=[0.5], colors=color, linewidths=0.8)
