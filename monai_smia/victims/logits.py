"""Victims whose prediction is one tensor of logits: classifiers and segmenters."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from monai_smia.victims import logit_losses
from monai_smia.victims.base import Victim
from monai_smia.victims.outputs import Output, output_of


@dataclass(kw_only=True, eq=False)
class LogitsVictim(Victim):
    """A victim whose prediction is one tensor of logits ``(B, K, ...)``.

    Args:
        activation: what the channels mean: ``"softmax"``, ``"sigmoid"`` or ``"ordinal"``.
        ignore_index: label value that does not count.
    """

    divergences = {
        "cross_entropy": logit_losses.soft_cross_entropy,
        "kl": logit_losses.kl,
        "reverse_kl": logit_losses.reverse_kl,
    }

    activation: str = "softmax"
    ignore_index: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        output_of(self.activation)  # raises where there is none

    @property
    def output(self) -> Output:
        """The output layer: what the channels mean."""
        return output_of(self.activation, self.ignore_index)

    @abstractmethod
    def target(self, label: Tensor) -> Tensor:
        """The label as the output layer takes it."""

    def check_label(self, prediction: Any, label: Any) -> None:
        """Raise where prediction or label are not what the output layer takes."""
        if not isinstance(prediction, Tensor):
            raise ValueError(f"the network must return one tensor of logits, got {type(prediction).__name__}.")
        if not isinstance(label, Tensor):
            raise ValueError(f"label must be a tensor, got {type(label).__name__}.")
        if not label.numel():
            raise ValueError(f"label must not be empty, got shape {tuple(label.shape)}.")
        self.output.check(prediction, self.target(label))
