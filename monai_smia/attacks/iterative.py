"""Projected ascent, the iteration that the gradient attacks share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from monai_smia.attacks.ascent import Ascent
from monai_smia.attacks.ascent import Iterate as Iterate
from monai_smia.attacks.base import Attack, AttackResult
from monai_smia.attacks.best import better_of
from monai_smia.attacks.records import stands_still
from monai_smia.threat import ThreatModel, per_sample
from monai_smia.victims.base import Victim


class IterativeAttack(Attack):
    """Projected ascent: ``x_t+1 = project(x_t + step_size * steepest(ascent(grad objective)))``.

    A subclass says its `objective` and, where it differs, its `ascent` direction, its `start`, its `step_length` or its
    whole `move`, what it `predict`s at a step, and how an iterate is `score`d.

    Args:
        steps: number of steps.
        step_size: length of a step in the image's unit; None for ``2.5 * eps / steps``, which follows a radius given
            for one call.
        random_start: start from a point drawn uniformly from the ball.
        restarts: runs from different starts; per sample the best one is returned.
        stop_at: damage in (0, 1] at which a sample is solved and leaves the batch (targeted: 1 - damage); None never.
        **options: as for `Attack`.

    Raises:
        ValueError: if an argument is outside its range.
    """

    def __init__(
        self,
        *,
        steps: int = 10,
        step_size: float | None = None,
        random_start: bool = False,
        restarts: int = 1,
        stop_at: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, count, least in (("steps", steps, 0), ("restarts", restarts, 1)):
            if count < least or int(count) != count:
                raise ValueError(f"{name} must be a whole number >= {least}, got {count}.")
        if step_size is not None and not 0 < step_size < float("inf"):
            raise ValueError(f"step_size must be a finite number > 0, or None, got {step_size}.")
        if restarts > 1 and not (random_start and self.keep == "best"):
            raise ValueError(f"restarts={restarts} needs random_start=True and keep='best'.")
        if stop_at is not None and not 0 < stop_at <= 1:
            raise ValueError(f"stop_at must lie in (0, 1], or be None, got {stop_at}.")
        self.steps = int(steps)
        self.step_size = step_size
        self.random_start = random_start
        self.restarts = int(restarts)
        self.stop_at = stop_at

    def objective(self, victim: Victim, iterate: Iterate) -> Tensor:
        """What is ascended, one value per sample ``(B,)``: the deviation loss (Eq. 1)."""
        return iterate.deviation

    def ascent(self, gradient: Tensor, iterate: Iterate) -> Tensor:
        """The ascent direction before the norm shapes it: the gradient."""
        return gradient

    def move(self, victim: Victim, iterate: Iterate, threat: ThreatModel) -> tuple[Tensor, int]:
        """The step before it is projected, and how many gradients per sample it took."""
        gradient = gradient_of(self.objective(victim, iterate).sum(), iterate.adversarial)
        if threat.mask is not None:  # before an ascent takes its mean, say
            gradient = gradient * threat.mask
        if iterate.step == 0:
            _warn_if_zero(gradient)
        size = self.step_length(iterate.step, threat.eps)  # type: ignore[arg-type]
        step = threat.steepest(self.ascent(gradient, iterate)).mul_(per_sample(size, gradient))
        return step, self.gradients_at(iterate.step)

    def prepare(self, image: Tensor, generators: Sequence[torch.Generator]) -> dict[str, Tensor]:
        """The memory that a run begins with, tensors ``(B, ...)``: what is drawn once, for example."""
        return {}

    def done(self, victim: Victim, iterate: Iterate) -> Tensor | None:
        """Samples that the algorithm has no more step for ``(B,)``; None for none of them."""
        return None

    def start(self, image: Tensor, threat: ThreatModel, generators: Sequence[torch.Generator]) -> Tensor:
        """The first iterate: the image, or a random point of the ball."""
        return threat.random_start(image, generators) if self.random_start else image

    def predict(self, victim: Victim, adversarial: Tensor, step: int) -> Any:
        """The prediction that step `step` (`steps` at the end) differentiates: of the iterate itself."""
        return victim.predict(adversarial)

    def second_point(self, adversarial: Tensor, image: Tensor, memory: dict[str, Tensor], step: int) -> Tensor | None:
        """A point ``(B, C, *spatial)`` to be predicted in one batch with the iterate; none."""
        return None

    def score(self, victim: Victim, iterate: Iterate) -> tuple[Tensor, Tensor]:
        """Damage and deviation loss ``(B,)`` by which iterates are compared."""
        return victim.damage(iterate.prediction, iterate.label), iterate.loss.detach()

    def step_length(self, step: int, eps: float | Tensor) -> float | Tensor:
        """Length of step `step`: always `step_size`, or the default for this radius."""
        return self.default_step_size(eps) if self.step_size is None else self.step_size

    def gradients_at(self, step: int) -> int:
        """How many gradients through the network step `step` takes."""
        return 1

    @property
    def planned_gradients(self) -> int:
        """Gradients of all steps and restarts."""
        return self.restarts * sum(self.gradients_at(step) for step in range(self.steps))

    def default_step_size(self, eps: float | Tensor) -> float | Tensor:
        """The step size where none was given."""
        return 2.5 * eps / max(self.steps, 1)

    def run(
        self,
        victim: Victim,
        image: Tensor,
        label: Any,
        threat: ThreatModel,
        generators: Sequence[torch.Generator],
    ) -> AttackResult:
        """`restarts` ascents; per sample the best."""
        forwards = self.restarts * (self.steps + (self.keep == "best"))
        with tqdm(total=forwards, desc=type(self).__name__, disable=not self.progress, delay=5, leave=False) as bar:
            best = self.ascend(victim, image, label, threat, generators, bar)
            for _ in range(self.restarts - 1):
                other = self.ascend(victim, image, label, threat, generators, bar)
                best = better_of(best, other, targeted=self.targeted)
        return best

    def ascend(
        self,
        victim: Victim,
        image: Tensor,
        label: Any,
        threat: ThreatModel,
        generators: Sequence[torch.Generator],
        bar: Any,
    ) -> AttackResult:
        """One run from one start; `bar` is told of every iterate."""
        return Ascent(self, victim, image, label, threat, generators).run(bar)


def gradient_of(objective: Tensor, adversarial: Tensor, *, again: bool = False) -> Tensor:
    """The gradient of a scalar with respect to the image.

    Args:
        objective: the scalar.
        adversarial: what it is differentiated by.
        again: keep the graph for another gradient.

    Raises:
        ValueError: if it does not depend on the image.
    """
    message = "the prediction does not depend on the image: its gradient is undefined (a constant network?)."
    if not objective.requires_grad:
        raise ValueError(message)
    (gradient,) = torch.autograd.grad(objective, adversarial, allow_unused=True, retain_graph=again)
    if gradient is None:
        raise ValueError(message)
    return gradient.contiguous()  # a network may hand it over with its channels last in memory


def _warn_if_zero(gradient: Tensor) -> None:
    still = stands_still(gradient).nonzero().flatten().tolist()
    if still:
        warnings.warn(
            f"the gradient of the deviation loss is exactly zero for samples {still} (saturated or constant network?): "
            "the attack cannot move them, which says nothing about robustness.",
            RuntimeWarning,
            stacklevel=2,
        )
