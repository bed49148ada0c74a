"""Auto-PGD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.gradient import gradient_of
from monai_smia.attacks.iterative import Iterate, State
from monai_smia.attacks.measures import is_zero, where
from monai_smia.attacks.pgd import PGD
from monai_smia.attacks.result import AttackResult
from monai_smia.threat import ThreatModel, per_sample
from monai_smia.victims.base import PerSample, Victim

SEA_SCHEDULE = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))  # the Segmentation Ensemble Attack's (Croce et al., 2024)
Phase = tuple[Any, ...]  # radius over eps, share of the steps and, where it has one, its own loss
MOMENTUM, RISING = 0.75, 0.75  # weight of the step against the last move; share of steps that should rise


@dataclass
class APGDState(State):
    """Step size, best point and counts of every sample.

    Args:
        size: step size ``(B,)``, at the last checkpoint `size_then`.
        value: objective of the point before.
        rises: steps since the last checkpoint that raised the objective.
        best: highest objective so far, at the last checkpoint `best_then`.
        best_point, best_gradient: where it was, and the gradient there ``(B, C, *spatial)``.
        point: from which the last step was taken.
    """

    size: Tensor
    size_then: Tensor
    value: Tensor
    rises: Tensor
    best: Tensor
    best_then: Tensor
    best_point: Tensor
    best_gradient: Tensor
    point: Tensor

    def add(self, point: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Note an iterate."""
        self.rises = self.rises + (value > self.value)
        better = value > self.best
        self.best = torch.where(better, value, self.best)
        self.best_point = where(better, point, self.best_point)
        self.best_gradient = where(better, gradient, self.best_gradient)
        self.value = value

    def checkpoint(self, steps: int) -> Tensor:
        """Samples that halve their step size after so many steps ``(B,)``."""
        seldom = self.rises < RISING * steps
        stuck = (self.size == self.size_then) & (self.best <= self.best_then)
        halve = seldom | stuck
        self.size_then, self.best_then = self.size, self.best
        self.rises = torch.zeros_like(self.rises)
        self.size = torch.where(halve, self.size / 2, self.size)
        return halve


