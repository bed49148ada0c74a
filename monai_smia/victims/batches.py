"""A preprocessing chain frozen on every sample of a batch."""

from __future__ import annotations

import copy
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_smia.victims.own_statistics import FREEZE
from monai_smia.victims.preprocessing import FrozenPreprocessing


class SameVoxels:
    """A tensor to be known again, by its place in memory, while nobody writes into it; with metadata or without.

    Example:
        >>> tensor = torch.zeros(2)
        >>> known = SameVoxels(tensor)
        >>> known.are(tensor), known.are(tensor.clone()), known.are(tensor.add_(1))
        (True, False, False)
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor  # kept, so that its place stays its own
        self._version = None if tensor.is_inference() else tensor._version  # inference tensors do not count writing

    def are(self, other: Tensor) -> bool:
        """Whether another tensor holds the same voxels."""
        if self._version is None or other.is_inference():
            return False
        ours = self._tensor
        return (other.data_ptr(), other._version) == (ours.data_ptr(), self._version) and (
            (other.shape, other.stride(), other.dtype, other.device)
            == (ours.shape, ours.stride(), ours.dtype, ours.device)
        )


class BatchPreprocessing:
    """`FrozenPreprocessing` of every sample of a batch.

    Args:
        compose: array or dictionary transforms, without loading; what they take is one image ``(C, *spatial)``.
        image: clean batch ``(B, C, *spatial)``; a MetaTensor where a transform needs the affine.
        image_key: key of the image in dictionary transforms.
        straight_through: let the gradient through where an intensity window clips.
        statistics: ``"freeze"`` or ``"differentiate"``, as for `FrozenPreprocessing`.
    """

    def __init__(
        self,
        compose: Any,
        image: Tensor,
        image_key: str = "image",
        *,
        straight_through: bool = False,
        statistics: str = FREEZE,
    ) -> None:
        options: dict[str, Any] = {"straight_through": straight_through, "statistics": statistics}
        self.samples = [FrozenPreprocessing(compose, sample, image_key, **options) for sample in split_batch(image)]
        self.clean: Tensor = image
        self._voxels: SameVoxels | None = SameVoxels(image)
        self._differentiable = False  # not known yet
        self._label: tuple[SameVoxels, Tensor] | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """From ``(B, C, *spatial)`` on the cases' grids to the network's batch, differentiably."""
        if not image.requires_grad and self._voxels is not None and self._voxels.are(image):
            known = [frozen.take_output() for frozen in self.samples]
            if all(output is not None for output in known):
                return _stack([output for output in known if output is not None])
        return _stack([frozen(sample) for frozen, sample in zip(self.samples, split_batch(image), strict=True)])

    def is_of(self, image: Tensor) -> bool:
        """Whether it was frozen on this very image, which is as it was, and has the same affine."""
        if self._voxels is None or not self._voxels.are(image) or type(image) is not type(self.clean):
            return False
        ours, theirs = (getattr(each, "affine", None) for each in (self.clean, image))
        return ours is None or theirs is None or torch.equal(ours, theirs)

    def label_to_network(self, label: Tensor) -> Tensor:
        """Label maps ``(B, K, *spatial)`` on the network's grid, nearest neighbor."""
        if self._label is None or not self._label[0].are(label):
            maps = [frozen.label_to_network(sample) for frozen, sample in zip(self.samples, label, strict=True)]
            self._label = SameVoxels(label), _stack(maps)
        return self._label[1]

    def back(self, prediction: Tensor) -> Tensor:
        """Predictions ``(B, K, *spatial)`` from the network's grid on the cases' grids, linear."""
        return _stack([frozen.back(sample) for frozen, sample in zip(self.samples, prediction, strict=True)])

    def subset(self, index: Tensor) -> BatchPreprocessing:
        """Of the samples that `index` selects, by number or by a boolean mask."""
        part = copy.copy(self)
        part.samples = [self.samples[i] for i in torch.arange(len(self.samples))[index.cpu()].tolist()]
        part._voxels = part._label = None
        return part

    def check_differentiable(self) -> None:
        """Raise a ValueError that names the first transform that the gradient does not pass."""
        if not self._differentiable:
            self.samples[0].check_differentiable()
        self._differentiable = True

    @property
    def intensity_scale(self) -> float:
        """Network units per unit of the image; one number for the batch.

        Raises:
            ValueError: if its samples have scales of their own, as where each is divided by its standard deviation.
        """
        scales = [frozen.intensity_scale for frozen in self.samples]
        if max(scales) - min(scales) > 1e-6 * max(abs(scale) for scale in scales):
            raise ValueError(
                f"preprocessing scales the images of the batch differently, by {scales}: one radius means another "
                "change of each; use batches of one case."
            )
        return scales[0]


def split_batch(image: Tensor) -> list[Tensor]:
    """The samples ``(C, *spatial)`` of a batch, each MetaTensor with its own affine."""
    if isinstance(image, MetaTensor) and not image.is_batch:
        plain = image.as_tensor()
        return [MetaTensor(sample, meta=image.meta) for sample in plain]
    return [image[i] for i in range(len(image))]


def _stack(samples: list[Tensor]) -> Tensor:
    shapes = {tuple(sample.shape) for sample in samples}
    if len(shapes) > 1:
        raise ValueError(f"preprocessing must give one shape per batch, got {sorted(shapes)}; use batches of one case.")
    return torch.stack(samples)
