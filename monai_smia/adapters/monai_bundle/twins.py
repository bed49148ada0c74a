"""The differentiable twin of a bundle's pipeline, which gradients come from, and the judge of what that decides.

A twin takes labels on the network's grid, as they come out of the bundle's own chain, and its network's values as
logits that decide as the postprocessing does. A judge is a victim without a network: its predictions are decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from torch import Tensor, nn

from monai_smia.adapters.monai_bundle.decisions import DecisionRule
from monai_smia.adapters.monai_bundle.ensembles import EnsembleNetwork, of_every_network
from monai_smia.adapters.monai_bundle.numbers import NumberRule
from monai_smia.adapters.ruled import RuledClassification, RuledSegmentation
from monai_smia.victims import ClassificationVictim, DetectionVictim, RegressionVictim, SegmentationVictim
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain


def on_network_grid(twin: Victim, image: Tensor) -> Any:
    """A twin's prediction where the network makes it; `infer` takes it to the image's own grid."""
    with torch.no_grad(), twin.frozen():
        return twin._bound_to(image).predict(as_plain(image))


def network_sees(twin: Victim, image: Tensor) -> Tensor:
    """What the network is given of an image."""
    with torch.no_grad():
        return twin._bound_to(image).network_input(as_plain(image))


def in_logits(twin: Victim, dtype: str, notes: list[str]) -> Victim:
    """The twin whose prediction is held in a precision, see `LogitsVictim.with_logits`.

    Args:
        twin: of the bundle.
        dtype: the precision.
        notes: what is to be said, to which this is added.

    Raises:
        ValueError: if it is half of what is no segmentation of one network by a sliding window.
    """
    if dtype == "float32":
        return twin
    if not isinstance(twin, SegmentationTwin) or isinstance(twin.network, EnsembleNetwork):
        raise ValueError(f"logits must be 'float32' but for a segmentation of one network, got {dtype!r}.")
    victim: Victim = twin.with_logits(dtype)
    notes.append(f"Gradients go by logits that are stitched in {dtype}; figures are the bundle's own.")
    return victim


@dataclass(kw_only=True, eq=False)
class SegmentationTwin(RuledSegmentation):
    """A segmentation bundle's twin: its logits decide as the postprocessing does."""

    def forward(self, network_input: Tensor) -> Tensor:
        """Logits that decide as the postprocessing does."""
        if isinstance(self.network, EnsembleNetwork):
            return self.rule.logits(of_every_network(self, super(RuledSegmentation, self).forward, network_input))
        return super().forward(network_input)

    def _check_on_grid(self, image: Tensor, label: Any) -> None:
        """The label lies on the network's grid, and its shape is compared with the prediction's."""

    def _label_to_network(self, image: Tensor, label: Any) -> Any:
        return label


@dataclass(kw_only=True, eq=False)
class ClassificationTwin(RuledClassification):
    """A classification bundle's twin: its logits decide as the postprocessing does."""

    def forward(self, network_input: Tensor) -> Tensor:
        """Logits that decide as the postprocessing does."""
        if isinstance(self.network, EnsembleNetwork):
            return self.rule.logits(of_every_network(self, super(RuledClassification, self).forward, network_input))
        return super().forward(network_input)


@dataclass(kw_only=True, eq=False)
class DetectionTwin(DetectionVictim):
    """A detection bundle's twin.

    Args:
        windowed: whether the bundle's inferer lets the detector go through the image by its window.
    """

    windowed: bool = True

    def forward(self, network_input: Tensor) -> dict[str, Any]:
        """Head maps, made with the detector's window or without, as the bundle's inferer chooses."""
        inferer = self.inferer
        try:
            self.inferer = inferer if self.windowed else None
            return super().forward(network_input)
        finally:
            self.inferer = inferer


@dataclass(kw_only=True, eq=False)
class DetectionJudge(DetectionVictim):
    """Judges boxes; its predictions are lists of dictionaries of ``boxes``, ``labels`` and ``scores``."""

    def batch_size(self, prediction: Any) -> int:
        """Number of images."""
        return len(prediction)

    def decide(self, prediction: Any) -> list[dict[str, Tensor]]:
        """The prediction, which is a decision."""
        return list(prediction)

    def check_label(self, prediction: Any, label: Any) -> None:
        """Raise where there is not one label for each decision; the twin checks the boxes themselves."""
        if len(label) != len(prediction):
            raise ValueError(f"label must be a list with one dictionary for each of {len(prediction)} images.")

    def detach(self, prediction: Any) -> Any:
        """The prediction, which has no graph."""
        return prediction


def judge_of(task: str, rule: DecisionRule | NumberRule | None, detector: RetinaNetDetector | None) -> Victim:
    """A victim whose predictions are decisions: `DecisionRule.decided` of a tensor, a list of boxes of a detector."""
    if isinstance(rule, NumberRule):
        return RegressionVictim(nn.Identity(), within=rule.within, point_axis=rule.point_axis)
    if task == "detection":
        assert detector is not None
        return DetectionJudge(detector)
    assert rule is not None
    if task == "classification":
        return ClassificationVictim(nn.Identity(), activation=rule.activation)
    return SegmentationVictim(nn.Identity(), activation=rule.activation, allow_empty=True)


def class_agreement(first: Tensor, second: Tensor) -> float:
    """The share of two maps of classes that is equal."""
    return float((first == second.to(first.device)).double().mean())  # MONAI's point inferer answers on the CPU


def box_agreement(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], overlap: Callable[[Tensor, Tensor], Any]
) -> float:
    """The share of boxes that have one of the same class in the other's place, of the larger number; 1 without boxes.

    Args:
        first: ``boxes`` and ``labels``.
        second: the same.
        overlap: of two sets of boxes, pair by pair.
    """
    most = max(len(first["boxes"]), len(second["boxes"]))
    if not most:
        return 1.0
    if not min(len(first["boxes"]), len(second["boxes"])):
        return 0.0
    close = torch.as_tensor(overlap(first["boxes"].float(), second["boxes"].to(first["boxes"]).float())) > 0.9
    close &= first["labels"][:, None].cpu() == second["labels"][None].cpu()
    return float(min(close.any(0).sum(), close.any(1).sum())) / most
