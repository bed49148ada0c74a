"""Output layers of classifiers and segmenters: losses, divergences and decisions on logits.

Everything here takes logits ``(B, K)`` or ``(B, K, *spatial)``, sums over voxels (a mean over 10^7 voxels underflows
in half precision) and returns one value per sample.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from monai_smia.metrics.overlap import Overlap
from monai_smia.nearest import nearest


@dataclass(frozen=True)
class Output(ABC):
    """An output layer.

    Args:
        ignore_index: label value of voxels that do not count.

    Example:
        >>> loss = Softmax(ignore_index=9).cross_entropy(torch.zeros(1, 2, 3), torch.tensor([[0, 1, 9]]))
        >>> round(float(loss), 4)  # two times log 2
        1.3863
    """

    exclusive: ClassVar[bool]  # one class a voxel; class 0 is the background

    ignore_index: int | None = None

    @abstractmethod
    def voxel_cross_entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        """Negative log likelihood of the label, voxel by voxel, in the label's shape; 0 where ignored."""

    def cross_entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        """Negative log likelihood of the label ``(B,)``."""
        return _sum(self.voxel_cross_entropy(logits, label))

    @abstractmethod
    def voxel_margin(self, logits: Tensor, label: Tensor) -> Tensor:
        """Highest wrong logit minus the true one, voxel by voxel, in the label's shape."""

    @abstractmethod
    def soft_cross_entropy(self, logits: Tensor, reference: Tensor) -> Tensor:
        """Cross entropy of the prediction with the reference's probabilities as target (Eq. 3), ``(B,)``."""

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """Probability of every channel, of the logits' shape; ordinal: of every grade ``(B, K)``."""

    @abstractmethod
    def log_odds(self, logits: Tensor) -> Tensor:
        """``log p / (1 - p)`` of every one of `probabilities` ``(B, K)``, float64: it does not saturate as they do."""

    @abstractmethod
    def decide(self, logits: Tensor) -> Tensor:
        """Decided classes ``(B, *spatial)``, or 0/1 per channel."""

    @abstractmethod
    def one_hot(self, label: Tensor, channels: int) -> Tensor:
        """The label as 0/1 per channel, bool."""

    def overlap(self, logits: Tensor, label: Tensor) -> Overlap:
        """Decision and label, counted class by class, the foreground alone."""
        decided, truth = (self.one_hot(classes, logits.shape[1]) for classes in (self.decide(logits), label))
        counted = self.counted(label)
        return Overlap.of(*(mask if counted is None else mask & counted for mask in (decided, truth)))

    @abstractmethod
    def check(self, logits: Tensor, label: Tensor) -> None:
        """Raise a ValueError where the label does not fit."""

    def counted(self, label: Tensor) -> Tensor | None:
        """Where the label counts, bool, in its shape; None where all of it does."""
        return None if self.ignore_index is None else label != self.ignore_index

    def valid(self, label: Tensor) -> Tensor:
        """The values of a label that count, in one vector.

        Raises:
            ValueError: if none of some sample does.
        """
        counted = self.counted(label)
        if counted is None:
            return label.flatten()
        without = (~counted.reshape(len(counted), -1).any(1)).nonzero().flatten().tolist()
        if without:
            raise ValueError(
                f"label must hold a value that is not ignore_index={self.ignore_index}, samples {without} hold none."
            )
        return label[counted]

    def foreground(self, per_channel: Tensor) -> Tensor:
        """The foreground's part of ``(B, K, ...)``: of exclusive classes all but the first."""
        return per_channel[:, 1:] if self.exclusive else per_channel

    def kl(self, logits: Tensor, reference: Tensor) -> Tensor:
        """KL(prediction || reference), Eq. 5, ``(B,)``."""
        return self.soft_cross_entropy(reference, logits) - self.soft_cross_entropy(logits, logits)

    def reverse_kl(self, logits: Tensor, reference: Tensor) -> Tensor:
        """KL(reference || prediction) ``(B,)``."""
        return self.kl(reference, logits)


