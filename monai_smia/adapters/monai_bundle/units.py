"""Units of a case's own: a radius in standard deviations, ranges or network units of that case, channel by channel.

The image that is attacked is that of the files divided by these units; twin and pipeline multiply by them first.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform
from torch import Tensor

from monai_smia.adapters.monai_bundle.several import EachPartd
from monai_smia.degradations import Box, Identity, Median, Resample, Smooth
from monai_smia.victims.preprocessing import FrozenPreprocessing, as_plain

UNITS = "file_units"  # in the metadata of an image: units of its files per unit of the attack, one per channel
NETWORK, IMAGE, STD, RANGE = "network", "image", "std", "range"
KINDS = (NETWORK, IMAGE, STD, RANGE)
OPTION = "--attack#eps_unit image"
NAMES = {NETWORK: "", STD: "SD", RANGE: "of range"}  # in tables
WORDS = {
    NETWORK: "units of the network, which takes them from each case",
    STD: "standard deviations of each case's own voxels that are not 0",
    RANGE: "ranges of each case's own values, from the lowest to the highest",
}
ALIKE = (Box, Identity, Median, Resample, Smooth)  # degradations that are the same in every unit


class OwnUnits:
    """From an image as its files hold it to one in units of its own.

    Args:
        kind: ``"std"``: the standard deviation of the voxels that are not 0. ``"range"``: from the lowest value to the
            highest. ``"network"``: what becomes one unit of what the network is given.
        chain: transforms between the image and the network.
        image_key: of the image.
        option: what gives a radius in the unit of the files instead.

    Example:
        >>> image = MetaTensor(torch.tensor([[0.0, 2.0, 6.0], [0.0, 10.0, 30.0]]))
        >>> OwnUnits("std", Compose([]), "image").measured(image).tolist()
        [2.0, 10.0]
    """

    def __init__(self, kind: str, chain: Compose, image_key: str, *, option: str = OPTION) -> None:
        self.kind, self.image_key, self.option = kind, image_key, option
        self.chain = copy.copy(chain)  # cases are loaded in a thread of their own, where modes of transforms are set
        self.chain.transforms = tuple(t.fresh() if isinstance(t, EachPartd) else copy.copy(t) for t in chain.transforms)

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"kind": self.kind}

    def measured(self, image: MetaTensor) -> Tensor:
        """Units of the files per unit, one per channel ``(C,)``.

        Args:
            image: ``(C, *spatial)`` as its files hold it.

        Raises:
            ValueError: if a channel has none: it is constant, or the network's answer has no one slope.
        """
        plain = as_plain(image).double()
        if self.kind == STD:
            found = [channel[channel != 0] for channel in plain]
            units = torch.stack([v.std(correction=0) if v.numel() else v.new_zeros(()) for v in found])
        elif self.kind == RANGE:
            flat = plain.flatten(1)
            units = flat.amax(1) - flat.amin(1)
        else:
            with torch.no_grad():
                frozen = FrozenPreprocessing(self.chain, image.float(), self.image_key)
                count = len(frozen(image.float()))
                if count != len(plain):
                    raise ValueError(f"the network is given {count} channels of an image of {len(plain)}.")
                slopes = frozen.intensity_scales.abs()
            units = torch.where(slopes > 0, 1 / slopes, 0.0)
        units = units.cpu()
        if not bool(((units > 0) & units.isfinite()).all()):
            wrong = [number for number, unit in enumerate(units.tolist()) if not 0 < unit < float("inf")]
            raise ValueError(
                f"channels {wrong} of the image have no unit of their own: their values are all the same. Leave the "
                f"case out, or give the radius in the unit of the files, with {self.option}."
            )
        return units

    def __call__(self, image: MetaTensor) -> MetaTensor:
        """The image in units of its own, which its metadata name."""
        units = self.measured(image)
        scaled = as_plain(image).float() / _column(units, image)
        return MetaTensor(scaled, meta={**image.meta, UNITS: units.tolist()})


class InFileUnitsd(MapTransform):
    """The first step of a twin: an image in units of its own as its files hold it."""

    keeps_voxels = True

    def __init__(self, keys: Any) -> None:
        super().__init__(keys)
        self.intensity_slope: list[float] | None = None

    def frozen_on(self, image: Tensor, **_: Any) -> InFileUnitsd:
        """The same, with the units of an image known."""
        known = copy.copy(self)
        units = units_of(image)
        known.intensity_slope = None if units is None else units.tolist()
        return known

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """The data with their images multiplied by their units."""
        found = dict(data)
        for key in self.key_iterator(found):
            found[key] = in_file_units(found[key])
        return found


def units_of(image: Any) -> Tensor | None:
    """Units of the files per unit of an image, one per channel ``(C,)``; None where it is as its files hold it."""
    units = image.meta.get(UNITS) if isinstance(image, MetaTensor) else None
    return None if units is None else torch.as_tensor(units, dtype=torch.double)


def in_file_units(image: Tensor, units: Tensor | None = None) -> Tensor:
    """An image ``(C, *spatial)`` as its files hold it, differentiably.

    Args:
        image: in units of its own, or not.
        units: to take in the place of those that its metadata name.
    """
    units = units_of(image) if units is None else units
    if units is None:
        return image
    values = as_plain(image) * _column(units, image)
    if not isinstance(image, MetaTensor):
        return values
    meta = {name: value for name, value in image.meta.items() if name != UNITS}
    return MetaTensor(values, meta=meta, applied_operations=image.applied_operations)


def again_in_units(image: Tensor, units: Tensor | None) -> Tensor:
    """An image that was read from files, in units that are known."""
    if units is None:
        return image
    scaled = as_plain(image) / _column(units, image)
    return MetaTensor(scaled, meta=image.meta) if isinstance(image, MetaTensor) else scaled


def range_in_units(
    ranges: Sequence[tuple[float, float] | None], units: Tensor, image: Tensor
) -> tuple[float, float] | None:
    """The valid range of an image whose channels have ranges and units of their own; None where none is limited.

    The range that holds for every channel, where the image itself lies in it; else the widest, and what a file cannot
    hold is cut when it is written.

    Args:
        ranges: of every channel, in the unit of its file.
        units: of every channel.
        image: in units of its own.

    Example:
        >>> range_in_units([(0.0, 255.0), (0.0, 255.0)], torch.tensor([50.0, 5.0]), torch.tensor([[1.0], [4.0]]))
        (0.0, 5.1)
    """
    known = [(low / unit, high / unit) for (low, high), unit in _pairs(ranges, units)]
    if not known:
        return None
    low, high = max(low for low, _ in known), min(high for _, high in known)
    plain = as_plain(image)
    if low < high and float(plain.min()) >= low and float(plain.max()) <= high:
        return low, high
    return min(low for low, _ in known), max(high for _, high in known)


def check_survival(survival: Mapping[str, Any] | None, units: OwnUnits | None) -> None:
    """Raise where a degradation with steps or levels in the unit of the images meets images in units of their own."""
    if units is None or not isinstance(survival, Mapping):
        return
    for name, degradation in survival.items():
        if not isinstance(degradation, ALIKE):
            raise ValueError(
                f"survival: {name} ({type(degradation).__name__}) is in the unit of the files, and the images attacked "
                f"are in {WORDS[units.kind]}; give the radius in that of the files, with {units.option}."
            )


def told_units(kind: str, radii: Sequence[float], units: Tensor) -> str:
    """A sentence that says of a case what the radii are in the unit of its files."""
    told = "; ".join(f"{radius:g} is {', '.join(f'{radius * unit:.4g}' for unit in units)}" for radius in radii)
    each = " (channel by channel)" if len(units) > 1 else ""
    return f"Radii are in {WORDS[kind]}. Of the first case, in the unit of its files{each}: {told}."


def _pairs(ranges: Sequence[Any], units: Tensor) -> list[tuple[tuple[float, float], float]]:
    return [(limits, unit) for limits, unit in zip(ranges, units.tolist(), strict=True) if limits is not None]


def _column(units: Tensor, image: Tensor) -> Tensor:
    """Units ready to be multiplied with an image."""
    return units.to(device=image.device, dtype=image.dtype).view(-1, *[1] * (image.ndim - 1))
