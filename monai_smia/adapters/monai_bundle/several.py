"""Images of several files under keys of their own, which a later transform joins: attacked as one image."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, ConcatItemsd, EnsureChannelFirstd, LoadImaged, MapTransform
from monai.transforms.utils import allow_missing_keys_mode
from torch import Tensor

from monai_smia.victims.preprocessing import FrozenPreprocessing, as_plain

PARTS = "channels_of_files"  # in the metadata of a joined image: how many channels each of its files has


def joined(images: Sequence[MetaTensor]) -> MetaTensor:
    """Images ``(C, *spatial)`` of one grid as one, with the metadata of the first.

    Raises:
        ValueError: if they lie on different grids.
    """
    first = images[0]
    for number, image in enumerate(images[1:], 1):
        if image.shape[1:] != first.shape[1:] or not torch.allclose(image.affine, first.affine, atol=1e-3):
            raise ValueError(
                f"the files of an image lie on different grids: the first has {tuple(first.shape[1:])} voxels, number "
                f"{number} has {tuple(image.shape[1:])}, or voxels of another size, place or direction."
            )
    meta = {**first.meta, PARTS: [len(image) for image in images]}
    return MetaTensor(torch.cat([as_plain(image).float() for image in images]), meta=meta)


def parts_of(image: Tensor, counts: Sequence[int] | None = None) -> list[Tensor]:
    """The images that one was joined of."""
    counts = image.meta[PARTS] if counts is None and isinstance(image, MetaTensor) else counts
    assert counts is not None
    plain = as_plain(image).split(list(counts))
    return [MetaTensor(part, meta=image.meta) for part in plain] if isinstance(image, MetaTensor) else list(plain)


class EachPartd(MapTransform):
    """The steps that go over every image by itself, before they are joined, as a step of the joined image.

    Args:
        image_key: of the joined image.
        part_keys: of its parts, in their order.
        steps: transforms between loading and joining.
        like: the Compose that they are of, for its lazy mode.
    """

    keeps_voxels = True  # it hands on the affine of the first, which `FrozenPreprocessing` has looked at

    def __init__(
        self, image_key: Hashable, part_keys: Sequence[Hashable], steps: Sequence[Callable[..., Any]], like: Compose
    ) -> None:
        super().__init__(image_key)
        self.part_keys = tuple(part_keys)
        self.composes = {key: _compose(_of_key(steps, key), like) for key in self.part_keys}
        self.frozen: list[FrozenPreprocessing] | None = None
        self.intensity_slope: list[float] | None = None

    def fresh(self) -> EachPartd:
        """The same with transforms of its own, for another thread."""
        other = copy.copy(self)
        other.composes = {key: _compose(compose.transforms, compose) for key, compose in self.composes.items()}
        return other

    def frozen_on(self, image: Tensor, **options: Any) -> EachPartd:
        """The same with the steps of every part frozen on it, see `FrozenPreprocessing`."""
        known = copy.copy(self)
        counts, frozen, slopes = image.meta[PARTS], [], []  # type: ignore[attr-defined]  # a MetaTensor
        for key, part in zip(self.part_keys, parts_of(image, counts), strict=True):
            frozen.append(FrozenPreprocessing(self.composes[key], part, str(key), **options))
        known.frozen = frozen
        try:
            for each in frozen:
                slopes += each.intensity_scales.tolist()
            known.intensity_slope = slopes
        except ValueError:  # a step of no one slope, which is told where a slope is asked for
            known.intensity_slope = None
        return known

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """The data with the joined image, every part of which has gone its steps."""
        (image_key,) = self.keys
        image = data[image_key]
        parts = parts_of(image)
        if self.frozen is not None:
            done: list[Any] = [frozen(as_plain(part)) for frozen, part in zip(self.frozen, parts, strict=True)]
            affine: Any = self.frozen[0].affine
        else:
            done = [self._alone(key, part) for key, part in zip(self.part_keys, parts, strict=True)]
            affine = getattr(done[0], "affine", image.affine)
        meta = {name: value for name, value in image.meta.items() if name not in (PARTS, "affine")}
        return {**data, image_key: MetaTensor(torch.cat([as_plain(p) for p in done]), affine=affine, meta=meta)}

    def _alone(self, key: Hashable, part: Tensor) -> Any:
        compose = self.composes[key]
        known = [t for t in compose.transforms if isinstance(t, MapTransform)]
        if not known:
            return part
        with allow_missing_keys_mode(Compose(known)):
            return compose({key: part})[key]


class HandOver:
    """In the place of a LoadImaged: hands images over by their keys, and loads all else as that does.

    Args:
        loader: whose place it takes.
        images: by their keys.
    """

    def __init__(self, loader: LoadImaged, images: Mapping[Hashable, MetaTensor]) -> None:
        self.loader = loader
        self.images = images

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The data, loaded, with the images that are handed over."""
        others = copy.copy(self.loader)
        kept = [i for i, key in enumerate(self.loader.keys) if key not in self.images]
        for name in ("keys", "meta_keys", "meta_key_postfix"):
            setattr(others, name, tuple(getattr(self.loader, name)[i] for i in kept))
        rest = {key: value for key, value in data.items() if key not in self.images}
        loaded = {**(others(rest) if kept else rest), **self.images}
        if not self.loader._loader.image_only:
            for key, image in self.images.items():
                number = self.loader.keys.index(key)
                name = self.loader.meta_keys[number] or f"{key}_{self.loader.meta_key_postfix[number]}"
                loaded[name] = dict(image.meta)
        return loaded


def joins(transforms: Sequence[Callable[..., Any]], image_key: str) -> ConcatItemsd | None:
    """The transform that puts the image together, if one does."""
    return next((t for t in transforms if isinstance(t, ConcatItemsd) and t.name == image_key), None)


def loaders_of(transforms: Sequence[Callable[..., Any]], keys: Sequence[Hashable]) -> list[LoadImaged]:
    """What loads the keys: one transform, or several.

    Raises:
        ValueError: if a key is not loaded by one.
    """
    found = []
    for key in keys:
        loaders = [t for t in transforms if isinstance(t, LoadImaged) and key in t.keys]
        if len(loaders) != 1:
            raise ValueError(f"preprocessing must load {key!r} with one LoadImaged, got {len(loaders)}.")
        found += [loader for loader in loaders if loader not in found]
    return found


def _of_key(steps: Sequence[Callable[..., Any]], key: Hashable) -> list[Callable[..., Any]]:
    of_key = [t for t in steps if not isinstance(t, MapTransform) or key in t.keys]
    return [t for t in of_key if not isinstance(t, (LoadImaged, EnsureChannelFirstd))]


def _compose(steps: Sequence[Callable[..., Any]], like: Compose) -> Compose:
    return Compose([copy.copy(t) for t in steps], lazy=like.lazy, overrides=like.overrides)
