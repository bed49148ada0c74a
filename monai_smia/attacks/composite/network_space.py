"""Attacks through preprocessing that has no gradient."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_smia.attacks.base import Attack, AttackResult
from monai_smia.threat import ThreatModel
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain


class OnNetworkGrid:
    """Attacks what the network sees and brings the perturbation back to the image.

    For victims whose preprocessing blocks the gradient. The perturbation, not the image, is mapped back (linear,
    divided by the intensity scale), projected into the threat model around the image, and the result predicted anew
    through the preprocessing: `loss` and `damage` are of the image returned. What resampling takes from the
    perturbation is lost, so that this is a weaker attack than one through a differentiable preprocessing.

    Args:
        attack: any attack, its radius, step and range in the image's unit.

    Example:
        >>> from monai.transforms import Compose, ScaleIntensityRange, Spacing
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> spline = Compose([Spacing((2.0, 2.0, 2.0), mode=3), ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
        >>> victim = SegmentationVictim(torch.nn.Conv3d(1, 2, 3, padding=1), preprocessing=spline)
        >>> image, label = MetaTensor(torch.rand(1, 1, 12, 12, 12) * 500), torch.ones(1, 1, 12, 12, 12)
        >>> result = OnNetworkGrid(PGD(eps=20.0, clip=(-1024.0, 3071.0), steps=2))(victim, image, label)
        >>> bool(result.perturbation.abs().max() <= 20.0 + 1e-3)
        True
    """

    def __init__(self, attack: Attack) -> None:
        self.attack = attack

    def __getattr__(self, name: str) -> Any:
        if name == "attack":  # copied before it is set
            raise AttributeError(name)
        return getattr(self.attack, name)

    def __call__(
        self,
        victim: Victim,
        image: Tensor,
        label: Any,
        *,
        mask: Tensor | None = None,
        eps: float | Tensor | None = None,
        seed: int | Sequence[int] | None = None,
    ) -> AttackResult:
        """As for `Attack`.

        Raises:
            ValueError: as for `Attack`, or if the victim holds no preprocessing or the norm is not L-inf, which alone
                means the same on both grids.
        """
        if self.attack.norm != "linf":
            raise ValueError(f"attack must have norm='linf' to be brought to another grid, got {self.attack.norm!r}.")
        if self.attack.loss is not None:
            victim = victim.with_loss(self.attack.loss)
        radius = self.attack.eps if eps is None else eps
        with victim.frozen(), torch.no_grad():
            bound, target, grid = victim.on_network_grid(image, label)
            plain = as_plain(image).detach()
            seen = grid(plain)
        threat = ThreatModel(radius, clip=self.attack.clip, mask=mask).on(plain)
        scale = abs(grid.intensity_scale)
        result = self._in_network_units(radius, scale, seen)(
            victim.without_preprocessing(), seen, target, seed=self.seed if seed is None else seed
        )
        with victim.frozen(), torch.no_grad():
            adversarial = threat.project(plain + grid.back(result.perturbation) / grid.intensity_scale, plain)
            prediction = bound.predict(adversarial)
            loss, damage = bound.checked_loss(prediction, target), bound.damage(prediction, target)
        perturbation = adversarial - plain
        if isinstance(image, MetaTensor):
            adversarial, perturbation = (convert_to_dst_type(t, image)[0] for t in (adversarial, perturbation))
        return replace(
            result,
            adversarial=adversarial,
            perturbation=perturbation,
            linf=result.linf / scale,
            loss=loss,
            damage=damage.to(loss),
        )

    def _in_network_units(self, radius: float | Tensor, scale: float, seen: Tensor) -> Attack:
        attack: Any = copy.copy(self.attack)
        attack.eps = radius * scale
        attack.clip = (float(seen.min()), float(seen.max()))
        attack.loss = None  # the victim has it
        if getattr(attack, "step_size", None) is not None:
            attack.step_size = attack.step_size * scale
        return cast(Attack, attack)
