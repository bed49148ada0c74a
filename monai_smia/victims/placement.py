"""Where a transform puts voxels: by its affine, nowhere, or elsewhere without saying so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from monai import transforms as monai_transforms
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor

NEED_AFFINE = ("Orientation", "Spacing", "SpatialResample", "ResampleToMatch")
SPATIAL = (  # they move voxels, and the affine with them
    *NEED_AFFINE,
    *("Affine", "Flip", "Resize", "Rotate", "Rotate90", "Zoom"),
    *("BorderPad", "DivisiblePad", "Pad", "SpatialPad", "ResizeWithPadOrCrop"),
    *("CenterScaleCrop", "CenterSpatialCrop", "Crop", "CropForeground", "SpatialCrop"),
)
CONVERTERS = ("CastToType", "DeleteItems", "EnsureType", "Identity", "SelectItems", "ToDevice", "ToTensor")
INTENSITY = (
    *("NormalizeIntensity", "ScaleIntensity", "ScaleIntensityRange", "ScaleIntensityRangePercentiles"),
    *("AdjustContrast", "GaussianSmooth", "MedianSmooth", "ShiftIntensity", "ThresholdIntensity"),
)
SHARES = (0.21, 0.43, 0.74)  # of the axes, at which blocks are probed, each axis at all of them in turn
NEAR = 0.75  # of a voxel: what lies farther away was moved

_FOUND: WeakKeyDictionary[Callable, dict[tuple[int, ...], bool]] = WeakKeyDictionary()  # known to follow its affine


def is_one_of(transform: Callable, names: tuple[str, ...]) -> bool:
    """Whether a transform is MONAI's own of one of these names, as array or as dictionary transform.

    Example:
        >>> is_one_of(monai_transforms.Spacingd("image", 1.0), NEED_AFFINE), is_one_of(torch.relu, NEED_AFFINE)
        (True, False)
    """
    name = type(transform).__name__
    name = name.removesuffix("d") if isinstance(transform, MapTransform) else name
    kinds = (getattr(monai_transforms, name, None), getattr(monai_transforms, f"{name}d", None))
    return name in names and type(transform) in kinds


def check_affine_known(transforms: list[Callable], image: Tensor, image_key: str) -> None:
    """Raise a ValueError where a transform goes by the affine and the image has none.

    Args:
        transforms: a chain.
        image: a case's image.
        image_key: of the image in dictionary transforms.
    """
    if isinstance(image, MetaTensor):
        return
    for transform in transforms:
        if is_one_of(transform, NEED_AFFINE) and image_key in getattr(transform, "keys", (image_key,)):
            raise ValueError(
                f"image must be a MetaTensor with its affine: the preprocessing's {type(transform).__name__} goes by "
                "the size and direction of its voxels, which a plain tensor does not hold. Where voxels of 1 mm are "
                "meant: MetaTensor(image, affine=torch.eye(4))."
            )


def follows(transform: Callable) -> bool:
    """Whether a transform is known to move voxels as its affine says, and to hand the affine on.

    Any transform may say so of itself: ``keeps_voxels = True`` says that it moves none.
    """
    if is_one_of(transform, CONVERTERS):
        return bool(getattr(getattr(transform, "converter", transform), "track_meta", True))
    if type(transform).__name__ in ("FixedNormalize", "FixedWindow", "OwnStatistics", "StraightThroughScale"):
        return True
    return getattr(transform, "keeps_voxels", False) or is_one_of(transform, (*SPATIAL, *INTENSITY))


def correction(transform: Callable, before: MetaTensor, apply: Callable[[Tensor], Tensor]) -> Tensor:
    """By what the affine after a transform must be multiplied, from the left, to say where the voxels came from.

    The identity for a transform that does as its affine says. One that drops the affine, or sets another one, and
    leaves voxels where they are, is undone by it.

    Args:
        transform: any.
        before: what it is given ``(C, *spatial)``.
        apply: the transform of such an image alone.

    Raises:
        ValueError: if it moves voxels otherwise; it is named.
    """
    after = apply(before.clone())
    if after.ndim != before.ndim:
        raise ValueError(
            f"preprocessing: {type(transform).__name__} must keep the axes of an image {tuple(before.shape)}, channel "
            f"first, got {tuple(after.shape)}."
        )
    there = _affine_of(after, len(before.shape) - 1)
    here = before.affine.to(there)
    undone = here @ torch.linalg.inv(there)
    still = after.shape[1:] == before.shape[1:]
    if still and is_one_of(transform, CONVERTERS):
        return undone
    known, shape = _FOUND.setdefault(transform, {}), tuple(before.shape)
    if shape not in known:
        known[shape] = _follows_its_affine(transform, before, after, apply, torch.linalg.inv(there) @ here, still)
    return torch.eye(len(here), dtype=here.dtype) if known[shape] else undone


def _follows_its_affine(
    transform: Callable,
    before: MetaTensor,
    after: Tensor,
    apply: Callable[[Tensor], Tensor],
    mapping: Tensor,
    still: bool,
) -> bool:
    """Probe blocks of voxels: True where each comes out where the affines say, False where each stays.

    Raises:
        ValueError: if one does neither.
    """
    dims, mapped = before.ndim - 1, True
    for place in (SHARES[turn:] + SHARES[:turn] for turn in range(3)):
        block = _block(place, before.shape[1:])
        found = _response(before, after, apply, block)
        if found is None:
            continue
        point = torch.ones(len(mapping), dtype=mapping.dtype)
        point[:dims] = torch.tensor([(part.start + part.stop - 1) / 2 for part in block])
        expected = (mapping @ point)[:dims]
        stays = still and _near(found, point[:dims])
        if not stays and _cut(block, expected, mapping, after.shape[1:]):
            continue  # half of it was cropped away, which says nothing of where the rest is
        still = stays
        mapped = mapped and _near(found, expected)
        if not (mapped or still):
            came, went = ([round(float(axis), 1) for axis in place] for place in (point[:dims], found))
            raise ValueError(
                f"preprocessing: {type(transform).__name__} moves voxels and its affine does not say so (those around "
                f"{came} of {tuple(before.shape[1:])} came out around {went} of {tuple(after.shape[1:])}): labels and "
                "decisions would lie elsewhere. Use MONAI's spatial transforms (Flip, Orientation, Rotate90, ...), "
                "which keep the affine right, or reorient where the image is loaded."
            )
    return mapped


def _near(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= NEAR)


def _cut(block: list[slice], expected: Tensor, mapping: Tensor, shape: Sequence[int]) -> bool:
    """Whether a block comes out astride the edge of the output."""
    dims = len(block)
    half = mapping[:dims, :dims].abs() @ torch.tensor([(part.stop - part.start) / 2 for part in block]).to(mapping)
    sizes = torch.tensor(shape).to(mapping)
    touched = (expected + half >= 0) & (expected - half <= sizes - 1)
    whole = (expected - half >= -0.5 - 1e-6) & (expected + half <= sizes - 0.5 + 1e-6)
    return bool(touched.all()) and not bool(whole.all())


def _block(place: tuple[float, ...], shape: Sequence[int]) -> list[slice]:
    """Voxels around a place: more than one, as a median needs to answer."""
    block = []
    for share, size in zip(place, shape, strict=False):
        width = 2 if size >= 12 else 1 if size >= 4 else 0
        center = min(max(int(share * size), width), size - 1 - width)
        block.append(slice(center - width, center + width + 1))
    return block


def _response(
    before: MetaTensor, after: Tensor, apply: Callable[[Tensor], Tensor], block: list[slice]
) -> Tensor | None:
    """The middle of those voxels of the output that answer most to a change of a block; None where none does."""
    index = (slice(None), *block)
    span = before.amax() - before.amin() + 1
    for change in (span, -span, span / 8, -span / 8):
        changed = before.clone()
        changed[index] = changed[index] + change
        moved = apply(changed)
        if moved.shape != after.shape:
            continue  # a crop that follows the image
        difference = (_plain(moved) - _plain(after)).abs().nan_to_num().sum(0)
        if bool(difference.any()):
            return (difference >= 0.25 * difference.max()).nonzero().double().mean(0).cpu()
    return None


def _affine_of(image: Tensor, dims: int) -> Tensor:
    return image.affine.double() if isinstance(image, MetaTensor) else torch.eye(max(dims, 3) + 1, dtype=torch.double)


def _plain(image: Tensor) -> Tensor:
    return (image.as_tensor() if isinstance(image, MetaTensor) else image).double()
