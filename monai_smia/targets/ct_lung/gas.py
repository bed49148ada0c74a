"""Gas in the bowel, painted into chest CT: as dark as air and under the lung, it must not be taken for lung."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type
from numpy.typing import NDArray
from scipy import ndimage

from monai_smia.targets.ct_lung.anatomy import draw_tubes
from monai_smia.targets.ct_lung.shapes import Field


class RandBowelGasd(RandomizableTransform, MapTransform):
    """Paints pockets of gas into the soft tissue below the lungs, most of them close to the diaphragm.

    Lung is dark and textured, gas darker and plain; few patients show much of it where the two almost touch. A pocket
    is a bent tube of changing width. It keeps one or two voxels away from the lung: the wall. Labels do not change.

    Args:
        keys: images ``(1, X, Y, Z)``, Z towards the head.
        label_key: key of the lung label: its last channel, in [0, 1], is lung.
        prob: probability that an item is painted; one without soft tissue below lung never is.
        spacing: voxel size in mm.
        pockets: fewest and most pockets.
        radius: smallest and largest radius in mm.
        air: range of a pocket's intensity, in the image's unit; no voxel of it is darker.
        noise: standard deviation of the noise in it.
        tissue: range of intensities that are soft tissue.
        allow_missing_keys: skip images that the data lacks.

    Example:
        >>> image = torch.zeros(1, 40, 40, 40)
        >>> image[..., 20:] = -850.0
        >>> item = {"image": image, "label": (image < -500).float()}
        >>> painted = RandBowelGasd("image", prob=1.0).set_random_state(0)(item)["image"]
        >>> bool((painted[..., :19] < -900).any()), bool((painted[..., 19:] == image[..., 19:]).all())
        (True, True)
    """

    def __init__(
        self,
        keys: Any,
        label_key: Hashable = "label",
        prob: float = 0.5,
        spacing: float = 2.5,
        pockets: Sequence[int] = (1, 3),
        radius: Sequence[float] = (7.0, 30.0),
        air: Sequence[float] = (-1000.0, -950.0),
        noise: float = 20.0,
        tissue: Sequence[float] = (-150.0, 150.0),
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.label_key = label_key
        self.spacing = spacing
        self.pockets = tuple(pockets)
        self.radius = tuple(radius)
        self.air = tuple(air)
        self.noise = noise
        self.tissue = tuple(tissue)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item, perhaps with gas in its images."""
        item = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return item
        lung = np.asarray(item[self.label_key][-1])
        below = self._below(lung)
        for key in self.key_iterator(item):
            image = np.array(item[key][0], dtype=np.float32)
            if (gas := self._gas(image, lung, below)) is not None:
                noisy = self.R.uniform(self.air[0], self.air[1]) + self.noise * self.R.standard_normal(image.shape)
                painted = image + gas * (np.maximum(noisy, self.air[0]) - image)
                item[key] = convert_to_dst_type(torch.from_numpy(painted)[None], item[key])[0]
        return item

    def _below(self, lung: Field) -> Field:
        """Distance in mm to the lung above a voxel; infinite where there is none, or not above but here."""
        height = np.arange(lung.shape[2], dtype=np.float32)
        nearest = np.minimum.accumulate(np.where(lung > 0.5, height, np.inf)[..., ::-1], axis=2)[..., ::-1]
        distance: Field = (nearest - height) * self.spacing
        return np.where(distance > 0, distance, np.inf)

    def _gas(self, image: Field, lung: Field, below: Field) -> Field | None:
        """The share of each voxel that is gas."""
        weight = np.where((image > self.tissue[0]) & (image < self.tissue[1]), np.exp(-below / 25), 0).ravel()
        if not weight.any():
            return None
        chances = np.cumsum(weight, dtype=np.float64)
        gas = np.zeros_like(image)
        world = [self.spacing * np.arange(n, dtype=np.float32) for n in image.shape]
        for _ in range(self.R.randint(self.pockets[0], self.pockets[1] + 1)):
            place = np.unravel_index(np.searchsorted(chances, self.R.uniform(0, chances[-1])), image.shape)
            tube = self._tube(self.spacing * np.array(place))
            draw_tubes(gas, tube, world, edge=self.spacing, value=1.0)
        wall = 1 + 2 * self.R.randint(1, 3)
        free: Field = 1 - ndimage.maximum_filter(lung, wall)
        return np.minimum(gas, free)

    def _tube(self, start: NDArray[np.float64]) -> Field:
        """Segments (N, 7) of a bent tube through ``start``: start xyz, end xyz, radius."""
        radius = self.R.uniform(self.radius[0], self.radius[1])
        heading, segments = self.R.normal(size=3), []
        for _ in range(self.R.randint(1, 5)):
            heading = heading / np.linalg.norm(heading)
            end = start + radius * self.R.uniform(0.5, 1.5) * heading
            segments.append([*start, *end, radius * self.R.uniform(0.7, 1.1)])
            start, heading = end, heading + self.R.normal(scale=0.5, size=3)
        return np.array(segments, dtype=np.float32)
