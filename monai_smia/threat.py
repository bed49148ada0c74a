"""Which perturbations are allowed: the norm ball, the valid range and the mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from monai_smia.nearest import nearest

NORMS = ("linf", "l2")
TINY = 1e-30  # keeps 0 / 0 out of float32; far below any norm that matters


@dataclass(frozen=True)
class ThreatModel:
    """The set of allowed perturbations around an image.

    Args:
        eps: radius of the ball, in the image's own unit (HU, grey levels or network units); a number or one per
            sample, shape ``(B,)``. Non-negative and finite; None for no ball (an attack that looks for the smallest
            perturbation).
        norm: ``"linf"`` (largest change of a voxel) or ``"l2"`` (Euclidean norm over all voxels of a sample).
        clip: valid range ``(low, high)`` of the adversarial image, or None for no limit.
        mask: voxels that may change; bool or 0/1, any shape that broadcasts to the image, or None for all of them.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> threat = ThreatModel(eps=0.1, clip=(0.0, 1.0))
        >>> image = torch.tensor([[[0.5, 0.95]]])
        >>> threat.project(image + 0.3, image)
        tensor([[[0.6000, 1.0000]]])
    """

    eps: float | Tensor | None
    norm: str = "linf"
    clip: tuple[float, float] | None = (0.0, 1.0)
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        try:
            radii = torch.as_tensor(0.0 if self.eps is None else self.eps)
            if radii.dtype == torch.bool:
                raise TypeError("True is no radius")
            radii = torch.as_tensor(0.0 if self.eps is None else self.eps, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"eps must be a number, or one per sample, got {self.eps!r}.") from error
        if radii.ndim > 1 or not bool(((radii >= 0) & radii.isfinite()).all()):
            raise ValueError(f"eps must be a finite number >= 0, or one per sample, got {self.eps}.")
        if radii.ndim == 1 and not isinstance(self.eps, Tensor):
            object.__setattr__(self, "eps", radii)
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {NORMS}, got {self.norm!r}{nearest(self.norm, NORMS)}")
        if self.clip is not None:
            object.__setattr__(self, "clip", _bounds(self.clip))

    @property
    def radius(self) -> float | Tensor:
        """The radius, where there is a ball.

        Raises:
            ValueError: if there is none.
        """
        if self.eps is None:
            raise ValueError("eps must be a number here, got None: there is no ball.")
        return self.eps

    def on(self, image: Tensor) -> ThreatModel:
        """This threat model for one batch: radii and mask brought to the image's device and batch size, both checked.

        Args:
            image: clean batch ``(B, C, *spatial)``.

        Raises:
            ValueError: if the number of radii or the mask's shape does not fit the image, if the mask has values
                outside of [0, 1] or forbids every voxel, or if the image leaves the valid range where it may change.
                Excess of a millionth of the range is taken for rounding; the adversarial image is then clipped to the
                range.
        """
        eps, mask = self.eps, self.mask
        if isinstance(eps, Tensor) and eps.ndim == 1:
            if len(eps) != len(image):
                raise ValueError(f"eps must hold one radius per sample: {len(image)} samples, got {len(eps)} radii.")
            eps = eps.to(image)
        elif eps is not None:
            eps = float(eps)
        if mask is not None:
            mask = _allowed(mask, image.device)
            try:
                mask = mask.broadcast_to(image.shape)
            except RuntimeError as error:
                raise ValueError(
                    f"mask must broadcast to the image's shape {tuple(image.shape)}, got {tuple(mask.shape)}."
                ) from error
            if not bool(mask.any()):
                raise ValueError("mask must allow at least one voxel to change, got a mask without any.")
        if self.clip is not None:
            # twice where is a fifth of the time of gathering the voxels that may change
            free = (image, image) if mask is None else (image.where(mask, torch.inf), image.where(mask, -torch.inf))
            low, high = self.clip
            least, most = float(free[0].min()), float(free[1].max())
            slack = 1e-6 * (high - low)
            if least < low - slack or most > high + slack:
                raise ValueError(
                    f"image must lie in clip=[{low:g}, {high:g}] where it may change, got values from {least:g} to "
                    f"{most:g}; set clip to the image's valid range, or mask the voxels outside of it."
                )
        return replace(self, eps=eps, mask=mask)

    def subset(self, index: Tensor) -> ThreatModel:
        """The threat model of some samples of the batch that `on` was called with."""
        eps = self.eps[index] if isinstance(self.eps, Tensor) and self.eps.ndim == 1 else self.eps
        return replace(self, eps=eps, mask=None if self.mask is None else self.mask[index])

    def project(self, adversarial: Tensor, image: Tensor) -> Tensor:
        """An allowed image: perturbation into the ball, then values into the range, then nothing off the mask.

        In L-inf it is the nearest one. In L2 it is the nearest one where neither range nor mask cut the perturbation;
        where they do, it lies inside of the ball, as in the libraries that it is compared with.

        Args:
            adversarial: candidate ``(B, C, *spatial)``.
            image: clean image of the same shape.
        """
        perturbation = adversarial - image
        if self.eps is not None:
            radius = per_sample(self.eps, image)
            if self.norm == "linf":
                perturbation.clamp_(-radius, radius)  # type: ignore[arg-type]  # torch's stub wants both of one type
            else:
                perturbation *= (radius / _norm(perturbation).clamp_min(TINY)).clamp(max=1.0)
        projected = perturbation.add_(image)
        if self.clip is not None:
            projected.clamp_(*self.clip)
        return projected if self.mask is None else torch.where(self.mask, projected, image)

    def random_start(self, image: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """A point drawn uniformly from the ball and projected, each sample from its own generator.

        Args:
            image: clean image ``(B, C, *spatial)``.
            generators: one per sample, on the image's device.

        Raises:
            ValueError: if there is no ball.
        """
        if self.eps is None:
            raise ValueError("eps must be a number for a random start, got None.")
        if self.norm == "linf":
            noise = draw(torch.rand, image, generators) * 2 - 1
        else:
            noise, free = draw(torch.randn, image, generators), torch.tensor(image[0].numel())
            if self.mask is not None:  # a ball of as many dimensions as there are voxels that may change
                noise, free = noise * self.mask, self.mask.flatten(1).sum(1).clamp_min(1)
            radial = torch.stack([torch.rand((), generator=g, device=image.device) for g in generators])
            length = per_sample(radial.to(image) ** (1 / free.double()).to(image), image)
            noise = noise / _norm(noise).clamp_min(TINY) * length
        return self.project(image + per_sample(self.eps, image) * noise, image)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of steepest ascent in this norm: sign(g), or g / ||g||; zero off the mask and for a zero g."""
        if self.mask is not None:
            gradient = gradient * self.mask
        if self.norm == "linf":
            return gradient.sign()
        peak = gradient.abs().amax(tuple(range(1, gradient.ndim)), keepdim=True)
        gradient = gradient / peak.where(peak > 0, 1)  # the squares of a small gradient vanish in float32
        return gradient / _norm(gradient).clamp_min(TINY)


