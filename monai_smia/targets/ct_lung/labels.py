"""Repairs of lung labels that were made by thresholding."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from scipy import ndimage


class DropFreeAird(MapTransform):
    """Takes free air (trachea, bowel gas) out of a lung label that counts it as lung, as thresholded labels do.

    Free air is darker than lung: a region of at least `min_voxels` below `air_hu` after smoothing by one voxel, grown
    by two voxels as far as the image stays below -700 HU. What that leaves of the label as a thin shell goes too. Meant
    for grids of 2 to 3 mm.

    Args:
        keys: labels ``(1, X, Y, Z)`` in [0, 1]; what is above one half is lung.
        image_key: key of the CT in HU, of the same shape.
        air_hu: what is darker is air; lung is about -850 HU.
        min_voxels: smallest region of free air.
        allow_missing_keys: skip labels that the data lacks.

    Example:
        >>> image = torch.full((1, 20, 20, 20), -850.0)
        >>> image[:, :8] = -1000.0
        >>> item = DropFreeAird("label")({"image": image, "label": torch.ones(1, 20, 20, 20)})
        >>> int(item["label"][0, 3].sum()), int(item["label"][0, 15].sum())
        (0, 400)
    """

    def __init__(
        self,
        keys: Any,
        image_key: Hashable = "image",
        air_hu: float = -940.0,
        min_voxels: int = 64,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.air_hu = air_hu
        self.min_voxels = min_voxels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Repair the labels of one item."""
        item = dict(data)
        image = np.asarray(item[self.image_key][0])
        smooth = ndimage.gaussian_filter(image, 1.0)
        for key in self.key_iterator(item):
            label = np.asarray(item[key][0])
            lung = label > 0.5
            core, count = ndimage.label(ndimage.binary_opening(smooth < self.air_hu) & lung)
            sizes = ndimage.sum(core > 0, core, range(1, count + 1))
            air = np.isin(core, 1 + np.flatnonzero(np.asarray(sizes) >= self.min_voxels))
            air = ndimage.binary_dilation(air, iterations=2) & (image < -700)
            rest = lung & ~air
            wall = ndimage.binary_dilation(air, iterations=3) & ~ndimage.binary_opening(rest, iterations=2)
            repaired = torch.from_numpy(label * ~(air | wall))[None]
            item[key] = convert_to_dst_type(repaired, item[key], dtype=item[key].dtype)[0]
        return item
