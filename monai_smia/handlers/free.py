"""Free adversarial training: the gradient of a training step is that of the attack, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import CommonKeys
from torch import Tensor

from monai_smia.checks import check_number

__all__ = ["FreeAttackHandler", "Replayed"]


class Replayed:
    """A data loader that gives every batch several times in a row, as free adversarial training takes them.

    Args:
        loader: the data loader; it has a length.
        times: how often every batch is given, >= 1.

    Raises:
        ValueError: if `times` is not a whole number >= 1.

    Example:
        >>> list(Replayed([1, 2], times=3)), len(Replayed([1, 2], times=3))
        ([1, 1, 1, 2, 2, 2], 6)
    """

    def __init__(self, loader: Any, *, times: int) -> None:
        check_number("times", times, whole=True, least=1)
        self.loader: Iterable[Any] = loader
        self.times = times

    def __len__(self) -> int:
        return self.times * len(self.loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield from [batch] * self.times


class FreeAttackHandler:
    """Free adversarial training (Shafahi et al., NeurIPS 2019, Algorithm 1) of a MONAI trainer.

    The network learns from ``image + perturbation``; the backward pass of its weights gives the gradient of the image,
    too, by whose sign the perturbation takes a step. A step of training costs one gradient, where PGD of n steps makes
    it n + 1. The perturbation goes on from batch to batch, so every batch is to be given several times
    (:class:`Replayed`).

    Args:
        eps: the largest change of a value, in the unit in which the trainer's batches are, > 0.
        step_size: how far one step goes; None: `eps`, as in the paper.
        clip: the range of images, or None.
        image_key: key of the image in the batch.

    Raises:
        ValueError: if `eps` or `step_size` is not a finite number > 0, or `clip` is no range.

    Example:
        >>> from monai.engines import SupervisedTrainer
        >>> network = torch.nn.Conv2d(1, 1, 3, padding=1)
        >>> batch = {"image": torch.full((2, 1, 8, 8), 0.5), "label": torch.zeros(2, 1, 8, 8)}
        >>> trainer = SupervisedTrainer(
        ...     torch.device("cpu"), 1, Replayed([batch], times=4), network,
        ...     torch.optim.SGD(network.parameters(), 0.01), torch.nn.MSELoss())
        >>> handler = FreeAttackHandler(0.03)
        >>> handler.attach(trainer)
        >>> trainer.run()
        >>> round(float(handler.perturbation.abs().max()), 4)
        0.03
    """

    def __init__(
        self,
        eps: float,
        *,
        step_size: float | None = None,
        clip: tuple[float, float] | None = (0.0, 1.0),
        image_key: str = CommonKeys.IMAGE,
    ) -> None:
        check_number("eps", eps, positive=True)
        if step_size is not None:
            check_number("step_size", step_size, positive=True)
        if clip is not None and not clip[0] < clip[1]:
            raise ValueError(f"clip must be (low, high) with low < high, or None, got {clip}.")
        self.eps, self.step_size = eps, eps if step_size is None else step_size
        self.clip, self.image_key = clip, image_key
        self.perturbation: Tensor | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer that fires MONAI's iteration events."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._perturb)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._ascend)

    def _perturb(self, engine: Any) -> None:
        """What the network learns from, of which a gradient is kept."""
        batch = engine.state.batch
        if not isinstance(batch, Mapping) or self.image_key not in batch:
            raise ValueError(f"image_key must be a key of the batch, got {self.image_key!r}.")
        clean = batch[self.image_key].detach().to(engine.state.device)
        if self.perturbation is None or self.perturbation.shape != clean.shape:
            self.perturbation = torch.zeros_like(clean)
        image = clean + self.perturbation
        self._image = (image if self.clip is None else image.clamp(*self.clip)).requires_grad_()
        engine.state.batch = {**batch, self.image_key: self._image}

    def _ascend(self, engine: Engine) -> None:
        gradient = self._image.grad
        if gradient is None or self.perturbation is None:
            raise ValueError("the loss must depend on the image of the batch, got no gradient of it.")
        self.perturbation = (self.perturbation + self.step_size * gradient.sign()).clamp(-self.eps, self.eps)
        self._image.requires_grad_(False).grad = None
