"""Survival-aware SMIA."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field, replace

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.iterative import Iterate, IterativeAttack, State
from monai_smia.attacks.measures import over_mean
from monai_smia.attacks.result import AttackResult
from monai_smia.degradations import Identity, Resample, Smooth
from monai_smia.victims.base import Victim

CYCLE: tuple[Callable[[Tensor], Tensor], ...] = (
    Identity(),
    Smooth(1.0),
    Identity(),
    Resample(2.0),
    Identity(),
    Smooth(0.6),
)


@dataclass
class SurvivalState(State):
    """The step whose turn it is, and the latest gradient through every degradation, by its place in the cycle."""

    step: int = 0
    latest: dict[int, Tensor] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False)
class SurvivalSMIA(IterativeAttack):
    """Survival-aware SMIA: damage that outlives the usual degradations of an image.

    SMIA's stabilization term (Eq. 3) asks the prediction not to change under smoothing, and pays for it in direct
    damage. Here every step takes one gradient, of the deviation loss of the image as one degradation of `cycle` leaves
    it, in turn, and goes along the sum of the latest gradients of all degradations, each over its mean magnitude (a
    stochastic average gradient, Le Roux et al., 2012). A degradation that comes up more often is better known, but
    weighs the same.

    Iterates are compared by the mean damage over the degradations, which takes a forward pass for each of them; the
    default ``keep="last"`` does without, since the decaying step ends at a good point. The damage of the result is that
    of the image returned, as it is. In `loss_history` every step's loss is that of its own degradation, the last row's
    of the image as it is.

    Args:
        cycle: degradations ``(B, C, *spatial) -> same shape``, differentiable and hashable, such as those of
            `monai_smia.degradations`.
        identity_weight: weight of the gradient of the image as it is against 1 of every other degradation, >= 0: the
            more, the more damage is direct and the less survives.
        keep: as for `Attack`, by the mean over the cycle.
        direct: deprecated name of `identity_weight`.

    The other arguments are those of `IterativeAttack` and `Attack`; `stop_at` is None. Soft Jaccard is a stronger
    `loss` than cross entropy. `step_size` is the length of the first step, by default one and a half radii; it falls in
    a straight line to zero.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, image = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1)), torch.rand(1, 1, 16, 16)
        >>> result = SurvivalSMIA(eps=0.03, steps=6, loss="soft_jaccard")(victim, image, (image > 0.5).long())
        >>> result.gradients.tolist(), bool(result.perturbation.abs().max() <= 0.03 + 1e-6)
        ([6], True)
    """

    cycle: Sequence[Callable[[Tensor], Tensor]] = CYCLE
    identity_weight: float = 4.0
    keep: str = "last"
    direct: InitVar[float | None] = None

    def __post_init__(self, direct: float | None) -> None:
        if direct is not None:
            warnings.warn(
                "SurvivalSMIA(direct=) is deprecated and will be removed in 0.3: use identity_weight.",
                DeprecationWarning,
                stacklevel=3,
            )
            self.identity_weight = direct
        super().__post_init__()
        if not self.cycle or not all(callable(degradation) for degradation in self.cycle):
            raise ValueError(f"cycle must hold one degradation or more, each callable, got {self.cycle!r}.")
        if not 0 <= self.identity_weight < float("inf"):
            raise ValueError(f"identity_weight must be a finite number >= 0, got {self.identity_weight}.")
        self.require_fixed(stop_at=None)
        self.cycle = tuple(self.cycle)

    def run(self, problem: AttackProblem) -> AttackResult:
        """The ascent; iterates are compared by means over the cycle, the result is scored as it is."""
        result = super().run(problem)
        if not self.scores_iterates:
            return result
        with torch.no_grad():
            prediction = problem.victim.predict(result.adversarial)
            loss = problem.victim.checked_loss(prediction, problem.label).to(result.loss)
        damage = problem.victim.damage(prediction, problem.label).to(result.damage)
        return replace(result, loss=loss, damage=damage, clean_damage=torch.full_like(damage, torch.nan))

    def initial_state(self, problem: AttackProblem) -> SurvivalState:
        """No gradient yet."""
        return SurvivalState()

    def degradation_of(self, step: int) -> Callable[[Tensor], Tensor]:
        """The degradation whose turn it is; none at the end."""
        return self.cycle[step % len(self.cycle)] if step < self.steps else Identity()

    def augment(self, iterate: Iterate) -> Tensor:
        """The degraded iterate."""
        return self.degradation_of(iterate.step)(iterate.adversarial)

    def direction(self, gradient: Tensor, state: SurvivalState) -> Tensor:
        """The sum of the latest gradients of all degradations."""
        degradation = self.degradation_of(state.step)
        weight = self.identity_weight if degradation == Identity() else 1.0
        state.latest[self.cycle.index(degradation)] = weight * over_mean(gradient)
        state.step += 1
        return torch.stack(list(state.latest.values())).sum(0)

    @torch.no_grad()
    def score(self, victim: Victim, iterate: Iterate) -> tuple[Tensor, Tensor]:
        """Mean damage and loss over the degradations, every one predicted once."""
        known = {self.degradation_of(iterate.step): iterate.prediction}
        for degradation in self.cycle:
            if degradation not in known:
                known[degradation] = victim.predict(degradation(iterate.adversarial.detach()))
        damages = [victim.damage(known[degradation], iterate.label) for degradation in self.cycle]
        losses = [victim.loss(known[degradation], iterate.label) for degradation in self.cycle]
        return torch.stack(damages).mean(0), torch.stack(losses).mean(0)

    def default_step_size(self, eps: float | Tensor) -> float | Tensor:
        """Of the first step: one and a half radii."""
        return 1.5 * eps

    def step_length(self, step: int, eps: float | Tensor) -> float | Tensor:
        """A straight line from the first step's length to zero."""
        return super().step_length(step, eps) * (1 - step / self.steps)
