"""Survival-aware SMIA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks.iterative import Iterate, IterativeAttack
from monai_smia.attacks.mifgsm import over_mean
from monai_smia.degradations import Resample, Smooth, Identity
from monai_smia.victims.base import Victim

CYCLE: tuple[Callable[[Tensor], Tensor], ...] = (
    Identity(),
    Smooth(1.0),
    Identity(),
    Resample(2.0),
    Identity(),
    Smooth(0.6),
)
LATEST = "latest gradient of"  # begins the name of a memory


class SurvivalSMIA(IterativeAttack):
    """Survival-aware SMIA: damage that outlives the usual degradation of an image.

    SMIA's stabilization term (Eq. 3) asks the prediction not to change under smoothing, and pays for it in direct
    damage. Here every step takes one gradient, of the deviation loss of the image as one degradation of `cycle` leaves it,
    in turn, and goes along the sum of the latest gradients of all degradations, each over its mean magnitude (a stochastic
    average gradient, Le Roux et al., 2012). A degradation that comes up more often is better known, but weighs the same.

    Iterates are compared by the mean damage over the degradations, which takes a forward pass for each of them; the
    default ``keep="last"`` does without, since the decaying step ends at a good point. In `loss_history` every step's
    loss is that of its own degradation, the last row's of the untouched image.

    Args:
        cycle: degradations ``(B, C, *spatial) -> same shape``, differentiable and hashable, such as those of
            `monai_smia.degradations`.
        direct: weight of the untouched image's gradient against 1 of every other degradation, >= 0: the more, the more
            damage is direct and the less survives.
        loss: as for `Attack`; None is the victim's own. Soft Jaccard is stronger than cross entropy.
        keep: as for `Attack`, by the mean over the cycle.
        **options: as for `IterativeAttack` and `Attack`. `step_size` is the length of the first step, by default one
            and a half radii; it falls in a straight line to zero.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import SurvivalSMIA
        >>> from monai_smia.victims import SegmentationVictim
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> image, label = torch.rand(1, 1, 16, 16), torch.randint(0, 2, (1, 1, 16, 16))
        >>> result = SurvivalSMIA(eps=0.03, steps=6, loss="soft_jaccard")(SegmentationVictim(network), image, label)
        >>> result.gradients.tolist(), bool(result.perturbation.abs().max() <= 0.03 + 1e-6)
        ([6], True)
    """

    def __init__(
        self,
        *,
        cycle: Sequence[Callable[[Tensor], Tensor]] = CYCLE,
        direct: float = 4.0,
        keep: str = "last",
        **options: Any,
    ) -> None:
        super().__init__(keep=keep, **options)
        if not cycle or not all(callable(degradation) for degradation in cycle):
            raise ValueError(f"cycle must hold one degradation or more, each callable, got {cycle!r}.")
        if not 0 <= direct < float("inf"):
            raise ValueError(f"direct must be a finite number >= 0, got {direct}.")
        self.cycle = tuple(cycle)
        self.direct = direct

    def degradation_of(self, step: int) -> Callable[[Tensor], Tensor]:
        """The degradation whose turn it is; none at the end."""
        return self.cycle[step % len(self.cycle)] if step < self.steps else Identity()

    def predict(self, victim: Victim, adversarial: Tensor, step: int) -> Any:
        """The prediction of the degraded iterate."""
        return victim.predict(self.degradation_of(step)(adversarial))

    def ascent(self, gradient: Tensor, iterate: Iterate) -> Tensor:
        """The sum of the latest gradients of all degradations."""
        degradation = self.degradation_of(iterate.step)
        weight = self.direct if degradation == Identity() else 1.0
        iterate.memory[f"{LATEST} {self.cycle.index(degradation)}"] = weight * over_mean(gradient)
        return torch.stack([g for name, g in iterate.memory.items() if name.startswith(LATEST)]).sum(0)

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
