"""How a case of each task is looked at in the figures of the SMIA paper: picture, decision, perturbation, scale.

Colors are those of Okabe and Ito, which people with any color vision tell apart; decisions differ by their line, too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke
from torch import Tensor

from monai_smia.report.figures.detection import picture_of, right_boxes
from monai_smia.report.figures.segmentation import WINDOWS, Plane
from monai_smia.victims.preprocessing import as_plain

BLUE, ORANGE, YELLOW = "#56B4E9", "#E69F00", "#F0E442"
HALO: list[AbstractPathEffect] = [withStroke(linewidth=2.6, foreground="black", alpha=0.6)]
SURE = 0.3  # boxes of a lower score are not shown


def handle(name: str, color: str, style: Any) -> Line2D:
    """A line of a legend."""
    return Line2D([], [], color=color, linestyle=style, lw=2.5, label=name)


class View(ABC):
    """One case as it is looked at.

    Args:
        image: clean image ``(C, *spatial)``.
        label: as the case has it, without its batch.
        unit: unit of the image's values.
        classes: names of classes or grades, or none.
    """

    aspect = 1.0  # height of a pixel over its width

    def __init__(self, image: Tensor, label: Any, unit: str = "", classes: Sequence[str] = ()) -> None:
        self.label, self.unit, self.classes = label, unit, list(classes)
        self.prepare(image, label)
        shape = self.change(image).shape
        self.ratio = shape[0] * self.aspect / shape[1]  # height over width, as it is drawn

    def prepare(self, image: Tensor, label: Any) -> None:
        """Keep what the view needs to know of the clean case; nothing here."""
        return

    @abstractmethod
    def draw(self, axis: Any, image: Tensor) -> None:
        """The picture ``(C, *spatial)``."""

    @abstractmethod
    def change(self, perturbation: Tensor) -> np.ndarray:
        """A perturbation ``(C, *spatial)`` as one number a pixel of the plane that is shown: the mean over channels."""

    @abstractmethod
    def decide(self, axis: Any, decision: Any) -> None:
        """Draw a decision, without its batch, and the truth."""

    @abstractmethod
    def said(self, decision: Any, values: Mapping[str, Any]) -> str:
        """A decision in words; `values` are the metrics of the case."""

    @abstractmethod
    def legend(self) -> list[Any]:
        """Handles of the lines of `decide`; empty where the decision stands in words alone."""

    def note(self) -> str:
        """How values are shown."""
        return ""

    def bar(self) -> tuple[float, str]:
        """A scale: pixels across, and their length in words."""
        return 100.0, "100 pixels"


class SegmentationView(View):
    """The axial slice with most label (`Plane`), in the HU window of a lung."""

    def prepare(self, image: Tensor, label: Any) -> None:
        """The plane and the window."""
        self.plane = Plane(image, label)
        self.aspect = self.plane.aspect
        self.window = WINDOWS.get(self.unit, (float(as_plain(image).min()), float(as_plain(image).max())))
        self.truth = self.plane(label) > 0

    def draw(self, axis: Any, image: Tensor) -> None:
        """In gray levels."""
        low, high = self.window
        axis.imshow(self.plane(image), cmap="gray", vmin=low, vmax=high, aspect=self.aspect)

    def change(self, perturbation: Tensor) -> np.ndarray:
        """Of the plane."""
        return self.plane(perturbation)

    def decide(self, axis: Any, decision: Any) -> None:
        """Outlines: the truth dashed, the decision solid."""
        for mask, color, style in ((self.truth, BLUE, "--"), (self.plane(decision) > 0, ORANGE, "-")):
            if mask.any() and not mask.all():
                drawn = axis.contour(mask, levels=[0.5], colors=color, linewidths=1.3, linestyles=style)
                drawn.set_path_effects(HALO)

    def said(self, decision: Any, values: Mapping[str, Any]) -> str:
        """The Jaccard index of the whole image."""
        return f"Jaccard index {values['jaccard']:.3f}"

    def legend(self) -> list[Any]:
        """Two outlines."""
        lines = (("reference", BLUE, "--"), ("decision", ORANGE, "-"))
        return [handle(*line) for line in lines]

    def note(self) -> str:
        """The window."""
        low, high = self.window
        return f"Window {low:g} to {high:g} {self.unit}." if self.unit else f"Gray: {low:.3g} to {high:.3g}."

    def bar(self) -> tuple[float, str]:
        """Fifty millimeters where the spacing is known."""
        return super().bar() if self.plane.across is None else (50 / self.plane.across, "50 mm")


class PhotographView(View):
    """A classified photograph; its decision stands in words."""

    def prepare(self, image: Tensor, label: Any) -> None:
        """Its range."""
        self.high = 255.0 if float(as_plain(image).max()) > 1 else 1.0

    def draw(self, axis: Any, image: Tensor) -> None:
        """In its colors."""
        axis.imshow((as_plain(image).float().cpu() / self.high).clamp(0, 1).permute(1, 2, 0).numpy())

    def change(self, perturbation: Tensor) -> np.ndarray:
        """Mean over its channels."""
        return np.asarray(as_plain(perturbation).float().cpu().mean(0).numpy())

    def decide(self, axis: Any, decision: Any) -> None:
        """A frame: solid where the decision is right, dashed where it is wrong."""
        color, style = (BLUE, "-") if self._right(decision) else (ORANGE, "--")
        box = {"transform": axis.transAxes, "fill": False, "clip_on": False}
        axis.add_patch(Rectangle((0, 0), 1, 1, edgecolor=color, linestyle=style, linewidth=3, **box))

    def said(self, decision: Any, values: Mapping[str, Any]) -> str:
        """The grade, and whether it is right."""
        return f"{self._name(decision)}, {'right' if self._right(decision) else 'wrong'}"

    def legend(self) -> list[Any]:
        """Two frames."""
        frames = ((f"decided rightly ({self._name(self.label)})", BLUE, "-"), ("decided wrongly", ORANGE, "--"))
        return [handle(*frame) for frame in frames]

    def _right(self, decision: Any) -> bool:
        return int(torch.as_tensor(decision)) == int(torch.as_tensor(self.label))

    def _name(self, grade: Any) -> str:
        number = int(torch.as_tensor(grade))
        return self.classes[number] if number < len(self.classes) else f"grade {number}"


class DetectionView(View):
    """A picture with boxes, right and wrong ones; MONAI has pictures with their width first."""

    def draw(self, axis: Any, image: Tensor) -> None:
        """In its colors."""
        axis.imshow(picture_of(image).clip(0, 1))

    def change(self, perturbation: Tensor) -> np.ndarray:
        """Mean over its channels."""
        return picture_of(perturbation).mean(2)

    def decide(self, axis: Any, decision: Any) -> None:
        """Objects dotted, right boxes solid, wrong ones dashed with their class and score."""
        sure, right = self._sure(decision)
        for box in self.label["boxes"].tolist():
            self._box(axis, box, BLUE, ":")
        for box, kind, score, hit in zip(*(v.tolist() for v in sure.values()), right.any(0).tolist(), strict=True):
            name = self.classes[kind] if self.classes else f"class {kind}"
            self._box(axis, box, YELLOW if hit else ORANGE, "-" if hit else "--", f"{name} {score:.2f}")

    def said(self, decision: Any, values: Mapping[str, Any]) -> str:
        """How many objects are found, and how many boxes are wrong."""
        _, right = self._sure(decision)
        return f"{int(right.any(1).sum())} of {len(right)} found, wrong boxes: {int((~right.any(0)).sum())}"

    def legend(self) -> list[Any]:
        """Three boxes."""
        lines = (("object", BLUE, ":"), ("box that finds it", YELLOW, "-"), ("wrong box", ORANGE, "--"))
        return [handle(*line) for line in lines]

    def note(self) -> str:
        """Which boxes are shown."""
        return f"Boxes of a score of at least {SURE:g}."

    def _sure(self, decision: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        kept = decision["scores"] >= SURE
        sure = {key: decision[key][kept].cpu() for key in ("boxes", "labels", "scores")}
        return sure, right_boxes(sure, self.label, 0.5)

    @staticmethod
    def _box(axis: Any, box: Sequence[float], color: str, style: str, text: str = "") -> None:
        x1, y1, x2, y2 = box
        frame = Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, edgecolor=color, linestyle=style, lw=1.6)
        frame.set_path_effects(HALO)
        axis.add_patch(frame)
        if text:
            shade = {"facecolor": "black", "edgecolor": "none", "pad": 1, "alpha": 0.6}
            axis.text(x1, y1, text, color=color, fontsize=7, va="bottom", clip_on=True, bbox=shade)
