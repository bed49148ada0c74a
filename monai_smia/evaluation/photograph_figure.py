"""Pictures of a classified photograph under attack."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.victims.preprocessing import as_plain

COLUMNS, CELL = 6, 224  # cells in a line at most, pixels of one


def photograph_figure(
    path: Path,
    image: Tensor,
    label: Any,
    clean_decision: Tensor,
    panels: Sequence[tuple[PlannedAttack, Tensor, Tensor]],
    unit: str = "",
) -> None:
    """A classified photograph under attack: every adversarial photograph above its perturbation, magnified to be seen.

    Args:
        path: PNG to write.
        image: clean photograph ``(3, H, W)``.
        label: the class, a number.
        clean_decision: class decided on the clean photograph.
        panels: row, adversarial photograph and decision of every attack.
        unit: unit of the image.
    """
    clean = as_plain(image).float().cpu()
    low, high = 0.0, 255.0 if float(clean.max()) > 1 else 1.0
    cells = [(clean, torch.zeros_like(clean), f"clean: truth {int(label)}\ndecided {int(clean_decision)}")]
    for row, adversarial, decision in panels:
        attacked = as_plain(adversarial).float().cpu()
        bound = float(row.attack.eps) if row.attack is not None else 1.0
        title = f"{row.name} {bound:.3g} {unit} {row.setting}".strip()
        cells.append((attacked, (attacked - clean) / bound, f"{title}\ndecided {int(decision)}"))
    columns = min(COLUMNS, len(cells))
    lines = math.ceil(len(cells) / columns)
    height, width = _thumbnail(clean).shape[:2]
    figure = Figure(figsize=(2.1 * columns, lines * (2 * 2.1 * height / width + 0.45)))
    FigureCanvasAgg(figure)
    for number, (attacked, change, title) in enumerate(cells):
        line, column = divmod(number, columns)
        # placed by hand and drawn as one picture: dozens of axes would take longer than the attacks
        axis = figure.add_axes((column / columns + 0.004, 1 - (line + 0.99) / lines, 0.99 / columns, 0.86 / lines))
        pair = np.concatenate([_thumbnail((attacked - low) / (high - low)), _thumbnail(change / 2 + 0.5)])
        axis.imshow(pair.clip(0, 1))
        axis.set_title(title, fontsize=6.5, pad=2)
        axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, dpi=110, format="png")
    os.replace(partial, path)


def _thumbnail(image: Tensor) -> np.ndarray:
    scale = CELL / max(image.shape[1:])
    size = [max(1, round(n * scale)) for n in image.shape[1:]]
    small = interpolate(image[None], size=size, mode="bilinear", antialias=True)[0]
    return np.asarray(small.permute(1, 2, 0).numpy())
