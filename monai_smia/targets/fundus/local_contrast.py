"""Illumination correction of photographs."""

from __future__ import annotations

import torch
from monai.config import KeysCollection
from monai.networks.layers import GaussianFilter
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type
from torch import Tensor
from torch.nn.functional import interpolate


class LocalContrast(Transform):
    """How much a pixel differs from the light around it: ``gain * (x - mean) / (mean + floor)``, limited, zero outside.

    The mean is a Gaussian one over the field of view alone, taken at an eighth of the resolution. Division by it makes
    a lesion look alike where the light is strong and where it is weak. Everything is differentiable, the border of the
    field of view too (a steep logistic curve), so that an attack may live in the photograph.

    Args:
        sigma: of the Gaussian, as a share of the image's width.
        gain: contrast 0.1 becomes 0.1 * gain.
        limit: values beyond are clipped.
        border: brightness of the brightest channel that counts as field of view.
        floor: keeps noise in the dark from being amplified.

    Raises:
        ValueError: if `sigma`, `gain`, `limit` or `floor` is not positive; in use, if the image is smaller than 8
            pixels in a direction.

    Example:
        >>> image = torch.full((3, 64, 64), 0.4)
        >>> image[:, 30:34, 30:34] = 0.2
        >>> contrast = LocalContrast()(image)
        >>> round(float(contrast[0, 32, 32]), 1), round(float(contrast[0, 5, 5]), 1)
        (-1.5, 0.0)
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        sigma: float = 1 / 30,
        *,
        gain: float = 4.0,
        limit: float = 3.0,
        border: float = 0.08,
        floor: float = 0.1,
    ) -> None:
        for name, value in (("sigma", sigma), ("gain", gain), ("limit", limit), ("floor", floor)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a finite number > 0, got {value}.")
        self.sigma = sigma
        self.gain = gain
        self.limit = limit
        self.border = border
        self.floor = floor

    def __call__(self, img: Tensor) -> Tensor:
        """From a photograph ``(C, H, W)`` in [0, 1] to its contrast, same shape."""
        shape = tuple(img.shape[1:])
        if len(shape) != 2 or min(shape) < 8:
            raise ValueError(f"img must be a photograph (C, H, W) of at least 8 x 8 pixels, got {tuple(img.shape)}.")
        image = torch.as_tensor(img)[None]
        field = torch.sigmoid((image.amax(1, keepdim=True) - self.border) * 100)
        small = interpolate(torch.cat([image * field, field], 1), size=(shape[0] // 8, shape[1] // 8), mode="area")
        smooth = GaussianFilter(2, self.sigma * small.shape[-1], truncated=4.0, approx="sampled").to(image)(small)
        smooth = interpolate(smooth, size=shape, mode="bilinear", align_corners=False)
        mean = smooth[:, :-1] / (smooth[:, -1:] + 1e-3)
        contrast = (self.gain * field * (image - mean) / (mean + self.floor)).clamp(-self.limit, self.limit)
        return convert_to_dst_type(contrast[0], img)[0]


class LocalContrastd(MapTransform):
    """Dictionary version of `LocalContrast`.

    Args:
        keys: photographs.
        allow_missing_keys: go on where a key is missing.
        **options: as for `LocalContrast`.
    """

    backend = LocalContrast.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False, **options: float) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = LocalContrast(**options)

    def __call__(self, data: dict) -> dict:
        """The item with its photographs replaced."""
        return {**data, **{key: self.transform(data[key]) for key in self.key_iterator(data)}}
