"""Pictures of a classified photograph under attack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from monai_smia.report.figures.panel import Panel, saved_figure, show
from monai_smia.units import in_unit
from monai_smia.victims.preprocessing import as_plain

PIXELS, INCHES = 320, 3.0  # of the longer side of one picture
TITLE = 0.4  # inches above a picture


def photograph_figure(
    path: Path,
    image: Tensor,
    label: Any,
    clean_decision: Tensor,
    panels: Sequence[Panel],
    unit: str = "",
) -> None:
    """A classified photograph under attack, a line per attack: clean, perturbation, adversarial, and what was decided.

    The perturbation is magnified so that the radius fills the range: grey is no change.

    Args:
        path: PNG to write.
        image: clean photograph ``(3, H, W)``.
        label: the class, a number; of several labels 0/1 each.
        clean_decision: class or labels decided on the clean photograph.
        panels: every attack, with the class decided.
        unit: unit of the image.
    """
    clean = as_plain(image).float().cpu()
    high = 255.0 if float(clean.max()) > 1 else 1.0
    height, width = (INCHES * n / max(clean.shape[1:]) for n in clean.shape[1:])
    line = height + TITLE
    with saved_figure(path, (3 * width, line * len(panels))) as figure:
        for number, panel in enumerate(panels):
            attacked = as_plain(panel.image).float().cpu()
            bound, setting = panel.bound, panel.row.setting_label
            size = in_unit(f"{bound:.3g}", unit)
            change = f"{panel.row.attack}, at most {size}" + (f"\n{setting}" if setting else "")
            cells = (
                (clean / high, f"clean, decided {_named(clean_decision)}, truth {_named(label)}"),
                ((attacked - clean) / (2 * bound) + 0.5, change),
                (attacked / high, f"adversarial, decided {_named(panel.decision)}"),
            )
            for column, (picture, title) in enumerate(cells):
                # placed by hand: matplotlib's layout engines take most of the time that a figure needs
                bottom = 1 - (number * line + TITLE + height) / (line * len(panels))
                axis = figure.add_axes((column / 3 + 0.003, bottom, 0.994 / 3, height / (line * len(panels))))
                show(axis, _thumbnail(picture).clip(0, 1), title, fontsize=7.5)


def _named(classes: Any) -> str:
    """A class by its number; of several labels those that are there."""
    numbers = as_plain(torch.as_tensor(classes))
    if numbers.numel() == 1:
        return str(int(numbers))
    return ", ".join(str(number) for number in (numbers == 1).nonzero().flatten().tolist()) or "none"


def _thumbnail(image: Tensor) -> np.ndarray:
    scale = PIXELS / max(image.shape[1:])
    size = [max(1, round(n * scale)) for n in image.shape[1:]]
    small = interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
    return np.asarray(small.permute(1, 2, 0).numpy())
