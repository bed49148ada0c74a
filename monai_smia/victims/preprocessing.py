"""A MONAI preprocessing chain, frozen on the clean image and differentiated through."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform, ScaleIntensityRange, SpatialResample
from monai.transforms.traits import RandomizableTrait
from monai.transforms.utils import allow_missing_keys_mode
from torch import Tensor

from monai_smia.victims.freezing import FROZEN, StraightThroughScale, array_attribute, freeze_on
from monai_smia.victims.grids import KnownGrids
from monai_smia.victims.intensity import known_scale, known_scales, measured_scale
from monai_smia.victims.own_statistics import DIFFERENTIATE, FREEZE, OwnStatistics, follows_the_image
from monai_smia.victims.placement import check_affine_known, correction, follows


class FrozenPreprocessing:
    """A preprocessing chain whose decisions were taken once, on the clean image.

    Crop windows, percentiles and statistics follow the clean image, so that an attack cannot move its own frame; all
    else runs as configured. Frozen are CropForeground, NormalizeIntensity, ScaleIntensity and
    ScaleIntensityRangePercentiles, of the whole image or channel by channel, and their dictionary forms. On the clean
    image the chain gives what the Compose itself gives, which is checked.

    Labels and predictions go between the two grids by the affine. A step that loses it and moves nothing (EnsureType
    with track_meta=False) is seen through; one that moves voxels without it is refused.

    Args:
        compose: a Compose of array or dictionary transforms, without loading and without randomness.
        image: clean image ``(C, *spatial)``; a MetaTensor where a transform needs the affine.
        image_key: key of the image in dictionary transforms.
        straight_through: let the gradient through where an intensity window clips, as if it did not; values are those
            of the clip. The gradient of the clip is zero outside of the window, so that an attack never tries to bring
            a voxel back into it.
        statistics: ``"freeze"``: mean, deviation, extrema and percentiles that the chain takes from the image stay
            those of the clean one; ``"differentiate"``: they are those of whatever it is given, as deployed, and the
            gradient goes through them. Crop windows are frozen either way.

    Raises:
        ValueError: if a transform is random, crops by another image, goes by an affine that the image does not have,
            moves voxels without its affine saying so, or does not give the same when it is frozen; it is named.

    Example:
        >>> from monai.transforms import Compose, ScaleIntensityRange
        >>> window = Compose([ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
        >>> frozen = FrozenPreprocessing(window, torch.zeros(1, 4, 4, 4))
        >>> round(float(frozen(torch.full((1, 4, 4, 4), -300.0)).mean()), 4), round(1 / frozen.intensity_scale)
        (0.5, 1400)
    """

    def __init__(
        self,
        compose: Any,
        image: Tensor,
        image_key: str = "image",
        *,
        straight_through: bool = False,
        statistics: str = FREEZE,
    ) -> None:
        self.compose = compose if isinstance(compose, Compose) else Compose(compose)
        self.image_key = image_key
        self.straight_through = straight_through
        self.statistics = statistics
        transforms: list[Callable] = list(self.compose.flatten().transforms)
        for transform in transforms:
            if isinstance(transform, (RandomizableTrait, Compose)):  # OneOf and the like are Composes of their own kind
                raise ValueError(f"preprocessing must be deterministic, got the random {type(transform).__name__}.")
        self.dictionary = any(isinstance(transform, MapTransform) for transform in transforms)
        check_affine_known(transforms, image, image_key)
        self.clean = image if isinstance(image, MetaTensor) else MetaTensor(image)
        self.transforms: list[Callable] = []
        self._fixed: list[Callable] = []  # the same with the clean statistics, whose slopes are known
        self._grids = KnownGrids()
        for transform in transforms:
            fixed, used = self._freeze(transform)
            self._fixed.append(fixed)
            self.transforms.append(used)
        with torch.no_grad():
            output = self._run(self.transforms, self.clean.as_tensor())
            self._output: Tensor | None = output.as_tensor()
            self._check_same(output, transforms)
            self.affine, self.shape = self._placed(output.affine), output.shape[1:]

    def __call__(self, image: Tensor) -> Tensor:
        """From ``(C, *spatial)`` on the case's grid to the network's input, as a plain tensor."""
        return self._run(self.transforms, image).as_tensor()

    def take_output(self) -> Tensor | None:
        """What the chain gives of the clean image, for whom asks first; it is not kept after that."""
        output, self._output = self._output, None
        return output

    @functools.cached_property
    def intensity_scale(self) -> float:
        """Network units per unit of the image, inside the intensity window: known, or measured on the clean image.

        Raises:
            ValueError: if there is no one scale; the transform is named.
        """
        scale = 1.0
        for place, transform in enumerate(self._fixed):
            known = known_scale(transform) if self._touches(transform) else 1.0
            scale *= self._measured(place) if known is None else known
        return scale

    @functools.cached_property
    def intensity_scales(self) -> Tensor:
        """The same of every channel ``(C,)``, where each may have its own.

        Raises:
            ValueError: if a channel has no one scale; the transform is named.
        """
        channels = len(self.clean)
        scales = torch.ones(channels, dtype=torch.double)
        for place, transform in enumerate(self._fixed):
            known = known_scales(transform, channels) if self._touches(transform) else torch.ones(channels)
            scales = scales * (self._measured(place) if known is None else known)
        return scales

    def _measured(self, place: int) -> float:
        """The slope of the transform at a place of the chain, measured."""
        transform = self._fixed[place]
        with torch.no_grad():
            before = self._run(self._fixed[:place], self.clean.as_tensor())
            return measured_scale(transform, before, functools.partial(self._apply, transform))

    def check_differentiable(self) -> None:
        """Raise a ValueError that names the first transform that the gradient does not pass."""
        with torch.inference_mode(False), torch.enable_grad():
            image = self.clean.as_tensor().detach().clone().requires_grad_(True)
            if self._run(self.transforms, image).requires_grad:
                return
            for last, transform in enumerate(self.transforms):
                if not self._run(self.transforms[: last + 1], image).requires_grad:
                    raise ValueError(
                        f"preprocessing must be differentiable: {type(transform).__name__} blocks the gradient (a "
                        "spline mode leaves torch, for example); use a torch mode, or wrap the attack in "
                        "NetworkSpaceAttack, which attacks what the network sees and maps the perturbation back."
                    )

    def label_to_network(self, label: Tensor) -> Tensor:
        """A label map ``(K, *spatial)`` on the network's grid, nearest neighbor."""
        return self._resample(label, self.clean.affine, self.affine, self.shape, "nearest").to(label.dtype)

    def back(self, prediction: Tensor) -> Tensor:
        """A prediction ``(K, *spatial)`` from the network's grid on the case's, linear; zero where there was none."""
        return self._resample(prediction, self.affine, self.clean.affine, self.clean.shape[1:], "bilinear")

    @staticmethod
    def _resample(value: Tensor, source: Tensor, target: Tensor, shape: Sequence[int], mode: str) -> Tensor:
        resample = SpatialResample(mode=mode, padding_mode="zeros", align_corners=False, dtype=np.float32)
        return as_plain(resample(MetaTensor(value.float(), affine=source), dst_affine=target, spatial_size=shape))

    def _run(self, transforms: Sequence[Callable], image: Tensor) -> MetaTensor:
        # a clone: a transform that works in place must neither touch the caller's voxels nor a leaf of the graph
        value = MetaTensor(image.clone(), meta=self.clean.meta, applied_operations=[])
        if not transforms:
            return value
        compose = copy.copy(self.compose)  # lazy or not, with its overrides
        compose.transforms = tuple(transforms)
        output = self._called(compose, value)
        return output if isinstance(output, MetaTensor) else MetaTensor(output)

    def _apply(self, transform: Callable, value: Tensor) -> Tensor:
        """One transform alone, of an image at its place in the chain."""
        output = self._called(Compose([transform]), value)
        return output if isinstance(output, Tensor) else torch.as_tensor(output)

    def _called(self, compose: Compose, value: Tensor) -> Any:
        if not self.dictionary:
            with self._grids:
                return compose(value)
        known = [t for t in compose.transforms if isinstance(t, MapTransform)]
        with allow_missing_keys_mode(Compose(known)) if known else nullcontext(), self._grids:
            return compose({self.image_key: value})[self.image_key]

    def _placed(self, affine: Tensor) -> Tensor:
        """The affine after the chain, also where a transform lost it on the way."""
        lost = torch.eye(len(affine)).to(affine)
        for place, transform in enumerate(self.transforms):
            if self._touches(transform) and not follows(transform):
                before = self._run(self.transforms[:place], self.clean.as_tensor())
                lost = lost @ correction(transform, before, functools.partial(self._apply, transform)).to(affine)
        return lost @ affine

    def _touches(self, transform: Callable) -> bool:
        """Whether a transform may change the image, and is not of the label alone."""
        return self.image_key in getattr(transform, "keys", (self.image_key,))

    def _check_same(self, output: Tensor, transforms: Sequence[Callable]) -> None:
        """Raise where the frozen chain does not give what the Compose gives, and name the transform."""
        value = MetaTensor(self.clean.as_tensor().clone(), meta=self.clean.meta, applied_operations=[])
        if _alike(output, self._called(self.compose, value)):
            return
        for last, transform in enumerate(transforms):
            pair = (self._run(chain[: last + 1], self.clean.as_tensor()) for chain in (self.transforms, transforms))
            if not _alike(*pair):
                name = type(transform).__name__
                break
        else:
            name = type(self.compose).__name__
        raise ValueError(
            f"preprocessing: {name} does not give the same when it is run again or frozen on the clean image; it is "
            "random or keeps a state, and what is attacked would not be what is deployed."
        )

    def _freeze(self, transform: Callable) -> tuple[Callable, Callable]:
        """The transform with what it decides from the image fixed to the clean one's, and the one that is used."""
        own = getattr(transform, "frozen_on", None)
        if own is not None:  # a transform that knows how to freeze itself
            with torch.no_grad():
                before = self._run(self.transforms, self.clean.as_tensor())
            frozen = own(before, straight_through=self.straight_through, statistics=self.statistics)
            return frozen, frozen
        attribute = array_attribute(transform)
        array = getattr(transform, attribute) if attribute else transform
        used = None
        if isinstance(array, FROZEN):
            source = getattr(transform, "source_key", self.image_key)
            if source != self.image_key:
                raise ValueError(
                    f"preprocessing: {type(transform).__name__} must crop by the image, {self.image_key!r}, got "
                    f"source_key={source!r}, which is not there when the network is used."
                )
            if self.statistics == DIFFERENTIATE and follows_the_image(array):
                used = OwnStatistics(array, self.straight_through)
            with torch.no_grad():
                before = self._run(self.transforms, self.clean.as_tensor())
                array = freeze_on(array, before, straight_through=self.straight_through)
        if self.straight_through and isinstance(array, ScaleIntensityRange) and array.clip:
            array = StraightThroughScale(array)
        pair = [array, array if used is None else used]
        if attribute:
            pair = [_holding(transform, attribute, each) for each in pair]
        return pair[0], pair[1]


def _holding(transform: Callable, attribute: str, array: Callable) -> Callable:
    """A dictionary transform with another array transform."""
    transform = copy.copy(transform)
    setattr(transform, attribute, array)
    return transform


def _alike(first: Tensor, second: Any) -> bool:
    """Whether two images are the same up to rounding."""
    ours, theirs = (torch.as_tensor(as_plain(value)).double() for value in (first, second))
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.abs().max())


def as_plain(value: Any) -> Any:
    """A tensor without metadata, one that autograd may save; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    plain = value.as_tensor() if isinstance(value, MetaTensor) else value
    return plain.clone() if plain.is_inference() and not torch.is_inference_mode_enabled() else plain
