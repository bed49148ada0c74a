"""Free adversarial training: the gradient of a training step is that of the attack, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.utils import CommonKeys
from torch import Tensor

from monai_smia.checks import check_number
from monai_smia.handlers.attack import AttackHandler
from monai_smia.threat import ThreatModel
from monai_smia.victims.preprocessing import as_plain

__all__ = ["FreeAttackHandler"]


class FreeAttackHandler:
    """Free adversarial training (Shafahi et al., NeurIPS 2019, Algorithm 1) of a MONAI trainer.

    The network learns from ``image + perturbation``; the backward pass of its weights gives the gradient of the image,
    too, by whose sign the perturbation takes a step. A step of training costs one gradient, where PGD of n steps makes
    it n + 1. The perturbation goes on from batch to batch, and begins anew where the shape of the image is another, so
    every batch is to be given several times in a row: ``repeats`` of MONAI's ThreadDataLoader, with ``epoch_length`` of
    the trainer. The gradient is that of the image as it is seen, after it is clipped.

    Args:
        eps: the largest change of a value, in the unit in which the trainer's batches are, > 0.
        step_size: how far one step goes; None: `eps`, as in the paper.
        clip: the range of images, or None.
        image_key: key of the image in the batch, a dictionary.

    Raises:
        ValueError: if `eps` or `step_size` is not a finite number > 0, or `clip` is no range; in training, if an image
            lies outside of it.

    Example:
        >>> from monai.engines import SupervisedTrainer
        >>> network = torch.nn.Conv2d(1, 1, 3, padding=1)
        >>> batch = {"image": torch.full((2, 1, 8, 8), 0.5), "label": torch.zeros(2, 1, 8, 8)}
        >>> trainer = SupervisedTrainer(
        ...     torch.device("cpu"), 1, [batch] * 4, network,
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
        self.threat = ThreatModel(eps=eps, clip=clip)
        self.eps, self.step_size = eps, eps if step_size is None else step_size
        self.image_key = image_key
        self.perturbation: Tensor | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer that fires MONAI's iteration events; attaching the same handler twice changes nothing.

        Raises:
            ValueError: if the engine has another handler that attacks, with which this one would add up.
        """
        if engine.has_event_handler(self._perturb):
            return
        AttackHandler.claim(engine)
        engine.add_event_handler(Events.ITERATION_STARTED, self._perturb)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._ascend)

    def _perturb(self, engine: Any) -> None:
        """What the network learns from, of which a gradient is kept."""
        batch = engine.state.batch
        if not isinstance(batch, Mapping) or self.image_key not in batch:
            known = f"{sorted(batch)}" if isinstance(batch, Mapping) else f"a dictionary, not a {type(batch).__name__}"
            raise ValueError(f"image_key must be a key of the batch, {known}, got {self.image_key!r}.")
        clean = batch[self.image_key].detach().to(engine.state.device)
        self.threat.on(clean)
        if self.perturbation is None or self.perturbation.shape != clean.shape:
            self.perturbation = torch.zeros_like(as_plain(clean))
        image = clean + self.perturbation
        clip = self.threat.clip
        self._image = (image if clip is None else image.clamp(*clip)).requires_grad_()
        engine.state.batch = {**batch, self.image_key: self._image}

    def _ascend(self, engine: Engine) -> None:
        gradient = self._image.grad
        if gradient is None or self.perturbation is None:
            raise ValueError("the loss must depend on the image of the batch, got no gradient of it.")
        step = self.step_size * as_plain(gradient).sign()
        self.perturbation = (self.perturbation + step).clamp(-self.eps, self.eps)
        self._image.requires_grad_(False).grad = None
