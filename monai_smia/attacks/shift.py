"""The worst that an acquisition shift can do within its box."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.measures import where
from monai_smia.attacks.shift_search import Found, ShiftSearch
from monai_smia.attacks.steps import steps
from monai_smia.threat import per_sample

OPTIMIZERS = ("sign", "adam")
SEARCHES = ("gradient", "random")
BETAS = (0.9, 0.99)  # of Adam


@dataclass(kw_only=True, eq=False)
class ShiftAttack(ShiftSearch):
    """The worst parameters of a shift: random draws from its box, and ascent from the worst of them.

    The draws are the shift on average; what is returned is never less bad than the worst of them, and there are at
    least as many of them as gradients are taken, so that the worst case beats chance in every row. Ascent is on the
    loss, in the unit cube of the box (factors by their logarithm), with steps that shrink to nothing; where the shift
    has no gradient, or the preprocessing blocks it, as many further points are drawn around the worst so far.

    Args:
        draws: uniform from the box.
        steps: of each ascent.
        starts: how many of the worst draws an ascent begins from.
        step_size: of the first step, a share of the box's sides, in (0, 1].
        optimizer: ``"sign"`` of the gradient, or ``"adam"``.
        method: ``"gradient"`` or ``"random"``; None for what the shift allows.

    The other arguments are those of `ShiftSearch`.

    Raises:
        ValueError: if an argument is outside its range, or fewer draws are asked for than gradients.

    Example:
        >>> from monai_smia.shifts import HUOffset
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> network[1].weight.data = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1]])
        >>> image = torch.full((1, 1, 2, 2), -30.0)  # decided as 0 where the sum is negative
        >>> attack = ShiftAttack(HUOffset(), clip=None, draws=10, steps=5)
        >>> result = attack(ClassificationVictim(network), image, torch.tensor([0]))
        >>> bool(result.values[0, 0] > 30), float(result.damage), HUOffset().describe(result.values[0], 2)
        (True, 1.0, 'offset 40 HU')
    """

    draws: int = 20
    steps: int = 10
    starts: int = 2
    step_size: float = 0.25
    optimizer: str = "sign"
    method: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("draws", 1), ("steps", 0), ("starts", 1)):
            self.require_count(name, least)
        if self.starts * self.steps > self.draws:
            raise ValueError(
                f"draws must be at least starts * steps = {self.starts * self.steps}, so that the worst case is "
                f"compared with as many draws as gradients, got {self.draws}."
            )
        if not 0 < self.step_size <= 1:
            raise ValueError(f"step_size must lie in (0, 1], got {self.step_size}.")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {OPTIMIZERS}, got {self.optimizer!r}.")
        if self.method not in (*SEARCHES, None):
            raise ValueError(f"method must be one of {SEARCHES}, or None, got {self.method!r}.")
        if self.method == "gradient" and not self.shift.differentiable:
            raise ValueError(f"method must be 'random' for {self.shift.title}, which has no gradient.")

    @property
    def takes_gradients(self) -> bool:
        """Whether parameters are found by ascent."""
        return self.shift.differentiable if self.method is None else self.method == "gradient"

    @property
    def planned_gradients(self) -> int:
        """Of all ascents."""
        return self.starts * self.steps if self.takes_gradients else 0

    @property
    def queries(self) -> int:
        """Predictions without a gradient: of the unshifted image, the draws, and the ends of ascents."""
        return 1 + self.draws + (self.starts if self.takes_gradients else self.starts * self.steps)

    @property
    def knowledge(self) -> str:
        """White box where gradients are taken."""
        return "white box" if self.takes_gradients else "black box"

    def search(self, found: Found) -> None:
        """Draw, and go up from the worst."""
        image, shift = found.problem.image, self.shift
        drawn = torch.stack([shift.draw(self.draws, found.dims, g).to(image) for g in found.problem.generators], 1)
        scores = []
        for number in steps(self.draws, name=f"{self.name}, draws", show=self.progress):
            damage, loss = found.try_values(drawn[number], listed=True)
            scores.append(torch.stack([damage, loss]).double())
        table = torch.stack(scores)  # (draws, 2, B)
        by_loss = table[:, 1].argsort(dim=0, descending=True, stable=True)
        ranked = by_loss.gather(0, table[:, 0].gather(0, by_loss).argsort(dim=0, descending=True, stable=True))
        going = self.takes_gradients
        if going and self.method is None and found.problem.victim.preprocessing is not None:
            going = _differentiable(found.problem)
        elif going:
            found.problem.victim.check_differentiable()
        for start in range(min(self.starts, self.draws) if self.steps else 0):
            begin = drawn.gather(0, ranked[start].view(1, -1, 1).expand(1, -1, drawn.shape[2]))[0]
            (self._ascend if going else self._wander)(found, shift.to_unit(begin, found.dims))

    def _ascend(self, found: Found, unit: Tensor) -> None:
        problem, shift = found.problem, self.shift
        radius = torch.zeros_like(problem.image[:, :1]) + per_sample(problem.threat.radius, problem.image)
        extra = torch.zeros_like(problem.image) if bool(radius.any()) else None
        state = [torch.zeros_like(unit), torch.zeros_like(unit)]
        for step in steps(self.steps, name=self.name, show=self.progress):
            place = unit.detach().requires_grad_()
            over = None if extra is None else extra.detach().requires_grad_()
            values = shift.from_unit(place, found.dims)
            image = found.image_at(values, over)
            label = found.label_at(values)[1]
            prediction = problem.victim.predict(image)
            loss = problem.victim.checked_loss(prediction, label)
            asked = [place] if over is None else [place, over]
            gradient, *rest = torch.autograd.grad(loss.sum(), asked, allow_unused=True)
            gradient = torch.zeros_like(unit) if gradient is None else gradient.nan_to_num(0.0)
            with torch.no_grad():
                found.note(values, image, problem.victim.damage(prediction, label).to(found.loss), loss.to(found.loss))
            found.gradients += 1
            found.still += (gradient == 0).all(1).long()
            unit = (unit + self._step(gradient, state, step)).clamp(0, 1)
            if extra is not None and rest[0] is not None:
                extra = (extra + radius * 2.5 / self.steps * rest[0].sign()).maximum(-radius).minimum(radius)
        with torch.no_grad():
            values = shift.from_unit(unit, found.dims)
            image, label = found.image_at(values, extra), found.label_at(values)[1]
            prediction = problem.victim.predict(image)
            damage, loss = problem.victim.damage(prediction, label), problem.victim.checked_loss(prediction, label)
            found.note(values, image, damage.to(found.loss), loss.to(found.loss))

    def _step(self, gradient: Tensor, state: list[Tensor], step: int) -> Tensor:
        """The change of the unit coordinates."""
        length = self.step_size * (1 - step / self.steps)
        if self.optimizer == "sign":
            return length * gradient.sign()
        for place, power in enumerate((1, 2)):
            state[place] = BETAS[place] * state[place] + (1 - BETAS[place]) * gradient**power
        first, second = (state[place] / (1 - BETAS[place] ** (step + 1)) for place in range(2))
        return length * first / (second.sqrt() + 1e-30)

    def _wander(self, found: Found, unit: Tensor) -> None:
        """Points around the worst so far, nearer and nearer."""
        damage = loss = unit.new_full((len(unit),), -torch.inf)
        for step in steps(self.steps, name=self.name, show=self.progress):
            drawn = torch.stack(
                [torch.randn(unit.shape[1], generator=g, dtype=torch.float64) for g in found.problem.generators]
            ).to(unit)
            tried = (unit + self.step_size * (1 - step / self.steps) * drawn).clamp(0, 1)
            new_damage, new_loss = found.try_values(self.shift.from_unit(tried, found.dims))
            better = (new_damage > damage) | ((new_damage == damage) & (new_loss > loss))
            unit = where(better, tried, unit)
            damage, loss = torch.where(better, new_damage, damage), torch.where(better, new_loss, loss)


def _differentiable(problem: AttackProblem) -> bool:
    try:
        problem.victim.check_differentiable()
    except ValueError:
        return False
    return True
