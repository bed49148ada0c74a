"""Several attacks, and per sample the worst of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks.base import Attack, AttackResult
from monai_smia.attacks.best import better_of
from monai_smia.threat import ThreatModel, seeded_generators
from monai_smia.victims.base import Victim


class Ensemble(Attack):
    """The worst case: every attack of a list, and of every sample the image that does most damage.

    At least as strong as every single attack on every sample, by construction. Radius, norm, clip and direction are the
    ensemble's and hold for all members; each member starts from the same seed as it would alone. Histories are those of
    the member that an image is from.

    Args:
        attacks: the members.
        metric: what to judge by, ``(victim, prediction, label) -> (B,)``, more is worse; None is the victim's damage.
        eps: radius; None for that of the members, which then must agree.
        **options: as for `Attack`; `norm`, `clip` and `targeted` default to the members'.

    Raises:
        ValueError: if there are no attacks, or they disagree.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import PGD, Ensemble
        >>> from monai_smia.victims import SegmentationVictim
        >>> _ = torch.manual_seed(0)
        >>> victim = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1))
        >>> image, label = torch.rand(1, 1, 16, 16), torch.randint(0, 2, (1, 1, 16, 16))
        >>> members = [PGD(eps=0.03, loss=loss) for loss in ("cross_entropy", "soft_jaccard")]
        >>> worst = Ensemble(attacks=members)(victim, image, label)
        >>> bool(worst.damage == max(member(victim, image, label).damage for member in members))
        True
    """

    def __init__(
        self,
        *,
        attacks: Sequence[Attack],
        metric: Callable[[Victim, Any, Any], Tensor] | None = None,
        eps: float | None = None,
        **options: Any,
    ) -> None:
        if not attacks:
            raise ValueError("attacks must hold at least one attack, got none.")
        settings = {name: [getattr(a, name) for a in attacks] for name in ("eps", "norm", "clip", "targeted")}
        for name, values in settings.items():
            if len(set(values)) > 1 and not (name == "eps" and eps is not None):
                raise ValueError(f"attacks must agree on {name}, got {values}.")
        own = {name: values[0] for name, values in settings.items() if name != "eps"}
        super().__init__(eps=settings["eps"][0] if eps is None else eps, **{**own, **options})
        if self.targeted != settings["targeted"][0]:
            raise ValueError(f"targeted must be that of the attacks, {settings['targeted'][0]}, got {self.targeted}.")
        self.attacks = tuple(attacks)
        self.metric = metric

    @property
    def planned_gradients(self) -> int:
        """Of all members."""
        return sum(member.planned_gradients for member in self.attacks)

    def bind(self, victim: Victim, image: Tensor, label: Any) -> tuple[Victim, Any]:
        """The members' own victims and labels ride on the label."""
        bound, target = victim.bind(image, label, differentiable=False)
        return bound, (target, [member.bind(member.victim_for(victim), image, label) for member in self.attacks])

    def run(
        self,
        victim: Victim,
        image: Tensor,
        label: Any,
        threat: ThreatModel,
        generators: Sequence[torch.Generator],
    ) -> AttackResult:
        """Every member, then the worst per sample."""
        target, members = label
        seeds = [generator.initial_seed() for generator in generators]
        results = []
        for member, (theirs, their_label) in zip(self.attacks, members, strict=True):
            fresh = seeded_generators(seeds, len(image), image.device)
            result = member.run(theirs, image, their_label, threat, fresh)
            results.append(self._judged(victim, result, target))
        results = [_padded(result, results) for result in results]
        best = results[0]
        for result in results[1:]:
            best = better_of(best, result, targeted=self.targeted)
        return best

    @torch.no_grad()
    def _judged(self, victim: Victim, result: AttackResult, label: Any) -> AttackResult:
        """The result, scored by what all members are compared by."""
        prediction = victim.predict(result.adversarial)
        damage = (victim.damage if self.metric is None else partial(self.metric, victim))(prediction, label)
        return replace(result, damage=damage.to(result.damage), loss=victim.loss(prediction, label).to(result.loss))


def _padded(result: AttackResult, results: Sequence[AttackResult]) -> AttackResult:
    """The result with histories as long as the longest: the last value carried on, NaN for cosines."""

    def longer(name: str, carry: bool) -> Tensor:
        history: Tensor = getattr(result, name)
        missing = max(len(getattr(other, name)) for other in results) - len(history)
        last = history[-1:] if carry and len(history) else history.new_full((1, history.shape[1]), torch.nan)
        return torch.cat([history, last.expand(missing, -1)])

    return replace(
        result,
        loss_history=longer("loss_history", True),
        linf=longer("linf", True),
        variance=None if any(other.variance is None for other in results) else longer("variance", True),
        cosine=longer("cosine", False),
    )
