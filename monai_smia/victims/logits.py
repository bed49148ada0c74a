"""What classification and segmentation victims share: losses and divergences on channels of logits."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from monai_smia.victims.base import PerSample, Victim
from monai_smia.victims.outputs import output_of


class LogitsVictim(Victim):
    """A victim whose prediction is one tensor of logits ``(B, K, ...)``."""

    divergences = {
        "cross_entropy": lambda victim, p, q: victim.output.soft_cross_entropy(p, q),
        "kl": lambda victim, p, q: victim.output.kl(p, q),
        "reverse_kl": lambda victim, p, q: victim.output.reverse_kl(p, q),
    }

    def __init__(
        self,
        network: nn.Module,
        *,
        activation: str = "softmax",
        ignore_index: int | None = None,
        loss: str | PerSample = "cross_entropy",
        divergence: str | PerSample = "cross_entropy",
        **options: Any,
    ) -> None:
        super().__init__(network, loss=loss, divergence=divergence, **options)
        self.activation = activation
        self.output = output_of(activation)
        self.ignore_index = ignore_index

    @abstractmethod
    def target(self, label: Tensor) -> Tensor:
        """The label as the output layer takes it."""

    def cross_entropy(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Cross entropy, summed over voxels ``(B,)``."""
        return self.output.cross_entropy(prediction, self.target(label), self.ignore_index)

    def check_label(self, prediction: Any, label: Any) -> None:
        """Raise where prediction or label are not what the output layer takes."""
        if not isinstance(prediction, Tensor):
            raise ValueError(f"the network must return one tensor of logits, got {type(prediction).__name__}.")
        if not isinstance(label, Tensor):
            raise ValueError(f"label must be a tensor, got {type(label).__name__}.")
        if not label.numel():
            raise ValueError(f"label must not be empty, got shape {tuple(label.shape)}.")
        self.output.check(prediction, self.target(label), self.ignore_index)

    @torch.no_grad()
    def _counts(self, prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Voxels of decision and label, of the decision, of the label: each ``(B, K)``."""
        channels = prediction.shape[1]
        decided = self.output.one_hot(self.output.decide(prediction), channels)
        target = self.target(label)
        truth = self.output.one_hot(target, channels)
        if self.ignore_index is not None:
            valid = target != self.ignore_index
            valid = valid.unsqueeze(1) if valid.ndim < decided.ndim else valid
            decided, truth = decided & valid, truth & valid
        return (
            (decided & truth).flatten(2).sum(2),
            decided.flatten(2).sum(2),
            truth.flatten(2).sum(2),
        )
