"""Attacks through preprocessing that has no gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from typing_extensions import Self

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.composite.base import OF_PARTS, CompositeAttack
from monai_smia.attacks.result import AttackResult
from monai_smia.threat import ThreatModel
from monai_smia.victims.choice import PerSample


@dataclass(kw_only=True, eq=False)
class NetworkSpaceAttack(CompositeAttack):
    """Attacks what the network sees and brings the perturbation back to the image.

    For victims whose preprocessing blocks the gradient. The perturbation, not the image, is mapped back (linear,
    divided by the intensity scale), projected into the threat model around the image, and the result predicted anew
    through the preprocessing: `loss` and `damage` are of the image returned, histories of the network's grid. What
    resampling takes from the perturbation is lost, so that this is a weaker attack than one through a differentiable
    preprocessing.

    Args:
        attack: any attack, its radius, step and range in the image's unit; its norm is L-inf, which alone means the
            same on both grids.
        eps: radius; left out, that of the attack. So are `loss`, `seed` and `progress`.

    The other arguments are those of `CompositeAttack` and `Attack`.

    Raises:
        ValueError: if the norm is another; in use, if the victim holds no preprocessing.

    Example:
        >>> from monai.data import MetaTensor
        >>> from monai.transforms import Compose, ScaleIntensityRange, Spacing
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> spline = Compose([Spacing((2.0, 2.0, 2.0), mode=3), ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
        >>> victim = SegmentationVictim(torch.nn.Conv3d(1, 2, 3, padding=1), preprocessing=spline)
        >>> image, label = MetaTensor(torch.rand(1, 1, 12, 12, 12) * 500), torch.ones(1, 1, 12, 12, 12)
        >>> result = NetworkSpaceAttack(PGD(eps=20.0, clip=(-1024.0, 3071.0), steps=2))(victim, image, label)
        >>> bool(result.perturbation.abs().max() <= 20.0 + 1e-3)
        True
    """

    attack: Attack = field(kw_only=False)
    loss: str | PerSample | None = OF_PARTS
    seed: int | Sequence[int] = OF_PARTS
    progress: bool = OF_PARTS

    def __post_init__(self) -> None:
        for name in ("loss", "seed", "progress"):
            if getattr(self, name) is OF_PARTS:
                setattr(self, name, getattr(self.attack, name))
        super().__post_init__()
        if self.norm != "linf":
            raise ValueError(f"attack must have norm='linf' to be brought to another grid, got {self.norm!r}.")

    @property
    def parts(self) -> Sequence[Attack]:
        """The attack on what the network sees."""
        return (self.attack,)

    def with_parts(self, parts: Sequence[Attack]) -> Self:
        """Another attack in network space."""
        (attack,) = parts
        return replace(self, attack=attack)

    def run(self, problem: AttackProblem) -> AttackResult:
        """The attack in the network's units and on its grid, then the perturbation on the image's."""
        victim, image, threat, label = problem.victim, problem.image, problem.threat, problem.label
        grid = victim.frozen_preprocessing
        if grid is None:
            raise ValueError("victim must hold a preprocessing; without one the image is what the network sees.")
        scale = abs(grid.intensity_scale)
        with torch.no_grad():
            seen = grid(image)
            clip = _range(grid, image, seen, threat.clip)
            start = None if problem.start is None else grid(problem.beginning) - seen
        inner = replace(
            problem,
            victim=victim.without_preprocessing(),
            image=seen,
            threat=ThreatModel(threat.radius * scale, clip=clip).on(seen),
            source_image=seen,
            source_label=label,
            start=start,
        )
        attack = self.attack.scaled(scale)
        result = attack.run(inner.part(attack))
        with torch.no_grad():
            adversarial = threat.project(image + grid.back(result.perturbation) / grid.intensity_scale, image)
            prediction = victim.predict(adversarial)
            victim.check_label(prediction, label)
            loss = victim.checked_loss(prediction, label)
        return replace(
            result,
            adversarial=adversarial,
            perturbation=adversarial - image,
            linf=result.linf / scale,
            variance=result.variance / scale**2,
            loss=loss,
            damage=victim.damage(prediction, label).to(loss),
            clean_damage=torch.full_like(loss, torch.nan),
        )


def _range(
    grid: Callable[[Tensor], Tensor], image: Tensor, seen: Tensor, clip: tuple[float, float] | None
) -> tuple[float, float] | None:
    """The values that the network may see of any valid image: those of the darkest, the brightest and this one."""
    if clip is None:
        return None
    values = torch.cat([grid(torch.full_like(image, bound)).flatten() for bound in clip] + [seen.flatten()])
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else None
