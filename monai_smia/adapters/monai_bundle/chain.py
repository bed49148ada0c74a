"""A dataset's transforms: run as they are, with an image handed over behind its loader, and as a twin sees them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from monai.apps.vista3d.transforms import VistaPreTransformd
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    ConcatItemsd,
    CropForeground,
    EnsureChannelFirst,
    EnsureChannelFirstd,
    LoadImaged,
    MapTransform,
    NormalizeIntensity,
)
from monai.transforms.traits import RandomizableTrait
from torch import Tensor

from monai_smia.adapters.monai_bundle.grids import affine_of
from monai_smia.adapters.monai_bundle.several import EachPartd, HandOver, joined, joins, loaders_of, parts_of
from monai_smia.victims.freezing import array_of, is_of_statistics
from monai_smia.victims.preprocessing import as_plain


@dataclass(frozen=True)
class Chain:
    """The transforms of a bundle's dataset.

    Args:
        compose: all of them, in their own order; this alone makes figures.
        image_key: key of the image.
        loader: what loads the image; None where it is put together from several keys.
        twin: what the differentiable twin holds of them: all that touch the image behind its loader.
        source_keys: keys that the image is put together from, where it has no file of its own.
        loaders: what loads these.
        apart: why an image of several keys cannot be taken for one; empty where it can.
    """

    compose: Compose
    image_key: str
    loader: LoadImaged | None
    twin: tuple[Callable[..., Any], ...]
    source_keys: tuple[Hashable, ...] = ()
    loaders: tuple[LoadImaged, ...] = ()
    apart: str = ""

    def steps(self, first: Sequence[Callable[..., Any]] = ()) -> Compose:
        """What the twin holds, behind other steps, lazy where the bundle's Compose is."""
        return Compose([*first, *self.twin], lazy=self.compose.lazy, overrides=self.compose.overrides)

    def follows_the_image(self) -> bool:
        """Whether a step goes by statistics of the very image, so that every case has a scale of its own."""
        return any(is_of_statistics(step) for step in self._single_steps())

    def goes_by_zeros(self) -> bool:
        """Whether a step tells the background by its zeros: statistics of what is not 0, or a crop beside any."""
        steps = [array_of(step) for step in self._single_steps()]
        crops = any(isinstance(step, CropForeground) for step in steps) and self.follows_the_image()
        return crops or any(isinstance(step, NormalizeIntensity) and step.nonzero for step in steps)

    def _single_steps(self) -> list[Callable[..., Any]]:
        each = next((step for step in self.twin if isinstance(step, EachPartd)), None)
        parts = [t for compose in each.composes.values() for t in compose.transforms] if each else []
        return [*self.twin, *parts]

    def source(self, item: Mapping[Any, Any]) -> Any:
        """The file of an item's image, or its files."""
        return [item[key] for key in self.source_keys] if self.source_keys else item[self.image_key]

    def read(self, source: Any) -> MetaTensor:
        """An image ``(C, *spatial)`` as its loader gives it, its channels first; one of several keys is joined."""
        if self.source_keys:
            pairs = zip(self.source_keys, source, strict=True)
            return joined([self._channel_first(self._loaded(str(file), key), key) for key, file in pairs])
        parts = [str(part) for part in source] if isinstance(source, (list, tuple)) else str(source)
        return self._channel_first(self._loaded(parts))

    def read_one(self, file: Any) -> MetaTensor:
        """One file ``(C, *spatial)``, of an image of several the first."""
        key = self.source_keys[0] if self.source_keys else None
        return self._channel_first(self._loaded(str(file), key), key)

    def run(self, item: Mapping[Any, Any], image: Tensor | None = None) -> dict[Any, Any]:
        """The item through all transforms.

        Args:
            item: of the dataset.
            image: ``(C, *spatial)`` to hand over behind the loader, in the place of the item's own file.
        """
        if image is None:
            return self._checked(self.compose(dict(item)))
        compose, keys = self.compose, self.source_keys or (self.image_key,)
        loaded = {key: self._loaded(item[key], key) for key in keys}
        counts = [len(self._channel_first(each, key)) for key, each in loaded.items()]
        voxels = as_plain(image).clone()  # into which some of MONAI's steps write
        parts = parts_of(voxels, counts) if self.source_keys else [voxels]
        handed = {
            key: MetaTensor(self._as_loaded(part, each, key), meta=each.meta, applied_operations=[])
            for (key, each), part in zip(loaded.items(), parts, strict=True)
        }
        for loader in self.loaders:
            own = {key: value for key, value in handed.items() if key in loader.keys}
            compose = _with(compose, loader, HandOver(loader, own))
        return self._checked(compose(dict(item)))

    def with_files(self, item: Mapping[Any, Any], files: Sequence[str]) -> dict[Any, Any]:
        """The item with other files in the place of its image's, in their order."""
        if self.source_keys:
            return {**item, **dict(zip(self.source_keys, files, strict=True))}
        several = isinstance(item[self.image_key], (list, tuple)) and len(files) > 1
        return {**item, self.image_key: list(files) if several else files[0]}

    def random_steps(self) -> list[str]:
        """Names of the transforms that draw at random."""
        return [type(t).__name__ for t in leaves(self.compose) if isinstance(t, RandomizableTrait)]

    def first_difference(self, item: Mapping[Any, Any], image: Tensor) -> str | None:
        """The first step after which an image that goes alone is another than one that goes with its item.

        Args:
            item: of the dataset.
            image: its image ``(C, *spatial)``, as `read` gives it.
        """
        if self.source_keys:  # its steps go over several images
            return None
        steps, whole = list(leaves(self.compose)), dict(item)
        alone: dict[Any, Any] = {self.image_key: image}
        for step in steps:
            try:
                whole = dict(Compose([step], lazy=self.compose.lazy)(whole))
                if step in self.twin:
                    alone = dict(Compose([step], lazy=self.compose.lazy)(alone))
            except Exception:  # it goes by what is not there when the image goes alone
                return type(step).__name__
            ours, theirs = (as_plain(value[self.image_key]) for value in (alone, whole))
            if step in self.twin and (ours.shape != theirs.shape or not torch.allclose(ours.float(), theirs.float())):
                return type(step).__name__
        return None

    def loses_affine(self, item: Mapping[Any, Any]) -> str | None:
        """The step after which nothing says any more where the image of an item lies; None where that is known."""
        whole, known = dict(item), False
        for step in leaves(self.compose):
            whole = dict(Compose([step], lazy=self.compose.lazy)(whole))
            before, known = known, affine_of(whole.get(self.image_key)) is not None
            if before and not known:
                return type(step).__name__
        return None

    def _checked(self, output: Any) -> dict[Any, Any]:
        if not isinstance(output, Mapping) or self.image_key not in output:
            raise ValueError(f"preprocessing must give one item with {self.image_key!r}, got {type(output).__name__}.")
        return dict(output)

    def _loader_of(self, key: Hashable | None) -> LoadImaged:
        key = self.image_key if key is None else key
        return next(loader for loader in self.loaders if key in loader.keys)

    def _loaded(self, source: Any, key: Hashable | None = None) -> MetaTensor:
        load = self._loader_of(key)._loader
        loaded = load(source)
        return loaded if load.image_only else loaded[0]

    def _channel_axis(self, loaded: MetaTensor, key: Hashable | None = None) -> int | None:
        """Where the channels of a loaded image are; None where it has none."""
        if self._loader_of(key)._loader.ensure_channel_first:
            return 0
        axis = loaded.meta.get("original_channel_dim")
        for t in leaves(self.compose):
            if isinstance(t, EnsureChannelFirstd) and (self.image_key if key is None else key) in t.keys:
                axis = axis if t.adjuster.input_channel_dim is None else t.adjuster.input_channel_dim
                break
        return None if axis is None or axis == "no_channel" or axis != axis else int(axis)

    def _channel_first(self, loaded: MetaTensor, key: Hashable | None = None) -> MetaTensor:
        axis = self._channel_axis(loaded, key)
        if axis == 0:
            return loaded
        first: Any = EnsureChannelFirst(channel_dim="no_channel" if axis is None else axis)(loaded)
        return first

    def _as_loaded(self, image: Tensor, loaded: MetaTensor, key: Hashable | None = None) -> Tensor:
        """The image in the order of axes and, where it is floating point, the type that the loader gives."""
        axis = self._channel_axis(loaded, key)
        moved = image[0] if axis is None else image.moveaxis(0, axis)
        if moved.shape != loaded.shape:
            raise ValueError(
                f"image {tuple(moved.shape)} must have the shape that its loader gives, {tuple(loaded.shape)}."
            )
        moved = moved.to(loaded.device)
        return moved.to(loaded.dtype) if loaded.is_floating_point() else moved.float()


