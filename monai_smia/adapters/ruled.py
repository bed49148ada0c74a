"""Victims and metrics of a network whose decision rule is known: what its channels are, and how they are decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from monai_smia.adapters.monai_bundle.arguments import check_left_out
from monai_smia.adapters.monai_bundle.decisions import DecisionRule
from monai_smia.adapters.monai_bundle.numbers import NumberRule
from monai_smia.metrics import CaseMetrics, ClassificationMetrics, RegressionMetrics, SegmentationMetrics
from monai_smia.victims import ClassificationVictim, SegmentationVictim
from monai_smia.victims.slabs import in_full


@dataclass(kw_only=True, eq=False)
class RuledSegmentation(SegmentationVictim):
    """A segmentation network whose values are taken as logits that decide as it is deployed.

    Args:
        rule: how it decides.
    """

    rule: DecisionRule = field(repr=False)

    def forward(self, network_input: Tensor) -> Tensor:
        """Logits that decide as the rule does."""
        raw = super().forward(network_input)
        return raw if self.rule.takes_values_as_they_are else self.rule.logits(in_full(raw))


@dataclass(kw_only=True, eq=False)
class RuledClassification(ClassificationVictim):
    """A classification network whose values are taken as logits that decide as it is deployed.

    Args:
        rule: how it decides.
    """

    rule: DecisionRule = field(repr=False)

    def forward(self, network_input: Tensor) -> Tensor:
        """Logits that decide as the rule does."""
        return self.rule.logits(super().forward(network_input))


def metrics_of(task: str, rule: DecisionRule | NumberRule, class_names: Sequence[str] | None = None) -> CaseMetrics:
    """The metrics of a segmentation, a classification or a regression.

    Args:
        task: which of the three.
        rule: how the network decides.
        class_names: of the network's channels, for a segmentation; None for their numbers.

    Raises:
        ValueError: if they are no names, or not one for each channel, or not of a segmentation.
    """
    if task != "segmentation":
        check_left_out(task, {"class_names": class_names})
    if isinstance(rule, NumberRule):
        return RegressionMetrics()
    if task == "classification":
        return ClassificationMetrics(max(rule.classes, 2), calibration=rule.keeps_probabilities)
    count, channels = rule.classes, rule.channels
    if class_names is not None and len(class_names) != channels:
        raise ValueError(f"class_names must hold a name for each of the {channels} channels, got {class_names}.")
    names: Any = None if class_names is None else list(class_names)[channels - count :]
    if rule.activation == "softmax":
        return SegmentationMetrics(count, class_names=names)
    numbers = [str(number) for number in range(channels - count, channels)]
    return SegmentationMetrics(None, class_names=names or numbers)