@dataclass(frozen=True)
class Softmax(Output):
    """K exclusive classes; the label holds class numbers ``(B, *spatial)``."""

    exclusive = True

    def voxel_cross_entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        ignored = -100 if self.ignore_index is None else self.ignore_index
        return F.cross_entropy(logits, label.long(), reduction="none", ignore_index=ignored)

    def voxel_margin(self, logits: Tensor, label: Tensor) -> Tensor:
        truth = self.one_hot(label, logits.shape[1])
        return logits.masked_fill(truth, -torch.inf).amax(1) - (logits * truth).sum(1)

    def soft_cross_entropy(self, logits: Tensor, reference: Tensor) -> Tensor:
        return _sum(-(reference.softmax(1) * logits.log_softmax(1)))

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(1)

    def log_odds(self, logits: Tensor) -> Tensor:
        exact = logits.double()
        others = exact.unsqueeze(1).expand(-1, exact.shape[1], -1)
        itself = torch.eye(exact.shape[1], dtype=torch.bool, device=exact.device)
        # in order and from the largest on, so that what is equal stays equal to the last bit: ties count half
        others = others.masked_fill(itself, -torch.inf).sort(2, descending=True).values
        return (exact - others[..., 0]) - (others - others[..., :1]).exp().sum(2).log()

    def decide(self, logits: Tensor) -> Tensor:
        if logits.shape[1] == 2:
            return (logits[:, 1] > logits[:, 0]).long()  # in a tenth of the time; NaN does not pass the gate
        return logits.max(1).indices  # as argmax, ties included, in a tenth of its time on a CPU

    def overlap(self, logits: Tensor, label: Tensor) -> Overlap:
        return Overlap.of_classes(self.decide(logits), label, logits.shape[1], self.counted(label))

    def one_hot(self, label: Tensor, channels: int) -> Tensor:
        classes = torch.arange(channels, device=label.device).view(1, -1, *[1] * (label.ndim - 1))
        return label.unsqueeze(1) == classes

    def check(self, logits: Tensor, label: Tensor) -> None:
        if logits.shape[1] < 2:
            raise ValueError("activation='softmax' needs two channels or more, got 1; use activation='sigmoid'.")
        expected = (len(logits), *logits.shape[2:])
        if label.shape != expected:
            raise ValueError(
                f"label must hold classes of shape {expected} (channel left out), got {tuple(label.shape)}."
            )
        valid = self.valid(label)
        low, high = float(valid.min()), float(valid.max())
        if not (low >= 0 and high < logits.shape[1]) or (label.is_floating_point() and bool((valid % 1 != 0).any())):
            raise ValueError(
                f"label must hold whole numbers from 0 to {logits.shape[1] - 1}, got values from {low:g} to {high:g}."
            )


@dataclass(frozen=True)
class Sigmoid(Output):
    """Independent channels, or one for a binary task; the label holds 0/1 in the logits' shape."""

    exclusive = False

    def voxel_cross_entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        loss = F.binary_cross_entropy_with_logits(logits, label.to(logits.dtype), reduction="none")
        counted = self.counted(label)
        return loss if counted is None else loss.where(counted, 0)

    def voxel_margin(self, logits: Tensor, label: Tensor) -> Tensor:
        return torch.where(label == 1, -logits, logits)

    def soft_cross_entropy(self, logits: Tensor, reference: Tensor) -> Tensor:
        return _sum(F.binary_cross_entropy_with_logits(logits, reference.sigmoid(), reduction="none"))

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def log_odds(self, logits: Tensor) -> Tensor:
        return logits.double()

    def decide(self, logits: Tensor) -> Tensor:
        return (logits > 0).to(torch.uint8)

    def one_hot(self, label: Tensor, channels: int) -> Tensor:
        return label == 1

    def check(self, logits: Tensor, label: Tensor) -> None:
        if label.shape != logits.shape:
            raise ValueError(f"label must have the prediction's shape {tuple(logits.shape)}, got {tuple(label.shape)}.")
        valid = self.valid(label)
        if not bool(((valid == 0) | (valid == 1)).all()):
            low, high = float(valid.min()), float(valid.max())
            raise ValueError(f"label must hold 0 and 1 for activation='sigmoid', got values from {low:g} to {high:g}.")


