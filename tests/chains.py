"""Preprocessing chains and the images that they are made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import (
    CastToTyped,
    Compose,
    CropForeground,
    CropForegroundd,
    DivisiblePad,
    DivisiblePadd,
    EnsureTyped,
    GaussianSmooth,
    Orientation,
    Orientationd,
    Resize,
    ScaleIntensityRange,
    ScaleIntensityRanged,
    Spacing,
    Spacingd,
    SpatialPad,
    SpatialPadd,
)
from torch import Tensor

AFFINE = torch.tensor([[-1.5, 0, 0, 40], [0, 0, 2.5, -30], [0, 1.0, 0, 7], [0, 0, 0, 1]], dtype=torch.float64)
OTHER = torch.diag(torch.tensor([1.5, 1.0, 2.5, 1.0], dtype=torch.float64))
PIXDIM = (2.0, 1.5, 2.0)


def positive(image: Tensor) -> Tensor:
    return image > 0.1


def array_chain(clip: bool = True) -> list[Callable]:
    return [
        Orientation("RAS", labels=None),
        Spacing(PIXDIM, mode="bilinear"),
        ScaleIntensityRange(-1000, 400, 0, 1, clip=clip),
        CropForeground(select_fn=positive, margin=1),
        DivisiblePad(4),
    ]


def dictionary_chain() -> list[Callable]:
    keys = ["image", "label"]  # as training configurations have it; the label is not there
    return [
        EnsureTyped(keys),
        Orientationd(keys, "RAS", labels=None),
        Spacingd(keys, PIXDIM, mode=("bilinear", "nearest")),
        ScaleIntensityRanged("image", -1000, 400, 0, 1, clip=True),
        CropForegroundd(keys, source_key="image", select_fn=positive, margin=1, allow_smaller=True),
        SpatialPadd(keys, (24, 24, 24)),
        DivisiblePadd(keys, 4),
        CastToTyped("image", torch.float32),
    ]


CHAINS: dict[str, Callable[[], Compose]] = {
    "array": lambda: Compose(array_chain()),
    "array lazy": lambda: Compose(array_chain(), lazy=True),
    "dictionary": lambda: Compose(dictionary_chain()),
    "dictionary lazy": lambda: Compose(dictionary_chain(), lazy=True),
    "nested": lambda: Compose([Compose(array_chain()[:2]), Compose(array_chain()[2:])]),
    "resize and smooth": lambda: Compose(
        [Orientation("LPS", labels=None), Resize((12, 16, 20), mode="trilinear"), GaussianSmooth(1.0), SpatialPad(24)]
    ),
}


def body(shape: Sequence[int] = (20, 14, 18), affine: Tensor = AFFINE, channels: int = 1, seed: int = 0) -> MetaTensor:
    """A smooth ellipsoid in HU in air, off the middle."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = sum(((a - 0.1 * i) / 0.7) ** 2 for i, a in enumerate(axes))
    waves = sum(torch.sin(3 * a + i) for i, a in enumerate(axes)) * 60
    image = torch.where(radius < 1, waves + 40 * radius, -1000.0)  # type: ignore[arg-type]
    noise = 10 * torch.rand(channels, *shape, generator=generator)
    return MetaTensor(image.expand(channels, *shape) + noise, affine=affine)


def apply(compose: Any, image: MetaTensor) -> MetaTensor:
    """The plain chain, as deployed."""
    image = MetaTensor(image.as_tensor().clone(), meta=image.meta)
    dictionary = any(hasattr(t, "keys") for t in compose.flatten().transforms)
    if not dictionary:
        return compose(image)
    label = MetaTensor(torch.zeros_like(image.as_tensor()), meta=image.meta)
    return compose({"image": image, "label": label})["image"]


def with_background() -> Tensor:
    """Two channels of different contrast, a part of them exactly zero."""
    image = body(channels=2).as_tensor().clamp_min(0).clone()
    image[1] *= 3
    return image


def batch_of(images: Sequence[MetaTensor]) -> MetaTensor:
    return list_data_collate([{"image": image} for image in images])["image"]
