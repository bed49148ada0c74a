"""Shifts of computed tomography; images in HU."""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from monai_smia.shifts.base import Parameter, Shift, per_image
from monai_smia.shifts.grid import Grid, filtered
from monai_smia.shifts.projections import WATER, Scanner, attenuation, from_slices, scanner_for, slices_of

BODY = -500.0  # HU, above which a voxel is of the patient
METAL = 8 * WATER  # attenuation of an insert per mm, about that of titanium


@dataclass(frozen=True, kw_only=True)
class HUCalibration(Shift):
    """Calibration of the CT numbers: an offset, and a slope about water.

    Example:
        >>> HUCalibration()(torch.tensor([[[[-1000.0, 0.0]]]]), [10.0, -2.0])
        tensor([[[[-970.,   10.]]]])
    """

    title: ClassVar[str] = "HU calibration"
    source: ClassVar[str] = (
        "Offset: level 1 is the tolerance of IEC 61223-3-5 for water, 4 HU, level 2 that of ACR's accreditation, 7 HU; "
        "levels 3 to 5, and the slope, are our choice."
    )

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Both of them, to either side."""
        return (
            Parameter("offset", "HU", (4.0, 7.0, 10.0, 20.0, 40.0), signed=True),
            Parameter("slope", "%", (0.5, 1.0, 1.5, 2.0, 3.0), signed=True),
        )

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The same for all voxels."""
        return image + image * per_image(values[:, 1] / 100, image) + per_image(values[:, 0], image)


