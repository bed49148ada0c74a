"""What lies between an image and a network that is nothing but a file: preprocessing and window, as they are given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.inferers import Inferer, SlidingWindowInferer
from monai.transforms import Compose, LoadImage, LoadImaged, Orientationd, ScaleIntensityRanged, Spacingd

KEY = "image"
BLENDS = ("constant", "gaussian")


def preprocessing_of(
    *,
    orientation: str | None = None,
    spacing: Sequence[float] | None = None,
    window: Sequence[float] | None = None,
    config: str | Path | None = None,
) -> Compose | None:
    """The transforms between an image as it is stored and the network; None where there are none.

    Args:
        orientation: axes by `Orientation`, such as ``"RAS"``, or ``"SPL"`` where the network wants the slices first.
        spacing: voxel size in mm, along the axes as they are then.
        window: of intensities, in the unit of the images: from 0 to 1, clipped.
        config: a MONAI config file (JSON, YAML) whose id ``preprocessing`` is a Compose, or a list of transforms, of
            the key ``"image"`` or of arrays, in the place of all the others.

    Raises:
        ValueError: if an argument is outside its range, or the config holds no such id.

    Example:
        >>> chain = preprocessing_of(window=[-1000, 400], orientation="RAS")
        >>> [type(transform).__name__ for transform in chain.transforms]
        ['Orientationd', 'ScaleIntensityRanged']
    """
    if config is not None:
        if any(given is not None for given in (orientation, spacing, window)):
            raise ValueError("preprocessing must be all there is: leave out orientation, spacing and window.")
        return _from_config(Path(config))
    steps: list[Any] = []
    if orientation is not None:
        if sorted(map(_axis, orientation.upper())) not in ([0, 1], [0, 1, 2]):
            raise ValueError(f"orientation must name every axis once, such as RAS, got {orientation!r}.")
        steps.append(Orientationd(KEY, axcodes=orientation.upper(), labels=None))
    if spacing is not None:
        if len(spacing) not in (1, 2, 3) or not all(float(size) > 0 for size in spacing):
            raise ValueError(f"spacing must be one to three sizes in mm, above 0, got {list(spacing)}.")
        sizes = [float(size) for size in spacing]
        steps.append(Spacingd(KEY, pixdim=sizes * 3 if len(sizes) == 1 else sizes, mode="bilinear"))
    if window is not None:
        low, high = (float(end) for end in window) if len(window) == 2 else (0.0, 0.0)
        if not low < high:
            raise ValueError(f"window must be two intensities, the lower one first, got {list(window)}.")
        steps.append(ScaleIntensityRanged(KEY, low, high, 0.0, 1.0, clip=True))
    return Compose(steps) if steps else None


def _axis(letter: str) -> int:
    return next((number for number, pair in enumerate(("LR", "PA", "IS")) if letter in pair), -1)


def _from_config(path: Path) -> Compose:
    if not path.is_file():
        raise ValueError(f"preprocessing {path} does not exist: it is a MONAI config with the id preprocessing.")
    parser = ConfigParser()
    parser.read_config(str(path))
    ids: Any = parser.config
    if "preprocessing" not in parser:
        raise ValueError(f"{path.name} must have the id preprocessing, got {sorted(map(str, ids))}.")
    found = parser.get_parsed_content("preprocessing")
    compose = found if isinstance(found, Compose) else Compose(found)
    for transform in compose.flatten().transforms:
        if isinstance(transform, (LoadImage, LoadImaged)):
            raise ValueError(f"{path.name} must leave out {type(transform).__name__}: images are loaded already.")
    return compose


def inferer_of(roi: Sequence[int] | None, *, overlap: float = 0.25, blend: str = "constant") -> Inferer | None:
    """The sliding window, as MONAI's; None for whole images.

    Args:
        roi: size of the window in voxels; one number for all axes.
        overlap: of windows, as a share of their size.
        blend: ``"constant"`` or ``"gaussian"``: how windows are weighted where they overlap.

    Raises:
        ValueError: if an argument is outside its range.
    """
    if roi is None:
        return None
    sizes = [int(size) for size in roi]
    if len(sizes) not in (1, 2, 3) or any(size < 1 for size in sizes):
        raise ValueError(f"roi must be one to three sizes in voxels, at least 1, got {list(roi)}.")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be at least 0 and below 1, got {overlap}.")
    if blend not in BLENDS:
        raise ValueError(f"blend must be one of {BLENDS}, got {blend!r}.")
    size: Any = sizes[0] if len(sizes) == 1 else sizes
    return SlidingWindowInferer(size, sw_batch_size=1, overlap=overlap, mode=blend)
