"""Several attacks, and per sample the worst of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks.arguments import check_stop_at
from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.best import better_of
from monai_smia.attacks.composite.base import ListOfAttacks
from monai_smia.attacks.result import AttackResult, same_length, spread
from monai_smia.victims.base import Victim


@dataclass(kw_only=True, eq=False)
class Ensemble(ListOfAttacks):
    """The worst case: every attack of a list, and of every sample the image that does most damage.

    At least as strong as every single attack on every sample, by construction. Radius, norm, clip and direction are the
    ensemble's and hold for all members. Each member draws as it would alone, from its own seed or from that of the
    call. Histories are those of the member that an image is from.

    Args:
        attacks: the members.
        metric: what to judge by, ``(victim, prediction, label) -> (B,)``, more is worse; None is the victim's damage.
        stop_at: damage at which a sample is solved and left out of the members that follow (targeted: 1 - damage); None
            runs every member on every sample.
        eps: radius; left out, that of the members, which then must agree.

    The other arguments are those of `CompositeAttack` and `Attack`.

    Raises:
        ValueError: if there are no attacks, or they disagree.

    Example:
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, image = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1)), torch.rand(1, 1, 16, 16)
        >>> label = (image > 0.5).long()
        >>> members = [PGD(eps=0.03, loss=loss) for loss in ("cross_entropy", "soft_jaccard")]
        >>> worst = Ensemble(members)(victim, image, label)
        >>> bool(worst.damage == max(member(victim, image, label).damage for member in members))
        True
    """

    metric: Callable[[Victim, Any, Any], Tensor] | None = None
    stop_at: float | None = None

    def __post_init__(self) -> None:
        self.attacks = tuple(self.attacks)
        if not self.attacks:
            raise ValueError("attacks must hold at least one attack, got none.")
        super().__post_init__()
        self.require_fixed(keep="best")
        check_stop_at(self.stop_at)

    def run(self, problem: AttackProblem) -> AttackResult:
        """Every member, then the worst per sample."""
        first, *others = self.attacks
        best = self._judged(problem, first.run(problem.part(first)))
        for member in others:
            going = self._unsolved(best)
            if not bool(going.any()):
                break
            part, own = problem, problem.part(member)  # with the random draws of the whole batch
            if not bool(going.all()):
                part, own = problem.subset(going), own.subset(going)
            result = self._judged(part, member.run(own))
            result = result if part is problem else spread(result, best, going)
            best = better_of(*same_length(best, result), targeted=self.targeted)
        return best

    def _unsolved(self, result: AttackResult) -> Tensor:
        """Samples that the members so far have not solved ``(B,)``."""
        if self.stop_at is None:
            return torch.ones_like(result.damage, dtype=torch.bool)
        return (1 - result.damage if self.targeted else result.damage) < self.stop_at

    @torch.no_grad()
    def _judged(self, problem: AttackProblem, result: AttackResult) -> AttackResult:
        """The result, scored by what all members are compared by."""
        victim, label = problem.victim, problem.label
        prediction = victim.predict(result.adversarial)
        damage = victim.damage(prediction, label) if self.metric is None else self.metric(victim, prediction, label)
        loss = victim.checked_loss(prediction, label).to(result.loss)
        return replace(result, damage=damage.to(result.damage), loss=loss)