@dataclass(frozen=True, kw_only=True)
class HUOffset(HUCalibration):
    """An offset of the CT numbers alone: whole numbers of HU are a finite set, see `monai_smia.attacks.TryAll`.

    Example:
        >>> HUOffset()(torch.zeros(1, 1, 1, 2), [10.0])
        tensor([[[[10., 10.]]]])
    """

    title: ClassVar[str] = "HU offset"

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """The offset."""
        return super().parameters(dims)[:1]

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The same for all voxels."""
        return image + per_image(values[:, 0], image)


@dataclass(frozen=True, kw_only=True)
class ReconstructionKernel(Shift):
    """A softer or sharper reconstruction kernel: the modulation transfer in slices is changed, about that of today.

    The gain is the parameter at .4 line pairs a mm, nothing at none, and at most 1.6 times the parameter beyond.

    Example:
        >>> image = torch.rand(1, 1, 16, 16)
        >>> sharp = ReconstructionKernel()(image, [50.0], spacing=(0.7, 0.7))
        >>> bool(sharp.std() > image.std()), bool((sharp.mean() - image.mean()).abs() < 1e-6)
        (True, True)
    """

    title: ClassVar[str] = "reconstruction kernel"
    source: ClassVar[str] = "Our choice: -50 to 50 % of modulation transfer at .4 line pairs a mm, in equal steps."
    needs_spacing: ClassVar[bool] = True

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Change of the modulation transfer at .4 line pairs a mm."""
        return (Parameter("kernel", "% MTF", (10.0, 20.0, 30.0, 40.0, 50.0), signed=True),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """In slices."""
        change = per_image(torch.log1p((values[:, 0] / 100).clamp_min(-0.99)), image)

        def gain(first: Tensor, second: Tensor) -> Tensor:
            shape = 1 - torch.exp(-(first.square() + second.square()) / 0.4**2)
            return torch.exp(change * shape / (1 - math.exp(-1)))

        return filtered(image, [0, 1], gain, grid)


@dataclass(frozen=True, kw_only=True)
class SliceThickness(Shift):
    """Thicker slices on the same grid: the mean over this length along the patient, where slices overlap.

    Example:
        >>> volume = torch.zeros(1, 1, 1, 1, 32)
        >>> volume[..., 16:] = 1
        >>> SliceThickness()(volume, [4.0], spacing=(1, 1, 1))[0, 0, 0, 0, 15].round(decimals=1)
        tensor(0.4000)
    """

    title: ClassVar[str] = "slice thickness"
    source: ClassVar[str] = "1 to 5 mm more than the image's own, the range from thin to thick slices of clinical CT."
    needs_spacing: ClassVar[bool] = True
    dimensions: ClassVar[tuple[int, ...]] = (3,)

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Length of the mean."""
        return (Parameter("slice thickness", "mm", (1.0, 2.0, 3.0, 4.0, 5.0)),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Along the last axis."""
        length = per_image(values[:, 0], image)
        return filtered(image, [2], lambda f: torch.sinc(length * f), grid)


def _under_half_circle(place: Tensor, radius: Tensor) -> Tensor:
    """The area between a diameter and its half circle up to a place, from the center on."""
    inside = place.abs() < radius * (1 - 1e-7)
    safe, size = place.where(inside, 0), radius.where(radius > 0, 1)
    part = (safe * (size.square() - safe.square()).clamp_min(1e-20).sqrt() + size.square() * (safe / size).asin()) / 2
    return torch.where(inside, part, math.pi / 4 * radius.square() * place.sign())


class _Last:
    """What was made of the last image, as long as that lives and nobody wrote into it."""

    def __init__(self) -> None:
        self.kept: tuple[weakref.ref[Tensor], tuple[object, ...], Tensor] | None = None

    def find(self, image: Tensor, key: tuple[object, ...]) -> Tensor | None:
        if self.kept is None or image.requires_grad or image.is_inference():
            return None
        known, of, value = self.kept
        return value if known() is image and of == (image._version, *key) else None

    def keep(self, image: Tensor, key: tuple[object, ...], value: Tensor) -> Tensor:
        if not image.requires_grad and not image.is_inference():
            self.kept = weakref.ref(image), (image._version, *key), value
        return value


_FIELDS = _Last()


@dataclass(frozen=True, kw_only=True)
class Dose(Shift):
    """A lower dose: the noise that its fewer photons add, drawn in the projections and reconstructed.

    The variance of a line integral is inverse to dose and transmission, so that noise grows behind thick and dense
    parts and streaks between them. What is added to an image of full dose has the variance ``(1 / dose - 1)`` of full
    dose's: at 25 % the noise is twice that of full dose (Yu et al., JCAT 2012). Volumes are projected slice by slice;
    slices of more than 256 pixels at half of their resolution or less, which makes noise coarser.

    Args:
        noise: HU of full dose, root mean square over the patient.

    Example:
        >>> water = torch.zeros(1, 1, 48, 48)
        >>> added = Dose(noise=10.0)(water, [25.0], spacing=(4, 4))
        >>> round(float(added.square().mean().sqrt() / 10), 2)  # the root of 4 - 1
        1.73
    """

    title: ClassVar[str] = "dose"
    source: ClassVar[str] = (
        "Level 5 is the quarter dose of the AAPM's Low Dose CT Grand Challenge (McCollough et al., 2017); levels 1 to "
        "4, and 12 HU of noise at full dose, are our choice."
    )
    needs_spacing: ClassVar[bool] = True
    noise: float = 12.0

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Share of the full dose."""
        return (Parameter("dose", "%", (80.0, 60.0, 50.0, 35.0, 25.0), neutral=100.0),)

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """The image plus noise."""
        key = (self.seed, self.noise, grid)
        added = _FIELDS.find(image, key)
        if added is None:
            added = _FIELDS.keep(image, key, self.full_dose_noise(image, grid))
        more = 100 / values[:, 0].clamp_min(1.0) - 1
        some = more > 0
        return image + per_image(more.where(some, 1).sqrt() * some, image) * added

    def full_dose_noise(self, image: Tensor, grid: Grid) -> Tensor:
        """Noise of full dose, of the image's shape."""
        scanner, factor = scanner_for(grid, image)
        slices = slices_of(image)
        coarse = F.interpolate(slices, scanner.grid.shape, mode="area") if factor > 1 else slices
        lines = scanner.project(attenuation(coarse))
        generator = torch.Generator().manual_seed(self.seed)
        depth = image.shape[-1] if image.ndim == 5 else 1
        one = torch.randn(depth, *lines.shape[1:], generator=generator, dtype=torch.float64).to(lines)
        drawn = one.repeat(len(lines) // depth, 1, 1, 1)  # the same for every sample and channel
        noise = scanner.reconstruct(drawn * torch.exp(lines / 2))
        if factor > 1:
            noise = F.interpolate(noise, grid.shape[:2], mode="bilinear")
        noise = from_slices(noise, image)
        patient = (image.detach() > BODY).to(image)
        patient = patient.where(per_image(patient.flatten(1).amax(1), image) > 0, torch.ones_like(patient))
        power = (noise.square() * patient).flatten(1).sum(1) / patient.flatten(1).sum(1)
        return noise * per_image(self.noise / power.clamp_min(1e-30).sqrt(), image)


@dataclass(frozen=True, kw_only=True)
class MetalInsert(Shift):
    """A metal rod along the patient: its shadow bends the line integrals (beam hardening), which makes streaks.

    A polychromatic beam measures ``p - c p_metal (p_metal + 2 p_patient)`` where it passes metal, the second order of
    its law; the reconstruction of the difference is added to the image, and the rod itself with a soft edge of one
    pixel, far beyond what a file of CT numbers holds: clip the image to its range. Nothing changes at 0 mm.

    Args:
        hardening: c, per unit of the line integral.

    Example:
        >>> body = torch.full((1, 1, 48, 48), -1000.0)
        >>> body[..., 8:40, 8:40] = 0
        >>> streaks = MetalInsert()(body, [16.0, 0.0, 0.0], spacing=(4, 4)) - body
        >>> bool(streaks[0, 0, 23, 23] > 1500), bool(streaks[0, 0, 18, 18] < -20)
        (True, True)
    """

    title: ClassVar[str] = "metal"
    source: ClassVar[str] = (
        "4 to 20 mm, the diameters from screws to stems of implants, up to 60 mm from the center, our choice; the "
        "second-order law as in Park et al., IEEE TMI 2016."
    )
    needs_spacing: ClassVar[bool] = True
    hardening: float = 0.05

    def parameters(self, dims: int) -> tuple[Parameter, ...]:
        """Diameter of the rod, and where it is in the slice."""
        return (
            Parameter("metal", "mm", (4.0, 8.0, 12.0, 16.0, 20.0)),
            Parameter("place", "mm", (60.0, 60.0, 60.0, 60.0, 60.0), signed=True, count=2, vector=True),
        )

    def apply(self, image: Tensor, values: Tensor, grid: Grid) -> Tensor:
        """Slice by slice."""
        scanner, factor = scanner_for(grid, image)
        slices = slices_of(image)
        coarse = F.interpolate(slices, scanner.grid.shape, mode="area") if factor > 1 else slices
        key = ("metal", grid)
        body = _FIELDS.find(image, key)
        if body is None:
            body = _FIELDS.keep(image, key, scanner.project(attenuation(coarse)))
        each = values.repeat_interleave(len(slices) // len(image), 0)
        metal = self._shadow(scanner, each)
        streaks = scanner.reconstruct(-self.hardening * metal * (metal + 2 * body)) * 1000 / WATER
        if factor > 1:
            streaks = F.interpolate(streaks, grid.shape[:2], mode="bilinear")
        return image + from_slices(streaks + self._rod(each, grid, slices), image)

    def _shadow(self, scanner: Scanner, values: Tensor) -> Tensor:
        """Line integrals of the rod alone ``(N, 1, angles, detectors)``."""
        theta, radius = scanner.theta, values[:, 0].clamp_min(0) / 2
        center = values[:, 1, None] * theta.cos() + values[:, 2, None] * theta.sin()
        place, half = scanner.places - center[..., None], scanner.step / 2
        radius = radius[:, None, None]
        ends = [_under_half_circle(place + side, radius) for side in (half, -half)]
        return (METAL * (ends[0] - ends[1]) / half)[:, None]  # the mean chord over a detector's width

    def _rod(self, values: Tensor, grid: Grid, like: Tensor) -> Tensor:
        """The rod itself, in HU above what is there."""
        plane = Grid(grid.shape[:2], grid.spacing[:2])
        offsets = plane.points(like) - values[:, None, 1:]
        distance = (offsets.square().sum(-1) + 1e-12).sqrt()
        radius = values[:, :1].clamp_min(0) / 2
        share = ((radius - distance) / min(plane.spacing) + 0.5).clamp(0, 1)
        share = share * (radius / min(plane.spacing)).clamp(0, 1)
        return (1000 * METAL / WATER * share).view(-1, 1, *plane.shape)
