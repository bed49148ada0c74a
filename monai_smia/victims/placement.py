"""Where a transform puts voxels: by its affine, nowhere, or elsewhere without saying so."""

from __future__ import annotations

from collections.abc import Callable
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
PLACES = ((0.21, 0.37, 0.68), (0.74, 0.18, 0.41), (0.45, 0.83, 0.13))  # of probed voxels, as shares of the axes

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
    """Whether a transform is known to move voxels as its affine says, and to hand the affine on."""
    if is_one_of(transform, CONVERTERS):
        return bool(getattr(getattr(transform, "converter", transform), "track_meta", True))
    name = type(transform).__name__
    return name in ("FixedNormalize", "StraightThroughScale") or is_one_of(transform, (*SPATIAL, *INTENSITY))


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
    """Probe voxels: True where each comes out where the affines say, False where each stays.

    Raises:
        ValueError: if one does neither.
    """
    name, dims = type(transform).__name__, before.ndim - 1
    mapped, rounding = True, 0 if bool(torch.allclose(mapping, torch.eye(len(mapping)).to(mapping))) else 1
    for place in PLACES:
        source = torch.tensor([int(share * size) for share, size in zip(place, before.shape[1:], strict=False)])
        found = _response(before, after, apply, source)
        if found is None:
            continue
        point = torch.ones(len(mapping), dtype=mapping.dtype)
        point[:dims] = source.to(mapping)
        expected = (mapping @ point)[:dims]
        mapped = mapped and bool((found - expected).abs().max() <= rounding)
        still = still and bool(torch.equal(found, source.to(found)))
        if not (mapped or still):
            raise ValueError(
                f"preprocessing: {name} moves voxels and its affine does not say so (voxel {source.tolist()} of "
                f"{tuple(before.shape[1:])} came out at {found.long().tolist()} of {tuple(after.shape[1:])}): labels "
                "and decisions would lie elsewhere. Use MONAI's spatial transforms (Flip, Orientation, Rotate90, ...), "
                "which keep the affine right, or reorient where the image is loaded."
            )
    return mapped


def _response(before: MetaTensor, after: Tensor, apply: Callable[[Tensor], Tensor], source: Tensor) -> Tensor | None:
    """The voxel of the output that answers most to a change of one voxel; None where none does."""
    index = (slice(None), *source.tolist())
    for value in (before.amax(), before.amin(), before.amax() + 1):
        changed = before.clone()
        changed[index] = value
        moved = apply(changed)
        if moved.shape != after.shape:
            continue  # a crop that follows the image
        difference = (_plain(moved) - _plain(after)).abs().nan_to_num().sum(0)
        if bool(difference.any()):
            return torch.stack(torch.unravel_index(difference.argmax(), difference.shape)).double()
    return None


def _affine_of(image: Tensor, dims: int) -> Tensor:
    return image.affine.double() if isinstance(image, MetaTensor) else torch.eye(max(dims, 3) + 1, dtype=torch.double)


def _plain(image: Tensor) -> Tensor:
    return (image.as_tensor() if isinstance(image, MetaTensor) else image).double()
