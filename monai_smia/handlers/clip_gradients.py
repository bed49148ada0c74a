"""Gradient clipping in a MONAI trainer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents
from torch import Tensor


class ClipGradients:
    """Ignite handler: scales the gradients of a step down to a norm, between backward and the optimizer.

    Args:
        parameters: whose gradients count, all of the optimizer's as a rule.
        max_norm: their L2 norm at most, > 0.

    Raises:
        ValueError: if `max_norm` is not positive.

    Example:
        >>> network = torch.nn.Linear(4, 2)
        >>> handler = ClipGradients(network.parameters(), max_norm=10.0)  # then handler.attach(trainer)
    """

    def __init__(self, parameters: Iterable[Tensor], *, max_norm: float) -> None:
        if not max_norm > 0:
            raise ValueError(f"max_norm must be a number > 0, got {max_norm}.")
        self.parameters = list(parameters)
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Clip in every iteration of a trainer that fires MONAI's `IterationEvents`."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clip once."""
        torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
