"""Targeted Auto-PGD."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from monai_smia.attacks.apgd import APGD, APGDState
from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.best import better_of
from monai_smia.attacks.iterative import Iterate
from monai_smia.attacks.result import AttackResult, spread
from monai_smia.victims import ClassificationVictim, Victim


@dataclass
class TargetState(APGDState):
    """Auto-PGD's state, and the class that every sample is pushed to ``(B,)``."""

    wrong: Tensor


@dataclass(kw_only=True, eq=False)
class APGDT(APGD):
    """Targeted Auto-PGD (Croce & Hein, ICML 2020): one run toward each of the nearest wrong classes.

    Each run ascends the difference of the scores of a wrong class and the true one over the spread of the highest
    scores (the targeted difference of logits ratio), which no scaling of the logits changes. The spread is
    ``z_1 - (z_3 + z_4) / 2``; with less than four classes, which leave it constant, the difference alone counts. A
    sample that is decided wrongly is done, and left out of the runs that follow. The attack is untargeted: any wrong
    class will do.

    Args:
        num_targets: how many of the wrong classes with the highest scores on the clean image, at most.
        rank: run toward the class of this rank alone, 0 for the nearest; None for all of them.

    The other arguments are those of `APGD`; `targeted` is False, and `stop_at` no None.

    Raises:
        ValueError: if an argument is outside its range; in use, if the victim is no classifier that decides for one
            class.

    Example:
        >>> victim = ClassificationVictim(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)))
        >>> image = torch.rand(2, 1, 8, 8)
        >>> result = APGDT(eps=0.3, steps=10)(victim, image, victim.decide(victim.predict(image)))
        >>> result.damage.tolist()
        [1.0, 1.0]
    """

    num_targets: int = 9
    rank: int | None = None
    stop_at: float | None = 1.0

    def __post_init__(self) -> None:
        self.require_fixed(targeted=False)
        if self.stop_at is None:
            raise ValueError("stop_at must lie in (0, 1], since APGDT leaves out what is decided wrongly, got None.")
        super().__post_init__()
        self.num_targets = self.require_count("num_targets", 1)
        self.rank = None if self.rank is None else self.require_count("rank", 0)

    @property
    def planned_gradients(self) -> int:
        """Of a run toward every target."""
        return super().planned_gradients * (self.num_targets if self.rank is None else 1)

    def run(self, problem: AttackProblem) -> AttackResult:
        """A run toward every target; per sample the best."""
        if self.rank is not None:
            return super().run(problem)
        with torch.no_grad():
            scores = self.require_victim(problem.victim, ClassificationVictim).scores(
                problem.victim.predict(problem.image)
            )
        best = replace(self, rank=0).run(problem)
        for rank in range(1, min(self.num_targets, scores.shape[1] - 1)):
            going = best.damage < 1
            if not bool(going.any()):
                break
            other = replace(self, rank=rank).run(problem.subset(going))
            best = better_of(best, spread(other, best, going), targeted=False)
        return best

    def initial_state(self, problem: AttackProblem) -> TargetState:
        """Auto-PGD's, and the wrong class of this rank."""
        classifier = self.require_victim(problem.victim, ClassificationVictim)
        with torch.no_grad():
            scores = classifier.scores(classifier.predict(problem.image))
        wrong = scores.shape[1] - 1
        if (self.rank or 0) >= wrong:
            raise ValueError(f"rank must be one of the {wrong} wrong classes, 0 to {wrong - 1}, got {self.rank}.")
        truth = classifier.target(problem.label).view(-1, 1).long()
        order = scores.scatter(1, truth, -torch.inf).argsort(1, descending=True)
        return TargetState(**vars(super().initial_state(problem)), wrong=order[:, self.rank or 0])

    def objective(self, victim: Victim, iterate: Iterate) -> Tensor:
        """The targeted difference of logits ratio ``(B,)``."""
        classifier = self.require_victim(victim, ClassificationVictim)
        scores = classifier.scores(iterate.prediction)
        truth = classifier.target(iterate.label).view(-1, 1).long()
        gap = scores.gather(1, iterate.state.wrong.view(-1, 1)) - scores.gather(1, truth)
        if scores.shape[1] < 4:
            return gap[:, 0]
        highest = scores.topk(4, 1).values
        return gap[:, 0] / (highest[:, 0] - highest[:, 2:].mean(1) + 1e-12)
