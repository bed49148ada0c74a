"""Degradation of images as MONAI transforms, as a defence at test time and to attack through."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_tensor
from torch import Tensor


class ApplyDegradation(Transform):
    """Smooths, resamples, rounds or compresses an image (`monai_smia.degradations`); affine and metadata stay.

    As a defence it is cheap and protects little: put it into the victim's `preprocessing`, and every attack goes
    through it (where the degradation has no gradient of its own, straight through). A defended victim that is only tested
    with attacks on the undefended one looks safer than it is.

    Args:
        degradation: ``(B, C, *spatial) -> same shape``, such as ``Smooth(1.0)`` or ``Quantize(1 / 15)`` for four bits.

    Example:
        >>> import torch
        >>> from monai.transforms import Compose
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.degradations import Smooth
        >>> from monai_smia.victims import SegmentationVictim
        >>> defended = SegmentationVictim(torch.nn.Conv2d(1, 2, 3), preprocessing=Compose([ApplyDegradation(Smooth(1.0))]))
        >>> ApplyDegradation(Smooth(1.0))(torch.rand(1, 8, 8)).shape
        torch.Size([1, 8, 8])
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, degradation: Callable[[Tensor], Tensor]) -> None:
        self.degradation = degradation

    def __call__(self, img: Any) -> Tensor:
        """The image after the degradation.

        Args:
            img: image ``(C, *spatial)``.
        """
        image = convert_to_tensor(img, track_meta=True, dtype=None)
        degraded = self.degradation((image.as_tensor() if isinstance(image, MetaTensor) else image)[None])[0]
        return MetaTensor(degraded, meta=image.meta, applied_operations=image.applied_operations)


class ApplyDegradationd(MapTransform):
    """Dictionary form of `ApplyDegradation`.

    Args:
        keys: images to handle.
        degradation: ``(B, C, *spatial) -> same shape``.
        allow_missing_keys: skip keys that the data lacks.

    Example:
        >>> import torch
        >>> from monai_smia.degradations import Quantize
        >>> ApplyDegradationd("image", Quantize(0.5))({"image": torch.full((1, 2, 2), 0.6)})["image"].unique().tolist()
        [0.5]
    """

    backend = ApplyDegradation.backend

    def __init__(
        self, keys: KeysCollection, degradation: Callable[[Tensor], Tensor], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.apply_degradation = ApplyDegradation(degradation)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Handle the images of one item."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self.apply_degradation(item[key])
        return item


ApplyDegradationD = ApplyDegradationDict = ApplyDegradationd
