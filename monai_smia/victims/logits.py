"""Victims whose prediction is one tensor of logits: classifiers and segmenters."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from monai_smia.inferers.half import HALF as HALVES
from monai_smia.inferers.sliding_window import CheckpointedSlidingWindowInferer
from monai_smia.victims import logit_losses
from monai_smia.victims.base import Victim
from monai_smia.victims.gate import Passed, plain_of
from monai_smia.victims.outputs import Output, output_of

HALF = tuple(HALVES.values())
UNSIGNED = (torch.uint8, torch.uint16, torch.uint32)
_FITTING = Passed()


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
        output_of(self.activation, self.ignore_index)  # raises where there is none

    @property
    def output(self) -> Output:
        """The output layer: what the channels mean."""
        return output_of(self.activation, self.ignore_index)

    def forward(self, network_input: Tensor) -> Tensor:
        """The network's logits, those of half precision in float32, in which a sum over voxels does not overflow.

        Where the inferer holds them in half precision (`with_logits`), they stay in it: what sums them does it in full.

        Raises:
            ValueError: if it returns anything but one tensor ``(B, K, ...)``.
        """
        logits = super().forward(network_input)
        if not isinstance(logits, Tensor):
            raise ValueError(
                f"the network must return one tensor of logits, got {type(logits).__name__}; wrap it in a module whose "
                "forward returns that one."
            )
        if logits.ndim < 2:
            raise ValueError(f"the network must return logits (B, K, ...), got shape {tuple(logits.shape)}.")
        held = getattr(self.inferer, "logits", None) == logits.dtype
        return logits.float() if logits.dtype in HALF and not held else logits

    def predict_both(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """As `Victim.predict_both`; what is held in half precision is made apart, as no part of it has its windows."""
        if getattr(self.inferer, "logits", None) is None:
            return super().predict_both(first, second)
        return self.predict(first), self.predict(second)

    def with_logits(self, dtype: str) -> Any:
        """A copy that holds the prediction of its sliding window in another precision: half the memory, or all of it.

        Values are rounded to it; the gradient is that of the loss at the rounded values, in float32, through windows
        that are computed in full. Images smaller than a window keep float32.

        Args:
            dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``.

        Raises:
            ValueError: if it is none of these, or half of what no sliding window stitches.
        """
        known = {"float32": None, **HALVES}
        if dtype not in known:
            raise ValueError(f"logits must be one of {tuple(known)}, got {dtype!r}.")
        if known[dtype] is None:
            return self
        if not isinstance(self.inferer, CheckpointedSlidingWindowInferer):
            raise ValueError(
                f"logits must be 'float32' where no SlidingWindowInferer stitches them, got {dtype!r}: "
                f"{'there is no inferer' if self.inferer is None else type(self.inferer).__name__}."
            )
        inferer = copy.copy(self.inferer)
        inferer.logits = known[dtype]
        return self.with_inferer(inferer)

    def as_label(self, label: Any) -> Any:
        """Integers and booleans of any type as long, in which every `ignore_index` exists.

        Where an unsigned type cannot hold it, as uint8 cannot hold -1, it is what it becomes on the way there (255).
        """
        if not isinstance(label, Tensor):
            return label
        label = plain_of(label)
        if label.is_floating_point() or label.dtype == torch.long:
            return label
        whole = label.long()
        if self.ignore_index is None or self.ignore_index >= 0 or label.dtype not in UNSIGNED:
            return whole
        wrapped = self.ignore_index % (torch.iinfo(label.dtype).max + 1)
        return whole.where(whole != wrapped, self.ignore_index)

    @abstractmethod
    def target(self, label: Tensor) -> Tensor:
        """The label as the output layer takes it."""

    def check_label(self, prediction: Any, label: Any) -> None:
        """Raise where the label is not what the output layer takes."""
        if not isinstance(label, Tensor):
            raise ValueError(f"label must be a tensor, got {type(label).__name__}.")
        if not label.numel():
            raise ValueError(f"label must not be empty, got shape {tuple(label.shape)}.")
        self.check_fits(prediction, label, self.target(label))

    def check_fits(self, prediction: Tensor, label: Tensor, target: Tensor) -> None:
        """Raise where the label, which is `target` to the output layer, does not fit; once for the same label."""
        output = self.output
        if not _FITTING.holds(label, (output, prediction.shape)):
            output.check(prediction, target)
            _FITTING.note(label, (output, prediction.shape))
