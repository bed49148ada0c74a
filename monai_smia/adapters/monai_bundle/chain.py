"""A dataset's transforms: run as they are, with an image handed over behind its loader, and as a twin sees them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, ConcatItemsd, EnsureChannelFirst, EnsureChannelFirstd, LoadImaged, MapTransform
from monai.transforms.traits import RandomizableTrait
from torch import Tensor

from monai_smia.adapters.monai_bundle.grids import affine_of
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
    """

    compose: Compose
    image_key: str
    loader: LoadImaged | None
    twin: tuple[Callable[..., Any], ...]
    source_keys: tuple[Hashable, ...] = ()

    def source(self, item: Mapping[Any, Any]) -> Any:
        """The file of an item's image, or its files."""
        return [item[key] for key in self.source_keys] if self.source_keys else item[self.image_key]

    def read(self, source: Any) -> MetaTensor:
        """An image ``(C, *spatial)`` as its loader gives it, its channels first."""
        parts = [str(part) for part in source] if isinstance(source, (list, tuple)) else str(source)
        return self._channel_first(self._loaded(parts))

    def run(self, item: Mapping[Any, Any], image: Tensor | None = None) -> dict[Any, Any]:
        """The item through all transforms.

        Args:
            item: of the dataset.
            image: ``(C, *spatial)`` to hand over behind the loader, in the place of the item's own file.
        """
        if image is None:
            return self._checked(self.compose(dict(item)))
        assert self.loader is not None
        loaded = self._loaded(item[self.image_key])
        handed = MetaTensor(self._as_loaded(as_plain(image), loaded), meta=loaded.meta, applied_operations=[])
        return self._checked(
            _with(self.compose, self.loader, _HandOver(self.loader, self.image_key, handed))(dict(item))
        )

    def random_steps(self) -> list[str]:
        """Names of the transforms that draw at random."""
        return [type(t).__name__ for t in leaves(self.compose) if isinstance(t, RandomizableTrait)]

    def first_difference(self, item: Mapping[Any, Any], image: MetaTensor) -> str | None:
        """The first step after which an image that goes alone is another than one that goes with its item.

        Args:
            item: of the dataset.
            image: its image ``(C, *spatial)``, as `read` gives it.
        """
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

    def _loaded(self, source: Any) -> MetaTensor:
        assert self.loader is not None
        loaded = self.loader._loader(source)
        return loaded if self.loader._loader.image_only else loaded[0]

    def _channel_axis(self, loaded: MetaTensor) -> int | None:
        """Where the channels of a loaded image are; None where it has none."""
        assert self.loader is not None
        if self.loader._loader.ensure_channel_first:
            return 0
        axis = loaded.meta.get("original_channel_dim")
        for t in leaves(self.compose):
            if isinstance(t, EnsureChannelFirstd) and self.image_key in t.keys:
                axis = axis if t.adjuster.input_channel_dim is None else t.adjuster.input_channel_dim
                break
        return None if axis is None or axis == "no_channel" or axis != axis else int(axis)

    def _channel_first(self, loaded: MetaTensor) -> MetaTensor:
        axis = self._channel_axis(loaded)
        if axis == 0:
            return loaded
        first: Any = EnsureChannelFirst(channel_dim="no_channel" if axis is None else axis)(loaded)
        return first

    def _as_loaded(self, image: Tensor, loaded: MetaTensor) -> Tensor:
        """The image in the order of axes and, where it is floating point, the type that the loader gives."""
        axis = self._channel_axis(loaded)
        moved = image[0] if axis is None else image.moveaxis(0, axis)
        if moved.shape != loaded.shape:
            raise ValueError(
                f"image {tuple(moved.shape)} must have the shape that its loader gives, {tuple(loaded.shape)}."
            )
        moved = moved.to(loaded.device)
        return moved.to(loaded.dtype) if loaded.is_floating_point() else moved.float()


class _HandOver:
    """In the place of a LoadImaged: hands an image over, and loads all else as that does."""

    def __init__(self, loader: LoadImaged, key: str, image: MetaTensor) -> None:
        self.loader = loader
        self.key = key
        self.image = image

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        others = copy.copy(self.loader)
        kept = [i for i, key in enumerate(self.loader.keys) if key != self.key]
        for name in ("keys", "meta_keys", "meta_key_postfix"):
            setattr(others, name, tuple(getattr(self.loader, name)[i] for i in kept))
        rest = {key: value for key, value in data.items() if key != self.key}
        loaded = dict(others(rest)) if kept else rest
        loaded[self.key] = self.image
        if not self.loader._loader.image_only:
            number = self.loader.keys.index(self.key)
            name = self.loader.meta_keys[number] or f"{self.key}_{self.loader.meta_key_postfix[number]}"
            loaded[name] = dict(self.image.meta)
        return loaded


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
    source_keys = next((t.keys for t in transforms if isinstance(t, ConcatItemsd) and t.name == image_key), ())
    if not source_keys and image_key not in item:
        source_keys = _joined_by_others(transforms, item, label_key)
    missing = [key for key in source_keys or (image_key,) if key not in item]
    if missing:
        raise ValueError(
            f"items have no {missing[0]!r}, only {sorted(map(str, item))}: say which with --attack#image_key."
        )
    loaders = [t for t in transforms if isinstance(t, LoadImaged) and image_key in t.keys]
    if source_keys:
        return Chain(compose, image_key, None, (), tuple(source_keys))
    if len(loaders) != 1:
        names = ", ".join(type(t).__name__ for t in transforms) or "none"
        raise ValueError(
            f"preprocessing must load the image {image_key!r} with one LoadImaged, got the transforms: {names}; say "
            "which key the image has with --attack#image_key."
        )
    behind = transforms[transforms.index(loaders[0]) + 1 :]
    twin = [
        t
        for t in behind
        if not (isinstance(t, MapTransform) and image_key not in getattr(t, "keys", (image_key,)))  # some forget them
        and not (isinstance(t, EnsureChannelFirstd) and image_key in t.keys)
    ]
    return Chain(compose, image_key, loaders[0], tuple(twin))


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
