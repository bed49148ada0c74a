"""Pictures of a detector under attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.patches import Rectangle
from monai.data.box_utils import box_iou
from torch import Tensor

from monai_smia.report.figures.panel import DECISION, TRUTH, Panel, saved_figure, show
from monai_smia.units import in_unit
from monai_smia.victims.preprocessing import as_plain

FOUND = "#60e070"
COLUMNS = 3  # cells in a line at most


def detection_figure(
    path: Path,
    image: Tensor,
    label: Mapping[str, Tensor],
    clean_decision: Mapping[str, Tensor],
    panels: Sequence[Panel],
    unit: str = "",
    *,
    classes: Sequence[str] = (),
    min_score: float = 0.3,
    min_iou: float = 0.5,
) -> None:
    """Boxes before and after; below every adversarial picture its perturbation, magnified to be seen.

    Objects are blue with their class below. Boxes found have class and score above: green where they are of the class
    of an object and overlap it by `min_iou`, red where they are wrong.

    Args:
        path: PNG to write.
        image: clean picture ``(3, W, H)`` in [0, 1].
        label: ``boxes`` and ``labels`` of the objects.
        clean_decision: ``boxes``, ``labels`` and ``scores`` found in the clean picture.
        panels: every attack, with the boxes found.
        unit: unit of the image.
        classes: names to write at the boxes; numbers without.
        min_score: boxes of a lower score are not shown.
        min_iou: overlap from which on a box is right.
    """
    clean = picture_of(image)
    cells: list[tuple[str, np.ndarray, np.ndarray, Mapping[str, Tensor]]] = [
        ("clean", clean, np.full_like(clean, 0.5), clean_decision)
    ]
    for panel in panels:
        attacked = picture_of(panel.image)
        name = panel.title(in_unit(f"{panel.bound:.3g}", unit))
        cells.append((name, attacked, (attacked - clean) / (2 * panel.bound) + 0.5, panel.decision))
    columns = min(len(cells), COLUMNS)
    lines = -(-len(cells) // columns)
    height, width = clean.shape[:2]
    with saved_figure(path, (4.0 * columns, lines * (2 * 4.0 * height / width + 0.4))) as figure:
        for number, (title, attacked, change, decision) in enumerate(cells):
            line, column = divmod(number, columns)
            place = (column / columns + 0.003, 1 - (line + 0.995) / lines, 0.994 / columns, 0.94 / lines)
            axis = figure.add_axes(place)
            sure = {key: decision[key][decision["scores"] >= min_score].cpu() for key in ("boxes", "labels", "scores")}
            right = right_boxes(sure, label, min_iou)
            counts = (
                f"{int(right.any(1).sum())} of {len(right)} objects found, {int((~right.any(0)).sum())} boxes wrong"
            )
            show(axis, np.concatenate([attacked, change]).clip(0, 1), f"{title}: {counts}", fontsize=7, pad=2)
            for box, kind in zip(label["boxes"].tolist(), label["labels"].tolist(), strict=True):
                _rectangle(axis, box, TRUTH, classes[kind] if classes else str(kind), below=True)
            for box, kind, score, hit in zip(*(v.tolist() for v in sure.values()), right.any(0).tolist(), strict=True):
                _rectangle(axis, box, FOUND if hit else DECISION, f"{classes[kind] if classes else kind} {score:.2f}")


def right_boxes(decision: Mapping[str, Tensor], label: Mapping[str, Tensor], min_iou: float) -> Tensor:
    """Which box is right for which object ``(objects, boxes)``."""
    boxes, kinds = (torch.as_tensor(label[key]).cpu() for key in ("boxes", "labels"))
    same = kinds[:, None] == decision["labels"][None]
    if not same.numel():
        return same
    return same & (torch.as_tensor(box_iou(boxes.float(), decision["boxes"].float())) >= min_iou)


def picture_of(image: Tensor) -> np.ndarray:
    """A picture ``(C, W, H)``, as MONAI's detectors take it, as it is drawn ``(H, W, C)``."""
    return np.asarray(as_plain(image).detach().float().cpu().permute(2, 1, 0).numpy())  # (H, W, 3)


def _rectangle(axis: Any, box: Sequence[float], color: str, text: str, *, below: bool = False) -> None:
    x1, y1, x2, y2 = box
    axis.add_patch(Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=1.1))
    axis.text(
        x1,
        y2 - 1 if below else y1 + 1,
        text,
        color="black",
        fontsize=4.5,
        va="bottom" if below else "top",
        clip_on=True,
        bbox={"facecolor": color, "edgecolor": "none", "pad": 0.6, "alpha": 0.75},
    )
