"""Randomized smoothing, of pixels or of a shift's few parameters.

What is certified is the *smoothed* decision, that which most draws around a point give, and not the network's own. Of
pixels it is the L2 ball (Cohen et al., ICML 2019), which in a volume is empty in L-inf; of the parameters of an
acquisition shift the smoothed decision as a function of the parameters is constant within the range (Alfarra et al.,
DeformRS, AAAI 2022): draws are images of the clean one, taken with parameters around those that it is asked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from scipy.stats import beta, binom, norm
from torch import Tensor

from monai_smia.shifts import Shift
from monai_smia.shifts.grid import plain_of
from monai_smia.victims.base import Victim

Draw = Callable[[Tensor, int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Certificate:
    """Of one decision.

    Args:
        decision: the smoothed class; None where the draws do not say it with confidence.
        radius: distance within which it stays, in standard deviations of the draws; 0 without a decision.
        p_lower: lower bound of the share of draws that decide so.
        reach: the radius in the unit of every parameter, or of a pixel: along one of them alone.
        draws: that it is made of.
    """

    decision: int | None
    radius: float
    p_lower: float
    reach: tuple[float, ...]
    draws: int


@dataclass(frozen=True)
class SegmentationCertificate:
    """Of every voxel.

    Args:
        decision: smoothed classes ``(*spatial)``, -1 where it abstains.
        radius: within which all of them stay together, in standard deviations.
        certified: share of voxels that are decided.
        reach: the radius in the unit of every parameter, or of a pixel.
        draws: that it is made of.
    """

    decision: Tensor
    radius: float
    certified: float
    reach: tuple[float, ...]
    draws: int


def lower_bound(count: int, draws: int, alpha: float) -> float:
    """One-sided lower bound of a share, of confidence 1 - alpha (Clopper & Pearson).

    Example:
        >>> round(lower_bound(100, 100, 0.05), 4)  # .05 ** (1 / 100)
        0.9705
    """
    return 0.0 if count == 0 else float(beta.ppf(alpha, count, draws - count + 1))


def certify_class(
    victim: Victim,
    image: Tensor,
    sigma: float | Sequence[float],
    *,
    shift: Shift | None = None,
    at: Sequence[float] | None = None,
    clip: tuple[float, float] | None = None,
    draws: int = 1000,
    selection: int = 100,
    alpha: float = 0.001,
    batch: int = 16,
    seed: int = 0,
) -> Certificate:
    """The smoothed class of an image, and how far it stays.

    Args:
        victim: a classification.
        image: ``(1, C, *spatial)``; a MetaTensor where the shift needs millimeters.
        sigma: standard deviation of the draws: of pixels in the image's unit, or of every parameter in its own.
        shift: whose parameters are drawn; None for pixels.
        at: parameters that it is asked at; None for those at which nothing happens.
        clip: the range that shifted images are cut to, as a file does; None for no limit.
        draws: of the certificate.
        selection: further draws that choose the class.
        alpha: probability that the certificate is wrong.
        batch: images predicted together.
        seed: of the draws.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> from monai_smia.shifts import HUOffset
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> network[1].weight.data = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1]])
        >>> image = torch.full((1, 1, 2, 2), 30.0)  # decided as 1 down to an offset of -30 HU
        >>> found = certify_class(ClassificationVictim(network), image, 20.0, shift=HUOffset())
        >>> found.decision, bool(24 < found.reach[0] < 30)
        (1, True)
    """
    _check(draws=draws, selection=selection, batch=batch, alpha=alpha)
    sampler, sigmas = _sampler(image, sigma, shift, at, clip)
    first = torch.cat(list(_decisions(victim, image, sampler, selection, batch, seed)))
    chosen = int(first.flatten().bincount().argmax())
    later = torch.cat(list(_decisions(victim, image, sampler, draws, batch, seed + 1)))
    p_lower = lower_bound(int((later == chosen).sum()), draws, alpha)
    if p_lower <= 0.5:
        return Certificate(None, 0.0, p_lower, (0.0,) * len(sigmas), draws)
    radius = float(norm.ppf(p_lower))
    return Certificate(chosen, radius, p_lower, tuple(radius * size for size in sigmas), draws)


def certify_segmentation(
    victim: Victim,
    image: Tensor,
    sigma: float | Sequence[float],
    *,
    shift: Shift | None = None,
    at: Sequence[float] | None = None,
    clip: tuple[float, float] | None = None,
    threshold: float = 0.75,
    draws: int = 100,
    selection: int = 10,
    alpha: float = 0.001,
    batch: int = 1,
    seed: int = 0,
) -> SegmentationCertificate:
    """SegCertify (Fischer et al., ICML 2021): every voxel tested, with Holm's correction, those that fail abstain.

    A shift must not move anatomy: voxels of different draws would not be the same.

    Args:
        victim: a segmentation with ``softmax``.
        threshold: share of draws that a voxel must exceed, in [.5, 1); the radius is its normal quantile.
        image, sigma, shift, at, clip, draws, selection, alpha, batch, seed: as for `certify_class`.

    Raises:
        ValueError: if an argument is outside its range, or the shift moves anatomy.
    """
    _check(draws=draws, selection=selection, batch=batch, alpha=alpha)
    if not 0.5 <= threshold < 1:
        raise ValueError(f"threshold must lie in [0.5, 1), got {threshold}.")
    if shift is not None and shift.geometric:
        raise ValueError(f"shift must leave anatomy where it is, got {shift.title}, which moves it.")
    sampler, sigmas = _sampler(image, sigma, shift, at, clip)
    first = torch.cat(list(_decisions(victim, image, sampler, selection, batch, seed)))
    chosen = first[:, 0].mode(0).values
    count = torch.zeros_like(chosen)
    for decided in _decisions(victim, image, sampler, draws, batch, seed + 1):
        count += (decided[:, 0] == chosen).sum(0)
    p_values = torch.as_tensor(binom.sf(count.cpu().numpy() - 1, draws, threshold)).flatten()
    kept = _holm(p_values, alpha).view(chosen.shape).to(chosen.device)
    radius = float(norm.ppf(threshold))
    reach = tuple(radius * size for size in sigmas)
    return SegmentationCertificate(torch.where(kept, chosen, -1), radius, float(kept.double().mean()), reach, draws)


def _holm(p_values: Tensor, alpha: float) -> Tensor:
    """Which hypotheses are rejected by Holm's procedure at level alpha."""
    order = p_values.argsort()
    limits = alpha / torch.arange(len(p_values), 0, -1)
    passed = (p_values[order] <= limits).long().cumprod(0).bool()
    kept = torch.zeros(len(p_values), dtype=torch.bool)
    kept[order] = passed
    return kept


