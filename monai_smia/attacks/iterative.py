"""Projected ascent, the iteration that the gradient attacks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from monai_smia.attacks.arguments import check_stop_at
from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.best import better_of
from monai_smia.attacks.gradient import gradient_of, warn_if_zero
from monai_smia.attacks.result import AttackResult
from monai_smia.attacks.steps import steps
from monai_smia.attacks.trajectory import Trajectory
from monai_smia.inferers.sliding_window import restrict_gradient
from monai_smia.threat import ThreatModel, per_sample
from monai_smia.victims.base import Victim

RENAMED = {"ascent": "direction", "prepare": "initial_state", "second_point": "auxiliary_point", "predict": "augment"}


@dataclass
class State:
    """The memory of an attack from step to step; a subclass adds fields, which are its own.

    Fields are tensors ``(B, ...)`` with an entry for every sample still attacked, dictionaries of such, or values
    without a batch.
    """

    def select(self, index: Tensor) -> Self:
        """The state of some samples, by a boolean mask ``(B,)``."""
        return replace(self, **{f.name: _selected(getattr(self, f.name), index) for f in fields(self)})


@dataclass
class Iterate:
    """One point of an ascent; batches hold the samples still attacked.

    Args:
        step: its number, from 0 on.
        image: clean batch ``(B, C, *spatial)``.
        adversarial: the point; requires a gradient but at the end.
        label: truth or target.
        generators: one per sample, for random draws.
        state: the attack's own memory.
        previous: the point before, None at the first.
        previous_step: the unprojected step from there.
        prediction: of the point, or of what `IterativeAttack.augment` made of it.
        auxiliary_prediction: of `IterativeAttack.auxiliary_point`, where there is one.
        augmented: whether `prediction` is of another point than `adversarial`.
        loss: deviation loss of the prediction ``(B,)``.
        deviation: what is ascended: the deviation loss, negated for a targeted attack.
        zero_gradient: which samples' objective has no gradient here ``(B,)``; None where their steps say it.
    """

    step: int
    image: Tensor
    adversarial: Tensor
    label: Any
    generators: Sequence[torch.Generator] = ()
    state: Any = None
    previous: Tensor | None = None
    previous_step: Tensor | None = None
    prediction: Any = None
    auxiliary_prediction: Any = None
    augmented: bool = False
    loss: Tensor = field(init=False)
    deviation: Tensor = field(init=False)
    zero_gradient: Tensor | None = None


@dataclass(kw_only=True, eq=False)
class IterativeAttack(Attack):
    """Projected ascent: ``x_t+1 = project(x_t + step_size * steepest(direction(grad objective)))``.

    A subclass says its `objective` and, where it differs, its `direction`, its `start`, its `step_length` or its whole
    `move`; how the iterate is shown to the network (`augment`); by what iterates are compared (`score`). What it
    remembers from step to step is a `State` of its own (`initial_state`).

    Args:
        steps: number of steps.
        step_size: length of a step in the image's unit; None for ``2.5 * eps / steps``, which follows a radius given
            for one call.
        random_start: start from a point drawn uniformly from the ball.
        restarts: runs from different starts; per sample the best one is returned.
        stop_at: damage in (0, 1] at which a sample is solved and leaves the batch (targeted: 1 - damage); None never.

    Raises:
        ValueError: if an argument is outside its range.
    """

    steps: int = 10
    step_size: float | None = None
    random_start: bool = False
    restarts: int = 1
    stop_at: float | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for old, new in RENAMED.items():
            if old in vars(cls):  # it would never be called, and nobody told
                raise TypeError(f"{cls.__name__}.{old} must be called {new}: the hook of that name is gone since 0.2.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.steps, self.restarts = self.require_count("steps", 0), self.require_count("restarts", 1)
        if self.step_size is not None and not 0 < self.step_size < float("inf"):
            raise ValueError(f"step_size must be a finite number > 0, or None, got {self.step_size}.")
        if self.restarts > 1 and not (self.random_start and self.keep == "best"):
            raise ValueError(f"restarts={self.restarts} needs random_start=True and keep='best'.")
        check_stop_at(self.stop_at)

    # ---- the algorithm

    def run(self, problem: AttackProblem) -> AttackResult:
        """`restarts` ascents; per sample the best."""
        best, afresh = self.ascend(problem, self.start(problem)), replace(problem, start=None)
        for _ in range(self.restarts - 1):
            best = better_of(best, self.ascend(afresh, self.start(afresh)), targeted=self.targeted)
        return best

    def ascend(self, problem: AttackProblem, start: Tensor) -> AttackResult:
        """One run from one start."""
        found = Trajectory(problem.image, start, targeted=self.targeted)
        state, adversarial = self.initial_state(problem), start
        previous: Tensor | None = None
        previous_step: Tensor | None = None
        found.add_size(adversarial, problem.image)
        rows = self.steps + self.scores_iterates
        for step in steps(rows, name=self.name, show=self.progress):
            final = step == self.steps
            point = adversarial.detach().requires_grad_(not final)
            label, generators = problem.label, problem.generators
            iterate = Iterate(step, problem.image, point, label, generators, state, previous, previous_step)
            self._evaluate(problem, iterate, final)
            found.add_loss(iterate.loss)
            going = self._compare(problem.victim, iterate, found, clean=step == 0 and start is problem.image)
            if final or not (going is None or bool(going.any())):
                break
            move, gradients = self.move(problem.victim, iterate, problem.threat)
            found.add_step(move, previous_step, gradients, going, iterate.zero_gradient)
            previous, previous_step = adversarial, move
            adversarial = problem.threat.project(adversarial + move, problem.image)
            if going is not None:
                found.drop(going)
                problem, state = problem.subset(going), state.select(going)
                adversarial, previous, previous_step = adversarial[going], previous[going], move[going]
            found.add_size(adversarial, problem.image)
        if self.keep == "last":
            found.return_as_is(adversarial)
        return found.result(steps=self.steps, losses=rows)

    @property
    def scores_iterates(self) -> bool:
        """Whether every iterate is scored, the last one by a forward pass of its own."""
        return self.keep == "best" or self.stop_at is not None

    def _evaluate(self, problem: AttackProblem, iterate: Iterate, final: bool) -> None:
        """Predict the iterate, with its graph but at the end, and take its deviation loss."""
        victim = problem.victim
        if problem.threat.mask is not None:
            restrict_gradient(iterate.adversarial, problem.threat.mask)
        with torch.set_grad_enabled(not final):
            auxiliary = None if final else self.auxiliary_point(iterate)
            if auxiliary is None:
                shown = iterate.adversarial if final else self.augment(iterate)
                iterate.augmented = shown is not iterate.adversarial
                iterate.prediction = victim.predict(shown)
            else:
                iterate.prediction, iterate.auxiliary_prediction = victim.predict_both(iterate.adversarial, auxiliary)
            if iterate.step == 0:
                victim.check_label(iterate.prediction, iterate.label)
            iterate.loss = victim.checked_loss(iterate.prediction, iterate.label)
        iterate.deviation = -iterate.loss if self.targeted else iterate.loss

    def _compare(self, victim: Victim, iterate: Iterate, found: Trajectory, *, clean: bool) -> Tensor | None:
        """Keep what is better than before; True for the samples to go on with, None for all of them."""
        ended = self.done(victim, iterate)
        if not self.scores_iterates:
            damage = loss = torch.full_like(iterate.loss.detach(), torch.nan)
        else:
            damage, loss = self.score(victim, iterate)
            if clean:
                found.note_clean(damage)
        if self.stop_at is not None:
            solved = (1 - damage if self.targeted else damage).to(iterate.image) >= self.stop_at
            ended = solved if ended is None else ended | solved
        if self.keep == "best":
            found.take_better(iterate.adversarial, damage, loss)
        elif iterate.step == self.steps:
            found.take(iterate.adversarial, damage, loss, torch.ones_like(damage, dtype=torch.bool))
        elif ended is not None:
            found.take(iterate.adversarial, damage, loss, ended)
        return None if ended is None or not bool(ended.any()) else ~ended

    # ---- what a subclass may say otherwise

    def start(self, problem: AttackProblem) -> Tensor:
        """The first iterate: that of the problem, or a random point of the ball where it has none."""
        if self.random_start and problem.start is None:
            return problem.threat.random_start(problem.image, problem.generators)
        return problem.beginning

    def initial_state(self, problem: AttackProblem) -> State:
        """The memory that a run begins with."""
        return State()

    def augment(self, iterate: Iterate) -> Tensor:
        """The batch that the network is shown for this iterate, differentiably: the iterate itself.

        An attack that changes it (a random transform, drawn from ``iterate.generators``, or a degradation) ascends the
        loss of what is shown, and its iterates are compared by predictions of their own.
        """
        return iterate.adversarial

    def auxiliary_point(self, iterate: Iterate) -> Tensor | None:
        """A point ``(B, C, *spatial)`` to be predicted in one batch with the iterate; none."""
        return None

    def objective(self, victim: Victim, iterate: Iterate) -> Tensor:
        """The function that is ascended, one value per sample ``(B,)``: the deviation loss (Eq. 1)."""
        return iterate.deviation

    def direction(self, gradient: Tensor, state: Any) -> Tensor:
        """The ascent direction before the norm shapes it: the gradient."""
        return gradient

    def move(self, victim: Victim, iterate: Iterate, threat: ThreatModel) -> tuple[Tensor, int]:
        """The step before it is projected, and how many gradients per sample it took."""
        gradient = gradient_of(self.objective(victim, iterate).sum(), iterate.adversarial)
        if threat.mask is not None:  # before a direction takes its mean, say
            gradient = gradient * threat.mask
        if iterate.step == 0:
            warn_if_zero(gradient)
        size = self.step_length(iterate.step, threat.radius)
        step = threat.steepest(self.direction(gradient, iterate.state)).mul_(per_sample(size, gradient))
        return step, self.gradients_at(iterate.step)

    def step_length(self, step: int, eps: float | Tensor) -> float | Tensor:
        """Length of step `step`: always `step_size`, or the default for this radius."""
        return self.default_step_size(eps) if self.step_size is None else self.step_size

    def default_step_size(self, eps: float | Tensor) -> float | Tensor:
        """The step size where none was given."""
        return 2.5 * eps / max(self.steps, 1)

    def gradients_at(self, step: int) -> int:
        """How many gradients through the network step `step` takes."""
        return 1

    def score(self, victim: Victim, iterate: Iterate) -> tuple[Tensor, Tensor]:
        """Damage and deviation loss ``(B,)`` by which iterates are compared."""
        prediction, loss = iterate.prediction, iterate.loss
        if iterate.augmented:
            with torch.no_grad():
                prediction = victim.predict(iterate.adversarial.detach())
                loss = victim.checked_loss(prediction, iterate.label)
        return victim.damage(prediction, iterate.label), loss.detach()

    def done(self, victim: Victim, iterate: Iterate) -> Tensor | None:
        """Samples that the algorithm has no more step for ``(B,)``; None for none of them."""
        return None

    # ---- what others ask

    @property
    def planned_gradients(self) -> int:
        """Gradients of all steps and restarts."""
        return self.restarts * sum(self.gradients_at(step) for step in range(self.steps))

    def scaled(self, factor: float) -> Self:
        """This attack with its step size times factor."""
        return self if self.step_size is None else replace(self, step_size=self.step_size * factor)


def _selected(value: Any, index: Tensor) -> Any:
    if isinstance(value, dict):
        return {key: _selected(entry, index) for key, entry in value.items()}
    return value[index] if isinstance(value, Tensor) else value
