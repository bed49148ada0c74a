"""Pictures of a detector under attack."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from monai_smia.evaluation.figures import DECISION, TRUTH
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.victims.preprocessing import as_plain


def detection_figure(
    path: Path,
    image: Tensor,
    label: Mapping[str, Tensor],
    clean_decision: Mapping[str, Tensor],
    panels: Sequence[tuple[PlannedAttack, Tensor, Mapping[str, Tensor]]],
    unit: str = "",
    *,
    classes: Sequence[str] = (),
    min_score: float = 0.3,
) -> None:
    """Boxes before and after; below every adversarial picture its perturbation, magnified to be seen.

    Objects are blue, boxes found are red with their class and score.

    Args:
        path: PNG to write.
        image: clean picture ``(3, W, H)`` in [0, 1].
        label: ``boxes`` and ``labels`` of the objects.
        clean_decision: ``boxes``, ``labels`` and ``scores`` found in the clean picture.
        panels: row, adversarial picture and decision of every attack.
        unit: unit of the image.
        classes: names to write at the boxes; numbers without.
        min_score: boxes of a lower score are not shown.
    """
    clean = _picture(image)
    cells: list[tuple[str, np.ndarray, np.ndarray, Mapping[str, Tensor]]] = [
        ("clean", clean, np.full_like(clean, 0.5), clean_decision)
    ]
    for row, adversarial, decision in panels:
        bound = float(row.attack.eps) if row.attack is not None else 1.0
        attacked = _picture(adversarial)
        cells.append(
            (f"{row.name} {bound:.3g} {unit}".strip(), attacked, (attacked - clean) / (2 * bound) + 0.5, decision)
        )
    columns = min(len(cells), 4)
    lines = -(-len(cells) // columns)
    height, width = clean.shape[:2]
    figure = Figure(figsize=(3.0 * columns, lines * (2 * 3.0 * height / width + 0.3)))
    FigureCanvasAgg(figure)
    for number, (title, attacked, change, decision) in enumerate(cells):
        line, column = divmod(number, columns)
        axis = figure.add_axes((column / columns + 0.003, 1 - (line + 0.995) / lines, 0.994 / columns, 0.95 / lines))
        axis.imshow(np.concatenate([attacked, change]).clip(0, 1))
        axis.set_title(title, fontsize=8, pad=2)
        axis.set_axis_off()
        for box in label["boxes"].tolist():
            _rectangle(axis, box, TRUTH)
        for box, name, score in zip(*(decision[key].tolist() for key in ("boxes", "labels", "scores")), strict=True):
            if score >= min_score:
                _rectangle(axis, box, DECISION, f"{classes[name] if classes else name} {score:.2f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, dpi=80, format="png")
    os.replace(partial, path)


def _picture(image: Tensor) -> np.ndarray:
    return np.asarray(as_plain(image).detach().float().cpu().permute(2, 1, 0).numpy())  # (H, W, 3)


def _rectangle(axis: Any, box: Sequence[float], color: str, text: str = "") -> None:
    x1, y1, x2, y2 = box
    axis.add_patch(Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=1.0))
    if text:
        axis.text(x1, y1 - 2, text, color=color, fontsize=5, clip_on=True)
