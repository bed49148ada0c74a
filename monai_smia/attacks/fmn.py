"""Fast minimum-norm attack."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.gradient import gradient_of
from monai_smia.attacks.result import AttackResult
from monai_smia.attacks.steps import steps
from monai_smia.attacks.trajectory import Trajectory
from monai_smia.threat import per_sample

LEAST_STEP = 0.1  # of the radius


@dataclass(kw_only=True, eq=False)
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
        loss: as for `Attack`; the radius follows the damage, not the loss. For classes give ``"margin"``, the paper's:
            it finds clearly smaller perturbations than cross entropy, the victim's default. Soft Jaccard leads to the
            damage of a segmentation better than cross entropy does.

    The other arguments are those of `Attack`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> image = torch.rand(2, 1, 8, 8)
        >>> label = network(image).argmax(1)
        >>> result = FMN(eps=1.0, steps=30, loss="margin")(ClassificationVictim(network), image, label)
        >>> result.damage.tolist(), bool(result.perturbation.abs().max() < 0.2)
        ([1.0, 1.0], True)
    """

    success: float = 1.0
    steps: int = 50
    gamma: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.success <= 1:
            raise ValueError(f"success must lie in (0, 1], got {self.success}.")
        if not 0 < self.gamma < 1:
            raise ValueError(f"gamma must lie in (0, 1), got {self.gamma}.")
        self.steps = self.require_count("steps", 1)
        self.require_fixed(keep="best")

    @property
    def planned_gradients(self) -> int:
        """One a step."""
        return self.steps

    def run(self, problem: AttackProblem) -> AttackResult:
        """Ascent inside of balls that follow the damage."""
        victim, image, label = problem.victim, problem.image, problem.label
        found = Trajectory(image, targeted=self.targeted)
        point, previous = problem.beginning, None
        largest = torch.as_tensor(problem.threat.radius, dtype=image.dtype, device=image.device).expand(len(image))
        radius = largest
        smallest = torch.full_like(radius, torch.inf)  # perturbation that did enough damage
        for step in steps(self.steps + 1, name=self.name, show=self.progress):
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
            if step == 0 and problem.start is None:
                found.note_clean(damage)
            found.add_loss(loss)
            found.add_size(point.detach(), image)
            found.take(point, damage, loss, smaller | (smallest.isinf() & found.is_better(damage, loss)))
            smallest = torch.where(smaller, size, smallest)
            if final:
                break
            decay = 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
            shrunk = torch.minimum(radius, size) * (1 - self.gamma * decay)
            grown = torch.minimum(radius * (1 + self.gamma * decay), smallest)
            radius = torch.where(reached, shrunk, torch.minimum(grown, largest))
            ball = replace(problem.threat, eps=radius)
            gradient = gradient_of((-loss if self.targeted else loss).sum(), point)
            move = per_sample(radius * max(decay, LEAST_STEP), image) * ball.steepest(gradient)
            found.add_step(move, previous, 1)
            previous = move
            point = ball.project(point.detach() + move, image)
        return found.result()

    def _size(self, perturbation: Tensor) -> Tensor:
        order = torch.inf if self.norm == "linf" else 2
        return torch.linalg.vector_norm(perturbation.flatten(1), order, 1)