@dataclass(kw_only=True, eq=False)
class APGD(PGD):
    """Auto-PGD (Croce & Hein, ICML 2020): PGD that finds its own step size.

    Steps of ``2 * eps`` with momentum; at checkpoints that come closer and closer, a sample whose objective rose in
    fewer than three quarters of the steps, or not above its best, halves its step and goes on from its best point.

    With `schedule` it runs through larger balls first, each start being the last phase's result projected, as the
    Segmentation Ensemble Attack does; only iterates of the last phase, which obey the threat model, are returned. A
    phase may ascend a loss of its own, such as one that is smooth far from the goal before one that is true near to it.

    A loss that falls as voxels are won, such as a masked cross entropy, halves the step and leads back just where the
    attack succeeds: `steer_by` lets what counts decide on best points and step sizes, and the loss give the gradient.

    Args:
        schedule: phases ``(radius / eps, share of the steps)``; the last radius is 1. `SEA_SCHEDULE` for segmentation.
            A third item is the loss that the phase ascends, and compares its points by; results and histories are of
            `loss` all the same.
        steer_by: what points are compared by: ``"damage"``, or a loss as for `loss`; None for what is ascended.

    The other arguments are those of `PGD`; `step_size` is that of the start.

    Raises:
        ValueError: if the schedule does not end at 1 or its shares do not sum to 1; in use, if the victim does not know
            a loss of a phase, or the one to steer by.

    Example:
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, image = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1)), torch.rand(1, 1, 16, 16)
        >>> attack = APGD(eps=0.03, steps=10, loss="masked_cross_entropy", schedule=SEA_SCHEDULE)
        >>> result = attack(victim, image, (image > 0.5).long())
        >>> result.gradients.tolist(), bool(result.perturbation.abs().max() <= 0.03 + 1e-6)
        ([10], True)
    """

    schedule: Sequence[Phase] = ((1.0, 1.0),)
    steer_by: str | PerSample | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.schedule = _checked(self.schedule)
        self._ascended: str | PerSample | None = None  # the own loss of a phase

    def default_step_size(self, eps: float | Tensor) -> float | Tensor:
        """Across the whole ball."""
        return 2 * eps

    def start(self, problem: AttackProblem) -> Tensor:
        """As PGD, in the first phase's ball."""
        return super().start(_in_ball(problem, self.schedule[0][0]))

    def ascend(self, problem: AttackProblem, start: Tensor) -> AttackResult:
        """The phases of the schedule, one after the other."""
        ends = [round(self.steps * share) for share in accumulate(share for _, share, *_ in self.schedule)]
        results: list[AttackResult] = []
        for (factor, _, *loss), begin, end in zip(self.schedule, [0, *ends], ends, strict=False):
            stop_at = self.stop_at if factor == 1 else None
            phase = replace(self, steps=end - begin, schedule=((1.0, 1.0),), stop_at=stop_at)
            if loss:
                phase._ascended, phase.steer_by = loss[0], None
            ball = _in_ball(problem, factor)
            start = ball.threat.project(results[-1].adversarial, problem.image) if results else start
            results.append(super(APGD, phase).ascend(ball, start))
        return _joined(results)

    def initial_state(self, problem: AttackProblem) -> APGDState:
        """The first step size, and nothing known."""
        point = problem.image
        count = len(point)
        length = torch.as_tensor(self.step_length(0, problem.threat.radius), dtype=point.dtype, device=point.device)
        size = length.expand(count).clone()
        worst = point.new_full((count,), -torch.inf)
        none = torch.zeros_like(point)
        return APGDState(size, size, -worst, torch.zeros(count, device=point.device), worst, worst, point, none, point)

    def objective(self, victim: Victim, iterate: Iterate) -> Tensor:
        """The deviation loss, or the loss of the phase."""
        if self._ascended is None:
            return super().objective(victim, iterate)
        value = victim.with_loss(self._ascended).checked_loss(iterate.prediction, iterate.label)
        return -value if self.targeted else value

    def move(self, victim: Victim, iterate: Iterate, threat: ThreatModel) -> tuple[Tensor, int]:
        """A step with momentum from the iterate, or from the best one with half the step size."""
        objective = self.objective(victim, iterate)
        gradient = gradient_of(objective.sum(), iterate.adversarial)
        iterate.zero_gradient = is_zero(gradient)  # a step may be zero in a corner of the ball
        state: APGDState = iterate.state
        step, point, value = iterate.step, iterate.adversarial.detach(), self._steered(victim, iterate, objective)
        state.add(point, value, gradient)
        if step == 0:
            state.best_then = value
        elif step in self._checkpoints():
            halve = state.checkpoint(step - self._checkpoints()[step])
            point, gradient = where(halve, state.best_point, point), where(halve, state.best_gradient, gradient)
        towards = per_sample(state.size, gradient) * threat.steepest(gradient)
        after = threat.project(point + towards, iterate.image)
        if step > 0:
            after = point + MOMENTUM * (after - point) + (1 - MOMENTUM) * (point - state.point)
            after = threat.project(after, iterate.image)
        state.point = point
        return after - iterate.adversarial.detach(), 1

    @torch.no_grad()
    def _steered(self, victim: Victim, iterate: Iterate, objective: Tensor) -> Tensor:
        """What points are compared by, more is better ``(B,)``."""
        if self.steer_by is None:
            return objective.detach()
        if self.steer_by == "damage":
            value = victim.damage(iterate.prediction, iterate.label).to(iterate.image)
        else:
            value = victim.with_loss(self.steer_by).checked_loss(iterate.prediction, iterate.label)
        return -value if self.targeted else value

    def _checkpoints(self) -> dict[int, int]:
        """Steps at which the step size is looked at, each with the one before."""
        marks, last, width = {}, 0, max(int(0.22 * self.steps), 1)
        while last + width < self.steps:
            marks[last + width] = last
            last, width = last + width, max(width - max(int(0.03 * self.steps), 1), int(0.06 * self.steps), 1)
        return marks


def _checked(schedule: Sequence[Phase]) -> tuple[Phase, ...]:
    try:
        phases = tuple((float(radius), float(share), *loss) for radius, share, *loss in schedule)
        radii, shares, losses = [p[0] for p in phases], [p[1] for p in phases], [p[2:] for p in phases]
        named = all(not own or (len(own) == 1 and (isinstance(own[0], str) or callable(own[0]))) for own in losses)
        if named and radii[-1] == 1 and min(radii) >= 1 and min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-6:
            return phases
    except (TypeError, ValueError, IndexError):  # no phases, or none at all
        pass
    raise ValueError(
        "schedule must have radii >= 1 that end at 1, shares that sum to 1 and, where a phase has a loss of its own, "
        f"that loss behind them, got {schedule!r}."
    )


def _in_ball(problem: AttackProblem, factor: float) -> AttackProblem:
    return replace(problem, threat=replace(problem.threat, eps=problem.threat.radius * factor))


def _joined(results: Sequence[AttackResult]) -> AttackResult:
    """The last phase's result with the histories of all."""
    last = results[-1]
    if len(results) == 1:
        return last
    earlier, gap = results[:-1], last.loss[None] * torch.nan
    cosines = [part for r in results if len(r.linf) > 1 for part in (gap, r.cosine)][1:]
    return replace(
        last,
        loss_history=torch.cat([*(r.loss_history[: len(r.linf) - 1] for r in earlier), last.loss_history]),
        linf=torch.cat([*(r.linf[:-1] for r in earlier), last.linf]),
        variance=torch.cat([*(r.variance[:-1] for r in earlier), last.variance]),
        zero_gradient_steps=torch.stack([r.zero_gradient_steps for r in results]).sum(0),
        cosine=torch.cat([gap[:0], *cosines]),
        gradients=torch.stack([r.gradients for r in results]).sum(0),
    )