@dataclass(frozen=True)
class Ordinal(Sigmoid):
    """K ordered grades by K - 1 logits, the k-th for "more than grade k"; the label holds grades ``(B,)``.

    Each logit is one binary task (Li & Lin, 2007). The decision is the number of positive logits. Logits that
    contradict each other (more than 2, but not more than 1) are sorted where an order is needed, which keeps it.
    Every grade counts: there is no `ignore_index`. What other layers say of voxels is said of thresholds.
    """

    def voxel_cross_entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        passed = self.one_hot(label, logits.shape[1]).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, passed, reduction="none")

    def voxel_margin(self, logits: Tensor, label: Tensor) -> Tensor:
        ordered = self.ordered(logits)
        return torch.where(self.one_hot(label, ordered.shape[1]), -ordered, ordered)

    def probabilities(self, logits: Tensor) -> Tensor:
        more = self.ordered(logits).sigmoid()
        ones, zeros = torch.ones_like(more[:, :1]), torch.zeros_like(more[:, :1])
        return torch.cat([ones, more], 1) - torch.cat([more, zeros], 1)

    def log_odds(self, logits: Tensor) -> Tensor:
        # between a threshold passed with odds a and the next with odds b: p = sigmoid(a) sigmoid(-b) (1 - exp(b - a))
        more = self.ordered(logits.double())
        sure = torch.full_like(more[:, :1], torch.inf)
        above, below = torch.cat([sure, more], 1), torch.cat([more, -sure], 1)
        log_p = F.logsigmoid(above) + F.logsigmoid(-below) + torch.log(-torch.expm1(below - above))
        lowest = torch.finfo(torch.float64).min  # two thresholds at one place leave nothing between them
        return (log_p - torch.logaddexp(F.logsigmoid(-above), F.logsigmoid(below))).clamp_min(lowest)

    def decide(self, logits: Tensor) -> Tensor:
        return (logits > 0).sum(1)

    def one_hot(self, label: Tensor, channels: int) -> Tensor:
        return label.unsqueeze(1) > torch.arange(channels, device=label.device)

    def check(self, logits: Tensor, label: Tensor) -> None:
        if logits.ndim != 2 or label.shape != logits.shape[:1]:
            raise ValueError(
                "activation='ordinal' needs logits (B, K - 1) and grades (B,), got shapes "
                f"{tuple(logits.shape)} and {tuple(label.shape)}."
            )
        low, high = float(label.min()), float(label.max())
        if not (low >= 0 and high <= logits.shape[1]) or (label.is_floating_point() and bool((label % 1 != 0).any())):
            raise ValueError(
                f"label must hold whole grades from 0 to {logits.shape[1]}, got values from {low:g} to {high:g}."
            )

    @staticmethod
    def ordered(logits: Tensor) -> Tensor:
        """The logits from the most to the least certain threshold."""
        return logits.sort(1, descending=True).values


OUTPUTS: dict[str, type[Output]] = {"softmax": Softmax, "sigmoid": Sigmoid, "ordinal": Ordinal}


@functools.cache
def output_of(activation: str, ignore_index: int | None = None) -> Output:
    """The output layer of a name.

    Args:
        activation: ``"softmax"``, ``"sigmoid"`` or ``"ordinal"``.
        ignore_index: label value of voxels that do not count.

    Raises:
        ValueError: if there is no such layer, or it leaves out no labels.

    Example:
        >>> output_of("sigmoid", 255)
        Sigmoid(ignore_index=255)
    """
    if activation not in OUTPUTS:
        raise ValueError(
            f"activation must be one of {sorted(OUTPUTS)}, got {activation!r}{nearest(activation, OUTPUTS)}"
        )
    if activation == "ordinal" and ignore_index is not None:
        raise ValueError(
            f"ignore_index must be None for activation='ordinal', where all grades count, got {ignore_index}."
        )
    return OUTPUTS[activation](ignore_index)


def _sum(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1) if values.ndim > 1 else values
