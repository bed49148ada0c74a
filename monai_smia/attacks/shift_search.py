"""What searches over the parameters of an acquisition shift share: candidates, and the worst of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.best import is_better
from monai_smia.attacks.measures import perturbation_stats, where
from monai_smia.attacks.result import AttackResult
from monai_smia.shifts import Shift, moved_label
from monai_smia.shifts.grid import Grid

Judge = Callable[[Tensor, Any, Tensor], float]


@dataclass(frozen=True)
class ShiftResult(AttackResult):
    """The result of a search over a shift's parameters.

    Args:
        values: parameters of the returned image ``(B, P)``, in their units.
        label: as the victim takes it, on the image's own grid, moved with the anatomy.
        tried: parameters of every random draw, or of every point of the lattice ``(N, B, P)``.
        tried_damage: damage at each of them ``(N, B)``.
    """

    values: Tensor
    label: Any
    tried: Tensor
    tried_damage: Tensor


@dataclass(kw_only=True, eq=False)
class ShiftSearch(Attack):
    """What the searches over a shift's parameters share.

    Labels move with the anatomy: loss and damage are those of the moved label. The image is clipped to the valid
    range, and voxels off the mask stay. The unshifted image is a candidate, too.

    Args:
        shift: the shift, with its box; `ShiftChain` for several at once.
        eps: radius of an L-inf perturbation on top of the shift, in the image's unit; 0 for none.
        judge: damage of one image ``(image, label, values)`` where a deployed pipeline has the last word; None: the
            victim's.

    The other arguments are those of `Attack`; the norm is ``"linf"``.
    """

    needs_gradient: ClassVar[bool] = False  # where it takes one it asks

    shift: Shift = field(kw_only=False)
    eps: float | None = 0.0
    judge: Judge | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fixed(norm="linf", keep="best", targeted=False)
        if not isinstance(self.shift, Shift):
            raise ValueError(f"shift must be one of monai_smia.shifts, got {self.shift!r}.")

    @property
    def name(self) -> str:
        """That of the shift's class, or of those of a chain."""
        return "+".join(type(part).__name__ for part in getattr(self.shift, "shifts", [self.shift]))

    @abstractmethod
    def search(self, found: Found) -> None:
        """Try parameters."""

    def run(self, problem: AttackProblem) -> AttackResult:
        """Search, from the unshifted image on.

        Raises:
            ValueError: if the shift moves anatomy, and the label is points, which would stay where they are.
        """
        if self.shift.geometric and getattr(problem.victim, "point_axis", None) is not None:
            raise ValueError(f"{self.name} moves anatomy, and no points with it: take one that leaves it there.")
        found = Found(self, problem)
        neutral = self.shift.neutral(found.dims).to(problem.image).expand(len(problem.image), -1)
        found.try_values(neutral, clean=True)
        self.search(found)
        return found.result()


class Found:
    """The candidates of one search, and the worst of them.

    Args:
        attack: the search.
        problem: what it is given.
    """

    def __init__(self, attack: ShiftSearch, problem: AttackProblem) -> None:
        self.attack, self.problem, self.shift = attack, problem, attack.shift
        self.dims = problem.image.ndim - 2
        self.grid: Grid = self.shift.grid(problem.source_image)
        count = len(problem.image)
        self.adversarial = problem.image.clone()
        self.damage = problem.image.new_full((count,), torch.nan)
        self.loss, self.clean = self.damage.clone(), self.damage.clone()
        self.values = self.shift.neutral(self.dims).to(problem.image).repeat(count, 1)
        self.gradients = torch.zeros(count, dtype=torch.long, device=problem.image.device)
        self.still = self.gradients.clone()
        self.losses: list[Tensor] = []
        self.sizes: list[tuple[Tensor, Tensor]] = []
        self.tried: list[Tensor] = []
        self.tried_damage: list[Tensor] = []

    def image_at(self, values: Tensor, perturbation: Tensor | None = None) -> Tensor:
        """The image that is taken with these parameters, within range and mask."""
        image, threat = self.problem.image, self.problem.threat
        shifted = self.shift.apply(image, values, self.grid)
        if threat.clip is not None:
            shifted = shifted.clamp(*threat.clip)
        if perturbation is not None:
            shifted = shifted + perturbation
            shifted = shifted if threat.clip is None else shifted.clamp(*threat.clip)
        return shifted if threat.mask is None else torch.where(threat.mask, shifted, image)

    def label_at(self, values: Tensor) -> tuple[Any, Any]:
        """The label after the shift, on the image's grid, and on the network's."""
        if not self.shift.geometric:
            return self.problem.source_label, self.problem.label
        own = moved_label(self.shift, self.problem.source_label, values.detach(), self.grid)
        return own, self.problem.victim.bind(self.problem.source_image, own)[1]

    @torch.no_grad()
    def try_values(self, values: Tensor, *, clean: bool = False, listed: bool = False) -> tuple[Tensor, Tensor]:
        """Damage and loss of the image at some parameters ``(B, P)``, which are noted.

        Args:
            values: the parameters.
            clean: that they are those at which nothing happens.
            listed: whether they are among those that are all told of.
        """
        image = self.problem.image if clean else self.image_at(values)
        own, label = (self.problem.source_label, self.problem.label) if clean else self.label_at(values)
        judge = None if clean else self.attack.judge
        if judge is not None and listed:  # as deployed, which needs no second prediction by the twin
            damage = torch.tensor([self._judged(judge, image, own, values)]).to(self.loss)
            loss = damage.clone()
        else:
            prediction = self.problem.victim.predict(image)
            if clean:
                self.problem.victim.check_label(prediction, label)
            damage = self.problem.victim.damage(prediction, label).to(self.loss)
            loss = self.problem.victim.checked_loss(prediction, label).to(self.loss)
        self.note(values, image, damage, loss)
        if clean:
            self.clean = damage
        if listed:
            self.tried.append(values)
            self.tried_damage.append(damage)
        return damage, loss

    def _judged(self, judge: Judge, image: Tensor, label: Any, values: Tensor) -> float:
        if len(image) != 1:
            raise ValueError(f"judge takes one image at a time, got a batch of {len(image)}.")
        return float(judge(image, label, values[0]))

    @torch.no_grad()
    def note(self, values: Tensor, image: Tensor, damage: Tensor, loss: Tensor) -> None:
        """Take a candidate where it is worse than the worst so far."""
        self.losses.append(loss)
        self.sizes.append(perturbation_stats(image.detach(), self.problem.image))
        take = is_better(damage, loss, self.damage, self.loss, targeted=False)
        self.adversarial = where(take, image.detach(), self.adversarial)
        self.values = where(take, values.detach().to(self.values), self.values)
        self.damage, self.loss = torch.where(take, damage, self.damage), torch.where(take, loss, self.loss)

    def result(self) -> ShiftResult:
        """What was found."""
        image, tried = self.problem.image, self.values.new_zeros(0, *self.values.shape)
        return ShiftResult(
            adversarial=self.adversarial,
            perturbation=self.adversarial - image,
            loss_history=torch.stack(self.losses),
            cosine=image.new_zeros(0, len(image)),
            linf=torch.stack([largest for largest, _ in self.sizes]),
            gradients=self.gradients,
            loss=self.loss,
            damage=self.damage,
            clean_damage=self.clean,
            variance=torch.stack([variance for _, variance in self.sizes]),
            zero_gradient_steps=self.still,
            values=self.values,
            label=self.label_at(self.values)[0],
            tried=torch.stack(self.tried) if self.tried else tried,
            tried_damage=torch.stack(self.tried_damage) if self.tried else tried[..., 0],
        )
