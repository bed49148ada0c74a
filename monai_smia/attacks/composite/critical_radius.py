"""The smallest radius at which an attack succeeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from monai.utils import convert_to_dst_type
from torch import Tensor
from typing_extensions import Self

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.composite.base import CompositeAttack
from monai_smia.attacks.result import AttackResult, joined

SPARE = 0.02  # of damage, beyond what is needed, before an attack ends early: a judge may see less than the victim
HALVINGS = 30  # at most; what is below a billionth of the largest radius is none


@dataclass(kw_only=True, eq=False)
class CriticalRadius(CompositeAttack):
    """Per sample the smallest radius, by bisection, at which an attack leaves a share of what was right.

    What is right of a sample is 1 - damage: its Jaccard index, the share of its objects found, 1 for a right decision.
    The radius found is an upper bound: a stronger attack may need less. Every radius is tried from a perturbation that
    succeeded at a larger one. The image returned is that of the smallest radius that succeeded; where none did, that of
    the largest, and its damage says so. A sample of which nothing is right comes back as it is.

    Args:
        attack: what is tried; its `eps` is the largest radius.
        share: of what is right on the clean image, in [0, 1); at most so much is left at the critical radius.
        precision: relative distance of the radii between which the bisection ends.
        first: attack that is tried at the largest radius instead, such as one that looks for a small perturbation by
            itself: bisection goes on from what it found. None: `attack`.
        judge: damage of one image ``(1, C, *spatial)`` where a deployed pipeline has the last word; None: the victim's.

    The other arguments are those of `CompositeAttack`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> network[1].weight.data = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 0]])
        >>> image = torch.full((1, 1, 2, 2), 0.1)  # decided by the sign of its sum: .1 a voxel brings it to 0
        >>> attack = CriticalRadius(PGD(eps=1.0, steps=5, clip=None))
        >>> result = attack(ClassificationVictim(network), image, torch.tensor([0]))
        >>> bool(0.1 <= result.perturbation.abs().max() < 0.102)
        True
    """

    attack: Attack = field(kw_only=False)
    share: float = 0.5
    precision: float = 0.01
    first: Attack | None = None
    judge: Callable[[Tensor], float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fixed(keep="best", targeted=False)
        if not 0 <= self.share < 1:
            raise ValueError(f"share must lie in [0, 1), got {self.share}.")
        if not 0 < self.precision < 1:
            raise ValueError(f"precision must lie in (0, 1), got {self.precision}.")

    @property
    def parts(self) -> Sequence[Attack]:
        """The attack that is tried, and what is tried first."""
        return [self.attack] if self.first is None else [self.attack, self.first]

    def with_parts(self, parts: Sequence[Attack]) -> Self:
        """The same with other attacks."""
        attack, *first = parts
        return replace(self, attack=attack, first=first[0] if first else None)

    @property
    def name(self) -> str:
        """That of the class: it is no attack of its own."""
        return type(self).__name__

    @property
    def planned_gradients(self) -> int:
        """Of the largest radius, and of the bisection to its precision."""
        halvings = len(_halvings(self.precision))
        return (self.first or self.attack).planned_gradients + halvings * self.attack.planned_gradients

    def run(self, problem: AttackProblem) -> AttackResult:
        """Sample by sample."""
        count = len(problem.image)
        return joined([self._of_sample(problem.subset(torch.arange(count) == number)) for number in range(count)])

    def _of_sample(self, problem: AttackProblem) -> AttackResult:
        largest = float(torch.as_tensor(problem.threat.radius))
        clean = self._damage(problem, problem.image)
        needed = 1 - self.share * (1 - clean)
        if clean >= needed:  # nothing to look for
            attack = _ending_at(self.attack, needed)
            return _judged(attack.run(replace(problem, threat=replace(problem.threat, eps=0.0)).part(attack)), clean)
        attack, first = (_ending_at(one, min(needed + SPARE, 1.0)) for one in (self.attack, self.first or self.attack))
        found = first.run(problem.part(first))
        gradients, damage = found.gradients, self._damage(problem, found.adversarial)
        if damage < needed:
            return _judged(found, damage)
        held, succeeded = 0.0, self._size(problem, found)
        for _ in range(HALVINGS):
            if succeeded - held <= self.precision * succeeded or succeeded <= 1e-9 * largest:
                break
            middle = (held + succeeded) / 2
            ball = replace(problem.threat, eps=torch.full((1,), middle).to(problem.image))
            tried = replace(problem, threat=ball, start=found.perturbation)
            result = attack.run(tried.part(attack))
            gradients = gradients + result.gradients
            done = self._damage(problem, result.adversarial)
            if done >= needed:
                found, damage, succeeded = result, done, min(middle, self._size(problem, result))
            else:
                held = middle
        return _judged(replace(found, gradients=gradients), damage)

    def _damage(self, problem: AttackProblem, image: Tensor) -> float:
        if self.judge is not None:
            return self.judge(convert_to_dst_type(image, problem.source_image)[0])  # with the affine that it came with
        with torch.no_grad():
            return float(problem.victim.damage(problem.victim.predict(image), problem.label)[0])

    @staticmethod
    def _size(problem: AttackProblem, result: AttackResult) -> float:
        order = torch.inf if problem.threat.norm == "linf" else 2
        return float(torch.linalg.vector_norm(result.perturbation.flatten().double(), order))


def _judged(result: AttackResult, damage: float) -> AttackResult:
    """The result with the damage by which it was judged: that of an attack in lower precision is its own."""
    return replace(result, damage=torch.full_like(result.damage, damage))


def _halvings(precision: float) -> list[float]:
    """The widths of a bracket that is halved until it is below a precision."""
    widths = [1.0]
    while widths[-1] > precision:
        widths.append(widths[-1] / 2)
    return widths[1:]


def _ending_at(attack: Attack, damage: float) -> Attack:
    """The attack, and all of its parts that can, ended by a damage."""
    if isinstance(attack, CompositeAttack):
        attack = attack.with_parts([_ending_at(part, damage) for part in attack.parts])
    changes: dict[str, Any] = {name: damage for name in ("stop_at", "success") if hasattr(attack, name)}
    return replace(attack, **changes)
