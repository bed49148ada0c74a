"""Metrics of a perturbation: its size, its visibility, and how steadily it grew.

The functions take batches ``(B, C, *spatial)`` in the image's own unit and return one value per sample ``(B,)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.metrics import PSNRMetric
from torch import Tensor

from monai_smia.metrics.similarity import StructuralSimilarity

AT_BOUND = 0.999  # of the radius; the rest is float rounding


def linf_norm(perturbation: Tensor) -> Tensor:
    """Largest absolute change of a voxel."""
    return perturbation.flatten(1).abs().amax(1)


def l2_norm(perturbation: Tensor) -> Tensor:
    """Euclidean norm over all voxels, accumulated in double precision."""
    return perturbation.flatten(1).double().norm(dim=1)


def variance(perturbation: Tensor, eps: float) -> Tensor:
    """Var of the SMIA paper's Table 6 as we define it: population variance of eta / eps over voxels.

    In [0, 1] for L-inf. It does not see a constant shift: `rms` does.
    """
    return (perturbation.flatten(1).double() / eps).var(dim=1, correction=0)


def rms(perturbation: Tensor, eps: float) -> Tensor:
    """Root mean square of eta / eps over voxels, in [0, 1] for L-inf."""
    return (perturbation.flatten(1).double() / eps).square().mean(1).sqrt()


def positive_cosine(cosine: Tensor) -> Tensor:
    """Cos of the SMIA paper's Table 1: percentage of pairs of consecutive unprojected steps with a positive cosine.

    Args:
        cosine: ``(steps - 1, B)``, as in `monai_smia.attacks.AttackResult`; NaN where there was no step.

    Returns:
        ``(B,)`` in [0, 100]; NaN where there are no pairs.
    """
    return _mean_over_steps((cosine > 0).double().where(~cosine.isnan(), torch.nan)) * 100


def mean_cosine(cosine: Tensor) -> Tensor:
    """Mean cosine of consecutive unprojected steps ``(B,)`` in [-1, 1]; NaN where there are no pairs."""
    return _mean_over_steps(cosine.double())


def perturbation_metrics(
    adversarial: Tensor,
    image: Tensor,
    cosine: Tensor,
    *,
    eps: float,
    data_range: float,
    similarities: Sequence[StructuralSimilarity] | None = None,
) -> Mapping[str, Tensor]:
    """All of them at once, with SSIM and MONAI's PSNR beside, and the share of voxels at the bound.

    Args:
        adversarial: adversarial batch.
        image: clean batch.
        cosine: cosine of consecutive unprojected steps ``(steps - 1, B)``.
        eps: radius in the image's unit, > 0.
        data_range: width of the image's range that PSNR and SSIM relate to (1400 for an HU window of that width).
        similarities: SSIM to every sample of `image`, where it is asked of many adversarial batches; None makes them.

    Returns:
        ``linf, l2, var, rms, cos, cos_mean, ssim, psnr, at_bound``, each ``(B,)``.

    Example:
        >>> image = torch.full((1, 1, 16, 16), 0.5)
        >>> values = perturbation_metrics(image + 0.1, image, torch.tensor([[0.2], [-0.1]]), eps=0.1, data_range=1.0)
        >>> {name: round(float(value), 3) for name, value in values.items() if name in ("var", "rms", "cos", "psnr")}
        {'var': 0.0, 'rms': 1.0, 'cos': 50.0, 'psnr': 20.0}
    """
    if similarities is None:
        similarities = [StructuralSimilarity(sample, data_range) for sample in image]
    perturbation = adversarial - image
    exact = perturbation.flatten(1).double()
    over_eps = exact / eps
    return {
        "linf": linf_norm(perturbation),
        "l2": exact.norm(dim=1),
        "var": over_eps.var(dim=1, correction=0),
        "rms": over_eps.square_().mean(1).sqrt(),
        "cos": positive_cosine(cosine),
        "cos_mean": mean_cosine(cosine),
        "ssim": torch.tensor([similar(sample) for similar, sample in zip(similarities, adversarial, strict=True)]),
        "psnr": torch.as_tensor(PSNRMetric(max_val=data_range)(adversarial, image)).flatten(1).mean(1),
        "at_bound": (perturbation.abs_() >= AT_BOUND * eps).flatten(1).float().mean(1),
    }


def _mean_over_steps(values: Tensor) -> Tensor:
    return values.nanmean(0) if len(values) else values.new_full((values.shape[1],), torch.nan)
