"""One algorithm's differentiable twin on one image: its transforms, network, window, and all the way back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, MapTransform, NormalizeIntensityd
from monai.transforms.utils import allow_missing_keys_mode
from torch import Tensor

from monai_smia.adapters.auto3dseg.algorithm import IMAGE, Algorithm
from monai_smia.adapters.monai_bundle.chain import Chain, leaves
from monai_smia.adapters.monai_bundle.several import PARTS, parts_of
from monai_smia.victims.in_place import protected
from monai_smia.victims.own_statistics import DIFFERENTIATE, OwnStatistics
from monai_smia.victims.placement import follows
from monai_smia.victims.preprocessing import FrozenPreprocessing, as_plain

TINY = torch.finfo(torch.float32).tiny
CERTAIN = 1e-7  # of probabilities of single channels, whose logits are limited
OUTSIDE = 20.0  # logit of the background where nothing was looked at


class Member:
    """One of the algorithms of a victim.

    Args:
        algorithm: whose parts it is made of.
        chain: its transforms.
        straight_through: let the gradient through where an intensity window clips.
    """

    def __init__(self, algorithm: Algorithm, chain: Chain, *, straight_through: bool = False) -> None:
        self.name, self.network, self.inferer = algorithm.name, algorithm.network, algorithm.inferer()
        self.activates_first, self.activated = algorithm.activates_first, algorithm.activated
        self.straight_through = straight_through
        several = bool(chain.source_keys)
        behind = _behind_loading(chain)
        self.way = Compose(behind)  # of the clean image, which the way back is told by
        self.steps = (
            Compose([OverPartsd(chain.source_keys, behind)]) if several else Compose([_known(t) for t in chain.twin])
        )
        self.keys: Sequence[Any] = chain.source_keys or (IMAGE,)

    def on(self, image: MetaTensor) -> OnImage:
        """The same on a clean image ``(C, *spatial)``."""
        return OnImage(self, image)


class OnImage:
    """A member with what it decides of a clean image: its crop, and how its grid lies to that of the image.

    Args:
        member: the member.
        image: clean ``(C, *spatial)``, as its loader gives it.
    """

    def __init__(self, member: Member, image: MetaTensor) -> None:
        self.member = member
        self.frozen = FrozenPreprocessing(
            member.steps, image, straight_through=member.straight_through, statistics=DIFFERENTIATE
        )
        with torch.no_grad():
            parts = parts_of(image) if len(member.keys) > 1 else [image]
            data = {
                key: MetaTensor(as_plain(part).clone(), meta=image.meta, applied_operations=[])
                for key, part in zip(member.keys, parts, strict=True)
            }
            self.seen: MetaTensor = _called(member.way, data)[IMAGE]

    def probabilities(self, image: Tensor) -> Tensor:
        """Probabilities ``(K, *spatial)`` on the image's grid, as the algorithm's `infer` gives them, differentiably.

        Args:
            image: ``(C, *spatial)``, plain.
        """
        member = self.member
        with protected(member.network, self.frozen(image)[None], windows=True) as seen:
            output = member.inferer(seen, member.network)
        logits = as_plain(output[0] if isinstance(output, (list, tuple)) else output)[0]
        if member.activates_first:
            return self._back(member.activated(logits))
        return member.activated(self._back(logits))

    def _back(self, value: Tensor) -> Tensor:
        """From the network's grid to the image's, by the inverse of the algorithm's own transforms."""
        operations = copy.deepcopy(self.seen.applied_operations)
        known = MetaTensor(value, meta=copy.deepcopy(self.seen.meta), applied_operations=operations)
        with allow_missing_keys_mode(self.member.way):
            inverted: Tensor = self.member.way.inverse({IMAGE: known})[IMAGE]
        return torch.as_tensor(as_plain(inverted))


class OverPartsd(MapTransform):
    """The steps of an image of several files, which go by one another, as one step of the joined image.

    Args:
        part_keys: of the files, in their order.
        steps: behind their loading.
    """

    keeps_voxels = True  # where they go is told by the steps themselves, in `OnImage`
    intensity_slope: list[float] | None = None  # every file may have its own

    def __init__(self, part_keys: Sequence[Any], steps: Sequence[Callable[..., Any]]) -> None:
        super().__init__(IMAGE)
        self.part_keys = tuple(part_keys)
        self.compose = Compose([_differentiable(step) for step in steps])

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """The data with the image that the network is given."""
        image = data[IMAGE]
        parts = dict(zip(self.part_keys, parts_of(image), strict=True))
        meta = {name: value for name, value in image.meta.items() if name != PARTS}
        done = _called(self.compose, {key: MetaTensor(as_plain(part), meta=meta) for key, part in parts.items()})
        return {**data, IMAGE: done[IMAGE]}


def logits_of(probabilities: Tensor, *, sigmoid: bool) -> Tensor:
    """Probabilities ``(K, ...)`` as logits that decide alike; where all are 0 nothing was looked at.

    Example:
        >>> logits_of(torch.tensor([[0.25, 0.0], [0.75, 0.0]]), sigmoid=False).softmax(0)[1].round(decimals=3).tolist()
        [0.75, 0.0]
    """
    if sigmoid:
        return torch.logit(probabilities, eps=CERTAIN)
    outside = (probabilities == 0).all(0)
    background = torch.full_like(probabilities, -OUTSIDE)
    background[0] = OUTSIDE
    return torch.where(outside, background, probabilities.clamp_min(TINY).log())


def _behind_loading(chain: Chain) -> list[Callable[..., Any]]:
    """All steps but those that load, and what puts channels first, as the loader is asked to here."""
    return [t for t in leaves(chain.compose) if not isinstance(t, (LoadImaged, EnsureChannelFirstd))]


def _known(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step of which nothing is to be found out: where it puts voxels is undone as the algorithm undoes it."""
    if follows(step):
        return step
    step = copy.copy(step)
    step.keeps_voxels = True  # type: ignore[attr-defined]  # which `FrozenPreprocessing` asks for
    return step


def _differentiable(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step whose statistics have a gradient."""
    if not isinstance(step, NormalizeIntensityd):
        return step
    step = copy.copy(step)
    step.normalizer = OwnStatistics(step.normalizer)  # type: ignore[assignment]  # which does the same
    return step


def _called(compose: Compose, data: Mapping[Any, Any]) -> Any:
    known = Compose([t for t in compose.transforms if isinstance(t, MapTransform)])
    with allow_missing_keys_mode(known):
        return compose(dict(data))
