"""Survival-aware SMIA."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks.iterative import Iterate
from monai_smia.attacks.mifgsm import MIFGSM
from monai_smia.handling import Resample, Smooth, Untouched
from monai_smia.victims.base import Victim

CYCLE: tuple[Callable[[Tensor], Tensor], ...] = (
    Untouched(),
    Untouched(),
    Smooth(0.6),
    Smooth(1.0),
    Untouched(),
    Resample(2.0),
)


class SurvivalSMIA(MIFGSM):
    """Survival-aware SMIA: damage that outlives the usual handling of an image.

    SMIA's stabilization term (Eq. 3) asks the prediction not to change under smoothing, and pays for it in direct
    damage. Here every step ascends the deviation loss of the image as one handling of `cycle` leaves it, in turn, with
    momentum over the turns and a step that decays to zero: one gradient a step, nothing is traded inside a step.

    Iterates are compared by the mean damage over the handlings of the cycle, which takes a forward pass for each of
    them; the default ``keep="last"`` does without, since the decaying step ends at a good point. In `loss_history`
    every step's loss is that of its own handling, the last row's of the untouched image.

    Args:
        cycle: handlings ``(B, C, *spatial) -> same shape``, differentiable, such as those of `monai_smia.handling`.
        decay: weight of the past gradients, >= 0.
        loss: as for `Attack`; None is the victim's own. Soft Jaccard is stronger than cross entropy.
        keep: as for `Attack`, by the mean over the cycle.
        **options: as for `IterativeAttack` and `Attack`. `step_size` is the length of the first step, by default the
            whole radius; it decays along half a cosine.

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
        decay: float = 0.5,
        keep: str = "last",
        **options: Any,
    ) -> None:
        super().__init__(decay=decay, keep=keep, **options)
        if not cycle or not all(callable(handling) for handling in cycle):
            raise ValueError(f"cycle must hold one handling or more, each callable, got {cycle!r}.")
        self.cycle = tuple(cycle)

    def handling_of(self, step: int) -> Callable[[Tensor], Tensor]:
        """The handling whose turn it is; none at the end."""
        return self.cycle[step % len(self.cycle)] if step < self.steps else Untouched()

    def predict(self, victim: Victim, adversarial: Tensor, step: int) -> Any:
        """The prediction of the handled iterate."""
        return victim.predict(self.handling_of(step)(adversarial))

    @torch.no_grad()
    def score(self, victim: Victim, iterate: Iterate) -> tuple[Tensor, Tensor]:
        """Mean damage and loss over the cycle, every handling predicted once."""
        known = {self.handling_of(iterate.step): iterate.prediction}
        for handling in self.cycle:
            if handling not in known:
                known[handling] = victim.predict(handling(iterate.adversarial.detach()))
        damages = [victim.damage(known[handling], iterate.label) for handling in self.cycle]
        losses = [victim.loss(known[handling], iterate.label) for handling in self.cycle]
        return torch.stack(damages).mean(0), torch.stack(losses).mean(0)

    def default_step_size(self, eps: float | Tensor) -> float | Tensor:
        """Of the first step: the whole radius."""
        return eps

    def step_length(self, step: int, eps: float | Tensor) -> float | Tensor:
        """Half a cosine from the first step's length down."""
        return super().step_length(step, eps) * (0.5 + 0.5 * math.cos(math.pi * step / self.steps))
