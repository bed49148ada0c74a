"""Fast minimum-norm attack toward one class after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.best import is_better, taken
from monai_smia.attacks.fmn import FMN
from monai_smia.attacks.result import AttackResult
from monai_smia.victims import ClassificationVictim


@dataclass(kw_only=True, eq=False)
class FMNT(FMN):
    """`FMN` toward each of the nearest wrong classes; per sample the smallest perturbation counts.

    The class whose score is highest after the true one is often not the one whose border is nearest, above all where a
    network was trained against attacks. Each run ascends the difference of a wrong class's score and the true one; it
    has succeeded as soon as the decision is wrong, whichever class it falls to.

    Args:
        steps: gradients of each run.
        num_targets: how many of the wrong classes with the highest scores on the clean image, at most.

    The other arguments are those of `FMN`; `targeted` is False, `loss` is None.

    Raises:
        ValueError: if an argument is outside its range; in use, if the victim is no classifier that decides for one
            class.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
        >>> victim, image = ClassificationVictim(network), torch.rand(2, 1, 8, 8)
        >>> label = victim.decide(victim.predict(image))
        >>> result, one = (attack(eps=1.0, steps=20)(victim, image, label) for attack in (FMNT, FMN))
        >>> result.damage.tolist(), bool((result.linf[-1] <= one.linf[-1] * 1.05).all())
        ([1.0, 1.0], True)
    """

    num_targets: int = 9

    def __post_init__(self) -> None:
        self.require_fixed(targeted=False, loss=None)
        super().__post_init__()
        self.num_targets = self.require_count("num_targets", 1)

    @property
    def planned_gradients(self) -> int:
        """Of a run toward every target."""
        return super().planned_gradients * self.num_targets

    def run(self, problem: AttackProblem) -> AttackResult:
        """A run toward every target; per sample the smallest perturbation that succeeded, else the most damage."""
        victim = self.require_victim(problem.victim, ClassificationVictim)
        with torch.no_grad():
            scores = victim.scores(victim.predict(problem.image))
        truth = victim.target(problem.label).view(-1, 1).long()
        order = scores.scatter(1, truth, -torch.inf).argsort(1, descending=True)
        found = [
            super(FMNT, self).run(replace(problem, victim=victim.with_loss(Toward(victim, wrong))))
            for wrong in order[:, : min(self.num_targets, scores.shape[1] - 1)].T
        ]
        best = found[0]
        for other in found[1:]:
            best = taken(best, other, self._better(other, best))
        with torch.no_grad():
            loss = victim.checked_loss(victim.predict(best.adversarial), problem.label)
        return replace(best, loss=loss.to(best.loss))

    def _better(self, one: AttackResult, other: AttackResult) -> Tensor:
        """Whether a result is to be preferred to another ``(B,)``."""
        reached, before = one.damage >= self.success, other.damage >= self.success
        smaller = self._size(one.perturbation) < self._size(other.perturbation)
        more = is_better(one.damage, one.loss, other.damage, other.loss, targeted=False)
        return torch.where(before, reached & smaller, reached | more)


@dataclass(frozen=True)
class Toward:
    """The score of one class for every sample, minus that of the true one.

    Args:
        victim: whose scores.
        wrong: the classes ``(B,)``.
    """

    victim: ClassificationVictim
    wrong: Tensor

    def __call__(self, prediction: Any, label: Any) -> Tensor:
        """Positive where the class is preferred ``(B,)``."""
        scores = self.victim.scores(prediction)
        truth = self.victim.target(label).view(-1, 1).long()
        return (scores.gather(1, self.wrong.view(-1, 1)) - scores.gather(1, truth))[:, 0]