def chain_of(transform: Any, image_key: str, item: Mapping[Any, Any], label_key: str = "label") -> Chain:
    """The transforms of a dataset.

    Args:
        transform: of the dataset.
        image_key: key of the image.
        item: one of the dataset's.
        label_key: key of the label.

    Raises:
        ValueError: if they do not load the image by a dictionary transform, or items have none.
    """
    compose = transform if isinstance(transform, Compose) else Compose(transform)
    transforms = list(leaves(compose))
    join = joins(transforms, image_key)
    source_keys: tuple[Hashable, ...] = tuple(join.keys) if join is not None else ()
    if join is None and image_key not in item:
        source_keys = _joined_by_others(transforms, item, label_key)
    missing = [key for key in source_keys or (image_key,) if key not in item]
    if missing:
        raise ValueError(
            f"items have no {missing[0]!r}, only {sorted(map(str, item))}: say which with --attack#image_key."
        )
    loaders = [t for t in transforms if isinstance(t, LoadImaged) and image_key in t.keys]
    if join is not None:
        return _of_several(compose, transforms, image_key, join)
    if source_keys:
        apart = "a transform of the bundle's own joins them."
        return Chain(compose, image_key, None, (), tuple(source_keys), apart=apart)
    if len(loaders) != 1:
        names = ", ".join(type(t).__name__ for t in transforms) or "none"
        raise ValueError(
            f"preprocessing must load the image {image_key!r} with one LoadImaged, got the transforms: {names}; say "
            "which key the image has with --attack#image_key."
        )
    behind = transforms[transforms.index(loaders[0]) + 1 :]
    return Chain(compose, image_key, loaders[0], _touching(behind, image_key), loaders=(loaders[0],))


