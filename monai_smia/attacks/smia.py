"""Stabilized medical image attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from monai_smia.attacks.iterative import Iterate, IterativeAttack
from monai_smia.attacks.reading import OFFSETS, TARGETS
from monai_smia.degradations.smoothing import gaussian_taps, smooth
from monai_smia.victims.base import Victim


@dataclass(kw_only=True, eq=False)
class SMIA(IterativeAttack):
    """Stabilized medical image attack (Qi et al., ICLR 2021).

    Ascends the deviation loss minus `alpha` times a stabilization term (Eq. 4):
    ``L(f(x_t), y) - alpha * D(f(x_t), f(x + W * eta_t))``, where eta_t is the perturbation and W a normalized Gaussian
    over the spatial axes. The first step has no perturbation to smooth and ascends the deviation loss alone (Eq. 1),
    so T steps take 2 T - 1 gradients. ``alpha=0`` is `BIM`, bit for bit. A targeted attack flips the deviation only.

    The paper leaves open how the smoothed prediction enters; the released code differs from the paper. The defaults
    follow Eq. 3, with the gradient through both predictions. `target`, `offset` and `divergence` are the reading; a
    `monai_smia.attacks.Reading` names the combinations: ``SMIA(eps=.03, **Reading("hard", "step").arguments)``
    is that of the released code.

    Args:
        alpha: weight of the stabilization term, >= 0; the paper uses 1. The term is a sum over voxels or boxes, as the
            victims' own losses are: a loss that is their mean, such as MONAI's modules, wants alpha over their number.
        kernel_size: taps of W along each axis, odd.
        sigma: standard deviation of W in voxels, > 0.
        target: how the smoothed prediction is the target of D: ``"soft"`` with gradient through it, ``"detached"``
            without, ``"hard"`` as its decision (the released code). With ``"hard"`` and alpha 1 the gradient of a
            softmax cross entropy vanishes while the smoothed prediction is still right: such samples never move.
        offset: what the smoothed point x + W * eta depends on: ``"total"`` smooths the total perturbation,
            ``"constant"`` adds eta' = W * eta - eta to the iterate and holds it constant (Eq. 4 to the letter),
            ``"step"`` smooths the last unprojected step only (the released code).
        divergence: D instead of the victim's: ``"cross_entropy"``, ``"kl"`` (Eq. 5), ``"reverse_kl"``, or a callable
            ``(prediction, reference) -> (B,)``.
        one_batch: predict iterate and smoothed point in one batch of twice the size: more memory, less time where the
            network does not fill the machine; the same in exact arithmetic. For networks that return a tensor.

    The other arguments are those of `IterativeAttack` and `Attack`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> import torch
        >>> from monai_smia.victims import SegmentationVictim
        >>> image = torch.rand(1, 1, 16, 16)
        >>> victim = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1))
        >>> result = SMIA(eps=0.03, steps=10, step_size=0.01)(victim, image, (image > 0.5).long())
        >>> result.gradients.tolist(), bool(result.loss[0] > result.loss_history[0, 0])
        ([19], True)
    """

    alpha: float = 1.0
    kernel_size: int = 5
    sigma: float = 1.0
    target: str = "soft"
    offset: str = "total"
    divergence: str | Callable[[Any, Any], Tensor] | None = None
    one_batch: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha < float("inf"):
            raise ValueError(f"alpha must be a finite number >= 0, got {self.alpha}.")
        if self.kernel_size < 1 or self.kernel_size % 2 != 1:
            raise ValueError(f"kernel_size must be an odd number >= 1, got {self.kernel_size}.")
        if not 0 < self.sigma < float("inf"):
            raise ValueError(f"sigma must be a finite number > 0, got {self.sigma}.")
        for name, allowed in (("target", TARGETS), ("offset", OFFSETS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}.")
        self.kernel_size = int(self.kernel_size)

    def objective(self, victim: Victim, iterate: Iterate) -> Tensor:
        """Eq. 4; Eq. 1 at the first step and for alpha 0."""
        if self.gradients_at(iterate.step) == 1:
            return iterate.deviation
        smoothed = iterate.auxiliary_prediction
        if smoothed is None:
            smoothed = victim.predict(self._smoothed_point(iterate))
        return iterate.deviation - self.alpha * self._divergence(victim, iterate.prediction, smoothed)

    def gradients_at(self, step: int) -> int:
        """Two where the stabilization term is there."""
        return 2 if step > 0 and self.alpha > 0 else 1

    def smooth(self, perturbation: Tensor) -> Tensor:
        """W * eta: Gaussian smoothing of ``(B, C, *spatial)`` along every spatial axis, channel by channel."""
        return smooth(perturbation, gaussian_taps(self.kernel_size // 2, self.sigma))

    def auxiliary_point(self, iterate: Iterate) -> Tensor | None:
        """The smoothed point, with `one_batch`."""
        return self._smoothed_point(iterate) if self.one_batch and self.gradients_at(iterate.step) > 1 else None

    def _smoothed_point(self, iterate: Iterate) -> Tensor:
        if self.offset == "step" and iterate.previous is not None and iterate.previous_step is not None:
            return iterate.previous + self.smooth(iterate.previous_step)
        perturbation = iterate.adversarial - iterate.image
        if self.offset == "constant":
            constant = perturbation.detach()
            return iterate.adversarial + (self.smooth(constant) - constant)
        return iterate.image + self.smooth(perturbation)

    def _divergence(self, victim: Victim, prediction: Any, smoothed: Any) -> Tensor:
        if self.target == "hard":
            return victim.loss(prediction, victim.decide(smoothed))
        if self.target == "detached":
            smoothed = victim.detach(smoothed)
        if self.divergence is not None:
            victim = victim.with_divergence(self.divergence)
        return victim.divergence(prediction, smoothed)
