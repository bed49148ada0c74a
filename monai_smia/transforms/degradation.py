"""Degradations as MONAI transforms: a defense at test time, and to attack through."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_tensor, deprecated_arg
from torch import Tensor

from monai_smia import __version__

renamed = deprecated_arg("handling", since="0.2.0", removed="0.3.0", new_name="degradation", version_val=__version__)


class ApplyDegradation(Transform):
    """Apply a degradation (`monai_smia.degradations`) to an image; affine and metadata stay.

    As a defense it is cheap and protects little: put it into the victim's `preprocessing`, and every attack goes
    through it (where the degradation has no gradient of its own, straight through). A defended victim that is only
    tested with attacks on the undefended one looks safer than it is.

    Args:
        degradation: ``(B, C, *spatial) -> same shape``, such as ``Smooth(1.0)`` or ``Quantize(1 / 15)`` for four bits.
        handling: deprecated name of `degradation`.

    Example:
        >>> import torch
        >>> from monai.transforms import Compose
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.degradations import Smooth
        >>> from monai_smia.victims import SegmentationVictim
        >>> smooth = ApplyDegradation(Smooth(1.0))
        >>> smooth(torch.rand(1, 8, 8)).shape
        torch.Size([1, 8, 8])
        >>> defended = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1), preprocessing=Compose([smooth]))
        >>> image, label = torch.rand(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
        >>> PGD(eps=0.03, steps=2)(defended, image, label).adversarial.shape
        torch.Size([1, 1, 8, 8])
    """

    backend = [TransformBackends.TORCH]
    keeps_voxels, intensity_slope = True, 1.0  # as victims ask of transforms that they do not know

    @renamed
    def __init__(self, degradation: Callable[[Tensor], Tensor], handling: Any = None) -> None:
        self.degradation = degradation

    def __call__(self, img: Any) -> Tensor:
        """The image after the degradation.

        Args:
            img: image ``(C, *spatial)``, 2-D or 3-D.

        Raises:
            ValueError: if it has no channel axis: ``(H, W)`` would be taken for H channels.
        """
        image = convert_to_tensor(img, track_meta=True, dtype=None)
        if image.ndim not in (3, 4):
            raise ValueError(f"img must have its channels first, (C, H, W) or (C, H, W, D), got {tuple(image.shape)}.")
        degraded = self.degradation((image.as_tensor() if isinstance(image, MetaTensor) else image)[None])[0]
        return MetaTensor(degraded, meta=image.meta, applied_operations=image.applied_operations)


class ApplyDegradationd(MapTransform):
    """Dictionary form of `ApplyDegradation`.

    Args:
        keys: images to degrade.
        degradation: ``(B, C, *spatial) -> same shape``.
        allow_missing_keys: skip keys that the data lacks.
        handling: deprecated name of `degradation`.

    Example:
        >>> import torch
        >>> from monai_smia.degradations import Quantize
        >>> ApplyDegradationd("image", Quantize(0.5))({"image": torch.full((1, 2, 2), 0.6)})["image"].unique().tolist()
        [0.5]
    """

    backend = ApplyDegradation.backend
    keeps_voxels, intensity_slope = ApplyDegradation.keeps_voxels, ApplyDegradation.intensity_slope

    @renamed
    def __init__(
        self,
        keys: KeysCollection,
        degradation: Callable[[Tensor], Tensor],
        allow_missing_keys: bool = False,
        handling: Any = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.apply_degradation = ApplyDegradation(degradation)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """One item with its images degraded."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self.apply_degradation(item[key])
        return item


ApplyDegradationD = ApplyDegradationDict = ApplyDegradationd