def _touching(transforms: Sequence[Callable[..., Any]], key: str) -> tuple[Callable[..., Any], ...]:
    """What goes over the image of a key, once its channels are first."""
    return tuple(
        t
        for t in transforms
        if not isinstance(t, VistaPreTransformd)  # of the prompts, whatever its keys
        and not (isinstance(t, MapTransform) and key not in getattr(t, "keys", (key,)))  # some forget them
        and not (isinstance(t, EnsureChannelFirstd) and key in t.keys)
    )


def _of_several(
    compose: Compose, transforms: Sequence[Callable[..., Any]], image_key: str, join: ConcatItemsd
) -> Chain:
    """The chain of an image that is put together from several keys."""
    keys, place = tuple(join.keys), transforms.index(join)
    chain = Chain(compose, image_key, None, (), keys)
    try:
        loaders = loaders_of(transforms[:place], keys)
    except ValueError as error:
        return replace(chain, apart=str(error))
    if join.dim != 0:
        return replace(chain, apart=f"ConcatItemsd joins along axis {join.dim}, which is not that of the channels.")
    behind = transforms[max(transforms.index(loader) for loader in loaders) + 1 : place]
    each = EachPartd(image_key, keys, behind, compose)
    twin: tuple[Callable[..., Any], ...] = (each, *_touching(transforms[place + 1 :], image_key))
    return replace(chain, twin=twin, loaders=tuple(loaders))


def _joined_by_others(
    transforms: Sequence[Callable[..., Any]], item: Mapping[Any, Any], label_key: str
) -> tuple[Hashable, ...]:
    """The keys of several images that a transform of the bundle's own makes into one; none where nothing is loaded.

    That the image is there in the end is looked at when a case goes through.
    """
    loaded = [key for t in transforms if isinstance(t, LoadImaged) for key in t.keys]
    keys = tuple(key for key in dict.fromkeys(loaded) if key in item and key != label_key)
    return keys if len(keys) > 1 else ()


def leaves(compose: Compose) -> Iterator[Callable[..., Any]]:
    """The transforms of a Compose and of those in it, in their order."""
    for t in compose.transforms:
        if type(t) is Compose:
            yield from leaves(t)
        else:
            yield t


def _with(compose: Compose, old: Callable[..., Any], new: Callable[..., Any]) -> Compose:
    """A Compose with one transform in the place of another; all others are the same objects, which Invertd needs."""
    other = copy.copy(compose)
    other.transforms = tuple(
        _with(t, old, new) if type(t) is Compose else new if t is old else t for t in compose.transforms
    )
    return other