def _allowed(mask: Tensor, device: torch.device) -> Tensor:
    """A mask as bool, checked."""
    try:
        values = torch.as_tensor(mask, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"mask must be a tensor, or None, got {mask!r}.") from error
    if values.dtype == torch.bool:
        return values
    if not bool(((values >= 0) & (values <= 1)).all()):  # false for NaN, too
        wrong = values[~((values >= 0) & (values <= 1))].flatten()[0]
        raise ValueError(f"mask must hold values in [0, 1], 1 where a voxel may change, got {wrong.item():g}.")
    return values != 0


def _bounds(clip: Sequence[float]) -> tuple[float, float]:
    """A valid range, checked."""
    try:
        low, high = clip
        if not isinstance(low, str) and not isinstance(high, str) and float(low) < float(high):  # false for NaN, too
            return float(low), float(high)
    except (TypeError, ValueError):  # not two, or no numbers
        pass
    raise ValueError(f"clip must be two numbers (low, high) with low < high, or None, got {clip!r}.")


def draw(sampler: Callable[..., Tensor], image: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """One draw of `sampler` (torch.rand, torch.randn) per sample, shaped like the image, on its device."""
    return torch.stack([sampler(image.shape[1:], generator=g, dtype=image.dtype) for g in generators]).to(image.device)


def seeded_generators(seed: int | Sequence[int], count: int) -> list[torch.Generator]:
    """One generator per sample; a single seed serves all of them, so that a batch draws what its samples draw alone.

    They are the CPU's wherever the image is, so that a seed draws the same on every device.
    """
    seeds = checked_seeds(seed)
    if np.ndim(seed) == 0:
        seeds *= count
    if len(seeds) != count:
        raise ValueError(f"seed must be an integer or one per sample: {count} samples, got {len(seeds)} seeds.")
    return [torch.Generator().manual_seed(s) for s in seeds]


def checked_seeds(seed: int | Sequence[int]) -> list[int]:
    """The seeds as a list, or a ValueError where one is not a whole number from 0 on."""
    seeds = np.atleast_1d(np.asarray(seed))
    if seeds.dtype.kind not in "iu" or bool((seeds < 0).any()):
        raise ValueError(f"seed must be a whole number >= 0, or one per sample, got {seed!r}.")
    return list(seeds.tolist())


def per_sample(value: float | Tensor, image: Tensor) -> float | Tensor:
    """`value` ready to be multiplied with the image: numbers as they are, ``(B,)`` as ``(B, 1, ...)``."""
    if isinstance(value, Tensor) and value.ndim == 1:
        return value.view(-1, *[1] * (image.ndim - 1))
    return value if isinstance(value, Tensor) else float(value)


def _norm(batch: Tensor) -> Tensor:
    """Euclidean norm of every sample, shaped ``(B, 1, ...)``; `vector_norm` loses 2 % of 5e7 equal float32 voxels."""
    return batch.square().sum(tuple(range(1, batch.ndim)), keepdim=True).sqrt()
