"""Attacks whose perturbation is smooth: a band of low frequencies, or a B-spline."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from typing_extensions import Self

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.composite.base import OF_PARTS, CompositeAttack
from monai_smia.attacks.cosine_transform import along_axes, cosine_matrix
from monai_smia.attacks.result import AttackResult, joined
from monai_smia.threat import TINY, ThreatModel
from monai_smia.victims.base import Victim
from monai_smia.victims.choice import PerSample

BASES = ("spline", "dct")


@dataclass(kw_only=True, eq=False)
class LowFrequency(CompositeAttack):
    """An attack whose perturbation is smooth: it holds no detail finer than `spacing`.

    The attack changes the coefficients of the perturbation, one for every `spacing` voxels along an axis, in a ball of
    the same radius, through the victim behind them. With ``basis="spline"`` they are those of a uniform cubic B-spline,
    whose functions are not negative and add up to 1, so that the perturbation keeps within the radius by itself. With
    ``"dct"`` they are the lowest frequencies of the cosine transform (Guo et al., UAI 2019; Sharma et al., IJCAI 2019),
    and a perturbation that overshoots is scaled back as a whole. What smoothing and resampling leave of such a
    perturbation is most of it; at equal radius it does less damage than one that is free.

    Histories of sizes are of the coefficients. The valid range cuts the image, not the perturbation; voxels off a mask
    stay. A `start` is taken no notice of.

    Args:
        attack: of L-inf, made of no other attacks.
        basis: ``"spline"`` or ``"dct"``.
        spacing: voxels between coefficients along every axis, >= 1.
        eps: radius; left out, that of the attack. So are `loss`, `seed` and `progress`.

    The other arguments are those of `CompositeAttack` and `Attack`.

    Raises:
        ValueError: if an argument is outside its range, or the attack is made of others.

    Example:
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, image = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1)), torch.rand(1, 1, 32, 32)
        >>> result = LowFrequency(PGD(eps=0.05, steps=3), spacing=8)(victim, image, (image > 0.5).long())
        >>> bool(result.perturbation.abs().max() <= 0.05 + 1e-6)
        True
    """

    attack: Attack = field(kw_only=False)
    basis: str = "spline"
    spacing: float = 8.0
    loss: str | PerSample | None = OF_PARTS
    seed: int | Sequence[int] = OF_PARTS
    progress: bool = OF_PARTS

    def __post_init__(self) -> None:
        for name in ("loss", "seed", "progress"):
            if getattr(self, name) is OF_PARTS:
                setattr(self, name, getattr(self.attack, name))
        super().__post_init__()
        if self.norm != "linf":
            raise ValueError(f"attack must have norm='linf', which the coefficients keep to, got {self.norm!r}.")
        if isinstance(self.attack, CompositeAttack):
            raise ValueError(
                f"attack must be made of no other attacks, got {self.attack.name}; put it around this one."
            )
        if self.basis not in BASES:
            raise ValueError(f"basis must be one of {BASES}, got {self.basis!r}.")
        if not 1 <= self.spacing < math.inf:
            raise ValueError(f"spacing must be a finite number of voxels >= 1, got {self.spacing}.")

    @property
    def name(self) -> str:
        """Class, attack and basis."""
        return f"{type(self).__name__}({self.attack.name}, {self.basis})"

    @property
    def parts(self) -> Sequence[Attack]:
        """The attack on the coefficients."""
        return (self.attack,)

    def with_parts(self, parts: Sequence[Attack]) -> Self:
        """Another attack on the coefficients."""
        (attack,) = parts
        return replace(self, attack=attack)

    def run(self, problem: AttackProblem) -> AttackResult:
        """Sample by sample: coefficients, then the perturbation that they stand for."""
        chosen = torch.eye(len(problem.image), dtype=torch.bool, device=problem.image.device)
        return joined([self._one(problem.subset(one)) for one in chosen])

    def _one(self, problem: AttackProblem) -> AttackResult:
        image, threat = problem.image, problem.threat
        make = {"spline": spline_matrix, "dct": band_matrix}[self.basis]
        matrices = [make(n, self.spacing, image) for n in image.shape[2:]]
        zero = image.new_zeros(*image.shape[:2], *[matrix.shape[1] for matrix in matrices])
        perturbed = _Perturbed(image, threat, matrices, problem.victim)
        inner = replace(
            problem,
            victim=perturbed.victim(),
            image=zero,
            threat=ThreatModel(threat.radius, clip=None).on(zero),
            source_image=zero,
            source_label=problem.label,
            start=None,
        )
        result = self.attack.run(inner.part(self.attack))
        with torch.no_grad():
            adversarial = threat.project(perturbed.image_at(result.adversarial), image)
            prediction = problem.victim.predict(adversarial)
            problem.victim.check_label(prediction, problem.label)
            loss = problem.victim.checked_loss(prediction, problem.label).to(image)
            damage = problem.victim.damage(prediction, problem.label).to(image)
        clean = torch.full_like(loss, torch.nan)
        found = {"adversarial": adversarial, "perturbation": adversarial - image, "loss": loss, "damage": damage}
        return replace(result, clean_damage=clean, **found)


class _Perturbed:
    """An image with the perturbation that coefficients stand for."""

    def __init__(self, image: Tensor, threat: ThreatModel, matrices: Sequence[Tensor], victim: Victim) -> None:
        self.image, self.threat, self.matrices, self.of = image, threat, matrices, victim

    def victim(self) -> Victim:
        """The victim of the image, to be asked about coefficients."""
        other = copy.copy(self.of)
        other.degradation = self
        if (
            type(self.of).network_input is not Victim.network_input
        ):  # which compares grids, and coefficients have another
            other.network_input = partial(Victim.network_input, other)  # type: ignore[method-assign]
        return other

    def __call__(self, coefficients: Tensor) -> Tensor:
        """What the victim is shown."""
        shown = self.image_at(coefficients)
        return shown if self.of.degradation is None else self.of.degradation(shown)

    def image_at(self, coefficients: Tensor) -> Tensor:
        """The perturbed image, within radius, range and mask."""
        perturbation = along_axes(coefficients, self.matrices)
        if self.threat.eps is not None:
            largest = perturbation.abs().amax(tuple(range(1, perturbation.ndim)), keepdim=True).clamp_min(TINY)
            perturbation = perturbation * (torch.as_tensor(self.threat.radius).to(largest) / largest).clamp_max(1)
        if self.threat.mask is not None:
            perturbation = perturbation * self.threat.mask
        perturbed = self.image + perturbation
        return perturbed if self.threat.clip is None else perturbed.clamp(*self.threat.clip)


def spline_matrix(size: int, spacing: float, like: Tensor) -> Tensor:
    """Values of uniform cubic B-splines at the centers of voxels ``(size, number)``; every row adds up to 1.

    Args:
        size: voxels of the axis.
        spacing: voxels between knots, at most.
        like: tensor whose type it gets.

    Example:
        >>> spline_matrix(1, 4.0, torch.ones(1))  # in the middle of its cell
        tensor([[0.0208, 0.4792, 0.4792, 0.0208]])
    """
    cells = max(math.ceil(size / spacing), 1)
    place = (torch.arange(size, dtype=torch.float64) + 0.5) / size * cells
    cell = place.long().clamp_max(cells - 1)
    t = place - cell
    four = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    matrix = torch.zeros(size, cells + 3, dtype=torch.float64)
    for number, weight in enumerate(four):
        matrix[torch.arange(size), cell + number] = weight / 6
    return matrix.to(like)


def band_matrix(size: int, spacing: float, like: Tensor) -> Tensor:
    """Interpolation by the lowest frequencies of the cosine transform ``(size, number)``; a constant stays one.

    Args:
        size: voxels of the axis.
        spacing: voxels between coefficients, at most.
        like: tensor whose type it gets.
    """
    kept = max(math.ceil(size / spacing), 1)
    double = torch.ones((), dtype=torch.float64, device=like.device)
    wide, narrow = cosine_matrix(size, double), cosine_matrix(kept, double)
    return (math.sqrt(size / kept) * wide[:kept].T @ narrow).to(like)