def _sampler(
    image: Tensor, sigma: float | Sequence[float], shift: Shift | None, at: Any, clip: tuple[float, float] | None
) -> tuple[Draw, tuple[float, ...]]:
    """What draws one image, and the standard deviations."""
    dims = image.ndim - 2
    sigmas = (float(sigma),) if isinstance(sigma, (int, float)) else tuple(float(size) for size in sigma)
    names = ["pixel"] if shift is None else shift.names(dims)
    sigmas = sigmas * len(names) if len(sigmas) == 1 else sigmas
    if len(sigmas) != len(names) or not all(0 < size < float("inf") for size in sigmas):
        raise ValueError(f"sigma must be a number > 0, or one for each of {names}, got {sigma!r}.")
    if shift is None:
        if at is not None or clip is not None:
            raise ValueError("at and clip are of a shift: Gaussian noise on pixels is certified without a limit.")
        return lambda clean, n, g: clean + sigmas[0] * torch.randn(n, *clean.shape[1:], generator=g).to(clean), sigmas
    center = shift.neutral(dims) if at is None else torch.as_tensor(at, dtype=torch.float64)
    if center.shape != (len(names),):
        raise ValueError(f"at must hold one value for each of {names}, got {at!r}.")
    grid = shift.grid(image)

    def draw(clean: Tensor, count: int, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(count, len(center), generator=generator, dtype=torch.float64)
        values = (center + drawn * torch.tensor(sigmas, dtype=torch.float64)).to(clean)
        shifted = shift.apply(clean.expand(count, *clean.shape[1:]), values, grid)
        return shifted if clip is None else shifted.clamp(*clip)

    return draw, sigmas


@torch.no_grad()
def _decisions(victim: Victim, image: Tensor, sampler: Draw, count: int, batch: int, seed: int) -> Iterator[Tensor]:
    """The decisions on draws, as the victim infers."""
    from_image = plain_of(image)
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, count, batch):
        drawn = sampler(from_image, min(batch, count - first), generator)
        whole = MetaTensor(drawn, meta=image.meta) if isinstance(image, MetaTensor) else drawn
        yield victim.decide(victim.infer(whole))


def _check(*, draws: int, selection: int, batch: int, alpha: float) -> None:
    for name, value in (("draws", draws), ("selection", selection), ("batch", batch)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {value!r}.")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}.")
