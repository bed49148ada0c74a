"""nnU-Net's preprocessing and the way back of its logits, in torch: from the image to what the network is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from monai_smia.adapters.nnunet.normalization import Normalization, Statistics
from monai_smia.adapters.nnunet.resampling import Resampling

OUTSIDE = 20.0  # logit of the background, and that of anything else with a minus, where nnU-Net has cropped


@dataclass(frozen=True)
class Placement:
    """What nnU-Net decides of one image by its zeros and the size of its voxels; axes are in the order of the plans.

    Args:
        box: the nonzero region's bounding box, to which the image is cropped.
        around: voxels before and behind it, last axis first, as `torch.nn.functional.pad` takes them.
        mask: the nonzero region in the box, its holes filled; None where no channel asks for it.
        shape: of the box.
        resampled: what is made of it, which the network sees.
        spacing, target: size of a voxel before and after.
    """

    box: tuple[slice, ...]
    around: tuple[int, ...]
    mask: Tensor | None
    shape: tuple[int, ...]
    resampled: tuple[int, ...]
    spacing: tuple[float, ...]
    target: tuple[float, ...]


@dataclass(frozen=True)
class Preprocessing:
    """nnU-Net's preprocessing by a plan: transpose, crop to nonzero, normalize, resample; and logits all the way back.

    Args:
        forward, backward: permutations of the spatial axes.
        spacing: of a voxel that the network sees, two numbers for a network of planes.
        channels: normalization of every channel.
        image, logits: resampling of images and of logits.
    """

    forward: tuple[int, ...]
    backward: tuple[int, ...]
    spacing: tuple[float, ...]
    channels: tuple[Normalization, ...]
    image: Resampling
    logits: Resampling

    @classmethod
    def of_plans(cls, plans: Any, configuration: Any, *, straight_through: bool = False) -> Preprocessing:
        """Of nnU-Net's own managers of plans and configuration.

        Raises:
            ValueError: if normalization or resampling are none that is known here; it is named.
        """
        fingerprint = plans.foreground_intensity_properties_per_channel
        pairs = zip(configuration.normalization_schemes, configuration.use_mask_for_norm, strict=True)
        settings = configuration.configuration
        return cls(
            tuple(plans.transpose_forward),
            tuple(plans.transpose_backward),
            tuple(float(size) for size in configuration.spacing),
            tuple(
                Normalization.of_plan(scheme, masked, fingerprint.get(str(c), {}), straight_through=straight_through)
                for c, (scheme, masked) in enumerate(pairs)
            ),
            *(
                Resampling.of_plan(settings[f"resampling_fn_{what}"], settings[f"resampling_fn_{what}_kwargs"])
                for what in ("data", "probabilities")
            ),
        )

    def placed(self, image: Tensor, spacing: Sequence[float]) -> Placement:
        """What nnU-Net decides of an image.

        Args:
            image: ``(C, *spatial)`` of three spatial axes, as nnU-Net reads it.
            spacing: size of a voxel along each.
        """
        nonzero = (image.detach() != 0).any(0).permute(self.forward)
        box = _bounding_box(nonzero)
        shape = tuple(s.stop - s.start for s in box)
        before = tuple(float(spacing[axis]) for axis in self.forward)
        target = self.spacing if len(self.spacing) == 3 else (before[0], *self.spacing)
        ends = zip(reversed(box), reversed(nonzero.shape), strict=True)
        around = [amount for side, size in ends for amount in (side.start, size - side.stop)]
        return Placement(
            box=box,
            around=tuple(around),
            mask=filled(nonzero[box]) if any(channel.masked for channel in self.channels) else None,
            shape=shape,
            resampled=tuple(round(a / b * n) for a, b, n in zip(before, target, shape, strict=True)),
            spacing=before,
            target=target,
        )

    def statistics(self, image: Tensor, placement: Placement) -> list[Statistics | None]:
        """What every channel of an image is normalized by."""
        cropped = self._cropped(image, placement)
        return [channel.statistics(c, placement.mask) for channel, c in zip(self.channels, cropped, strict=True)]

    def seen(
        self, image: Tensor, placement: Placement, statistics: Sequence[Statistics | None] | None = None
    ) -> Tensor:
        """What the network is given ``(C, *placement.resampled)``, differentiably.

        Args:
            image: ``(C, *spatial)`` as nnU-Net reads it.
            placement: of it.
            statistics: to normalize by, in the place of the image's own.
        """
        given = statistics or [None] * len(self.channels)
        triples = zip(self.channels, self._cropped(image, placement), given, strict=True)
        normalized = torch.stack([channel(c, placement.mask, own) for channel, c, own in triples])
        return self.image(normalized, placement.resampled, placement.spacing, placement.target)

    def back(self, logits: Tensor, placement: Placement, *, exclusive: bool) -> Tensor:
        """Logits ``(K, *placement.resampled)`` where the image's voxels are, differentiably.

        Args:
            logits: of what the network was given.
            placement: of the image.
            exclusive: channel 0 is the background; else no channel holds outside of the box.
        """
        logits = self.logits(logits, placement.shape, placement.target, placement.spacing)
        if any(placement.around):
            others = F.pad(logits, placement.around, value=-OUTSIDE)
            if exclusive:
                others = torch.cat([F.pad(logits[:1], placement.around, value=OUTSIDE), others[1:]])
            logits = others
        return logits.permute(0, *(axis + 1 for axis in self.backward))

    def _cropped(self, image: Tensor, placement: Placement) -> Tensor:
        inside = (slice(None), *placement.box)
        return image.permute(0, *(axis + 1 for axis in self.forward))[inside]


def _bounding_box(mask: Tensor) -> tuple[slice, ...]:
    """The smallest box that holds all that is true; the whole image where nothing is."""
    if not bool(mask.any()):
        return tuple(slice(0, size) for size in mask.shape)
    box = []
    for axis in range(mask.ndim):
        there = mask.amax([a for a in range(mask.ndim) if a != axis]).nonzero().flatten()
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)


def filled(mask: Tensor) -> Tensor:
    """A mask with its holes filled: all but the zeros that reach a border, as `scipy.ndimage.binary_fill_holes`."""
    if bool(mask.all()):
        return mask
    outside = np.pad(~mask.cpu().numpy(), 1, constant_values=True)
    parts, _ = ndimage.label(outside)
    inner = (slice(1, -1),) * mask.ndim
    return torch.from_numpy(parts[inner] != parts[(0,) * mask.ndim]).to(mask.device)
