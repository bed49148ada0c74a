"""Fast minimum-norm attack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from monai_smia.attacks.base import Attack, AttackResult
from monai_smia.attacks.best import Best, is_better
from monai_smia.attacks.iterative import gradient_of
from monai_smia.attacks.records import cosine, stands_still
from monai_smia.threat import ThreatModel, per_sample
from monai_smia.victims.base import Victim

LEAST_STEP = 0.1  # of the radius


class FMN(Attack):
    """Fast minimum-norm attack (Pintor et al., NeurIPS 2021): the smallest perturbation that does a given damage.

    Ascends the deviation loss inside a ball of its own for every sample, which shrinks while the damage reaches
    `success` and grows while it does not. It asks nothing of the number of classes, unlike attacks on a difference of
    logits ratio (ALMA prox takes the three highest logits, which a lung mask does not have).

    A sample whose damage never reaches `success` inside `eps` comes back as the iterate of most damage.

    Args:
        eps: the largest radius to look at.
        success: damage in (0, 1] to reach; 1 for a wrong class, 0.5 for a Jaccard index of one half.
        steps: gradients.
        gamma: relative change of the radius at the first step, in (0, 1); it decays along half a cosine, as the step.
        loss: as for `Attack`; the radius follows the damage, not the loss. Soft Jaccard leads to the damage of a
            segmentation better than cross entropy does.
        **options: as for `Attack`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import FMN
        >>> from monai_smia.victims import ClassificationVictim
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> image = torch.rand(2, 1, 8, 8)
        >>> label = network(image).argmax(1)
        >>> result = FMN(eps=1.0, steps=30)(ClassificationVictim(network), image, label)
        >>> result.damage.tolist(), bool(result.perturbation.abs().max() < 0.2)
        ([1.0, 1.0], True)
    """

    def __init__(self, *, success: float = 1.0, steps: int = 50, gamma: float = 0.2, **options: Any) -> None:
        super().__init__(**options)
        if not 0 < success <= 1:
            raise ValueError(f"success must lie in (0, 1], got {success}.")
        if steps < 1 or int(steps) != steps:
            raise ValueError(f"steps must be a whole number >= 1, got {steps}.")
        if not 0 < gamma < 1:
            raise ValueError(f"gamma must lie in (0, 1), got {gamma}.")
        self.success = success
        self.steps = int(steps)
        self.gamma = gamma

    @property
    def planned_gradients(self) -> int:
        """One a step."""
        return self.steps

    def run(
        self,
        victim: Victim,
        image: Tensor,
        label: Any,
        threat: ThreatModel,
        generators: Sequence[torch.Generator],
    ) -> AttackResult:
        """Ascent inside of balls that follow the damage."""
        best = Best(image, targeted=self.targeted)
        point, previous = image, None
        largest = torch.as_tensor(threat.eps, dtype=image.dtype, device=image.device).expand(len(image))
        radius = largest
        smallest = torch.full_like(radius, torch.inf)  # perturbation that did enough damage
        cosines, still = [], torch.zeros_like(radius, dtype=torch.long)
        for step in tqdm(range(self.steps + 1), desc="FMN", disable=not self.progress, delay=5, leave=False):
            final = step == self.steps
            point = point.detach().requires_grad_(not final)
            with torch.set_grad_enabled(not final):
                prediction = victim.predict(point)
                if step == 0:
                    victim.check_label(prediction, label)
                loss = victim.checked_loss(prediction, label)
            damage = victim.damage(prediction, label)
            reached = (1 - damage if self.targeted else damage) >= self.success
            size = self._size(point.detach() - image)
            smaller = reached & (size < smallest)
            more = is_better(damage, loss.detach(), best.damage, best.loss, targeted=self.targeted)
            best.add(point.detach(), damage, loss, smaller | (smallest.isinf() & more))
            smallest = torch.where(smaller, size, smallest)
            if final:
                break
            decay = 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
            shrunk = torch.minimum(radius, size) * (1 - self.gamma * decay)
            grown = torch.minimum(radius * (1 + self.gamma * decay), smallest)
            radius = torch.where(reached, shrunk, torch.minimum(grown, largest))
            ball = replace(threat, eps=radius)
            gradient = gradient_of((-loss if self.targeted else loss).sum(), point)
            move = per_sample(radius * max(decay, LEAST_STEP), image) * ball.steepest(gradient)
            if previous is not None:
                cosines.append(cosine(move, previous))
            previous = move
            still += stands_still(move)
            point = ball.project(point.detach() + move, image)
        steps = torch.stack(cosines) if cosines else None
        return best.result(gradients=self.steps, cosine=steps, still_steps=still)

    def _size(self, perturbation: Tensor) -> Tensor:
        order = torch.inf if self.norm == "linf" else 2
        return torch.linalg.vector_norm(perturbation.flatten(1), order, 1)
