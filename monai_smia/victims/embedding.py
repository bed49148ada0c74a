"""A network's own embedding of an image as what is attacked: no prompt, no label, no decision."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from monai_smia.inferers import CheckpointedSlidingWindowInferer, TilingInferer
from monai_smia.nearest import nearest
from monai_smia.victims.base import Victim
from monai_smia.victims.choice import Choice


class EmbeddingDistance(nn.Module):
    """How far a part of a network takes two images apart, as a map of the images' size.

    Args:
        part: is given what the network is given, such as an image encoder.

    Example:
        >>> doubled = EmbeddingDistance(nn.Conv2d(1, 1, 1, bias=False).requires_grad_(False))
        >>> _ = doubled.part.weight.fill_(2.0)
        >>> first, second = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
        >>> doubled(torch.cat([first, second], 1)).tolist()
        [[[[4.0, 4.0], [4.0, 4.0]]]]
    """

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, both: Tensor) -> Tensor:
        """The map ``(B, 1, *spatial)``, whose sum is the squared distance of the embeddings.

        Args:
            both: image and reference ``(B, 2 C, *spatial)``; the reference has no gradient.
        """
        image, reference = both.chunk(2, 1)
        with torch.no_grad():
            there = list(_tensors(self.part(reference)))
        maps = [_map(here - other, image) for here, other in zip(_tensors(self.part(image)), there, strict=True)]
        return torch.stack(maps).sum(0)


@dataclass(kw_only=True, eq=False)
class EmbeddingVictim(Victim):
    """A victim in the place of another, whose loss is the distance from the clean image's embedding.

    It decides nothing, and its damage is 0: an attack on it returns the image of the largest distance. Windows are
    those of the other's inferer, sliding over the whole image, whatever that goes around.

    Args:
        network: an `EmbeddingDistance`.
        base: the other victim, bound to the clean batch.
        reference: what its network sees of the clean batch.
    """

    losses = {"squared_distance": lambda output, prediction, target: prediction.flatten(1).sum(1)}
    divergences = {"squared_distance": lambda output, prediction, reference: (prediction - reference).flatten(1).sum(1)}

    base: Victim
    reference: Tensor
    loss: Choice = Choice("squared_distance")
    divergence: Choice = Choice("squared_distance")

    @classmethod
    def around(cls, victim: Victim, image: Tensor, of: str) -> Self:
        """The victim of another's embedding.

        Args:
            victim: bound to the batch.
            image: clean batch.
            of: name of the part of its network, as `nn.Module.get_submodule` takes it.

        Raises:
            ValueError: if the network has no such part.
        """
        with torch.no_grad():
            seen = victim.network_input(image)
        part = EmbeddingDistance(part_of(victim.network, of))
        return cls(part, inferer=_over_all(victim.inferer), base=victim, reference=seen)

    def network_input(self, image: Tensor) -> Tensor:
        """What the network sees of the image, and of the clean one."""
        return torch.cat([self.base.network_input(image), self.reference], 1)

    def subset(self, index: Tensor) -> Self:
        """The victim of some samples."""
        part = copy.copy(self)
        part.base, part.reference = self.base.subset(index), self.reference[index]
        return part

    def decide(self, prediction: Any) -> Any:
        """The map itself."""
        return prediction

    def damage(self, prediction: Any, label: Any) -> Tensor:
        """0: nothing is decided."""
        return prediction.new_zeros(len(prediction))

    def check_label(self, prediction: Any, label: Any) -> None:
        """No label is looked at."""


def part_of(network: nn.Module, name: str) -> nn.Module:
    """A part of a network by its name, or of the network that a module of ours is around.

    Raises:
        ValueError: if there is none.

    Example:
        >>> part_of(nn.Sequential(nn.Identity()), "encoder")
        Traceback (most recent call last):
        ValueError: the embedding must be of a part of the network, one of ['0'] or within it, got 'encoder'.
    """
    inside: Any = network
    while inside is not None:
        try:
            found: nn.Module = inside.get_submodule(name)
            return found
        except AttributeError:
            network, inside = inside, getattr(inside, "network", None)
    known = [child for child, _ in network.named_children()]
    raise ValueError(
        f"the embedding must be of a part of the network, one of {known} or within it, got {name!r}"
        f"{nearest(name, known) or '.'}"
    )


def _over_all(inferer: Any) -> Inferer | None:
    """An inferer that gives a network windows of the whole image, without a prompt; None for the image at once."""
    inside = getattr(inferer, "inferer", inferer)
    if isinstance(inside, TilingInferer):
        return inside
    if isinstance(inside, SlidingWindowInferer):
        plain = copy.copy(inside)
        plain.with_coord = False
        return plain
    size = getattr(inside, "roi_size", None)
    if size is None:
        return None
    return CheckpointedSlidingWindowInferer(roi_size=size, overlap=getattr(inside, "overlap", 0.25))


def _tensors(embedding: Any) -> Iterator[Tensor]:
    if isinstance(embedding, Tensor):
        yield embedding
    elif isinstance(embedding, (Mapping, list, tuple)):
        for part in embedding.values() if isinstance(embedding, Mapping) else embedding:
            yield from _tensors(part)


def _map(difference: Tensor, image: Tensor) -> Tensor:
    """The square of a difference ``(B, ...)`` as a map ``(B, 1, *spatial)`` of the same sum."""
    squares, voxels = difference.square(), image[0, 0].numel()
    if difference.ndim != image.ndim:  # tokens, a vector
        spread = squares.flatten(1).sum(1) / voxels
        return spread.view(-1, *[1] * (image.ndim - 1)).expand(len(image), 1, *image.shape[2:])
    here = squares.sum(1, keepdim=True)
    if here.shape[2:] == image.shape[2:]:
        return here
    return F.interpolate(here, image.shape[2:]) * (here[0].numel() / voxels)
