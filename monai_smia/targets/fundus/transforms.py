"""Random transforms that train a grader of fundus photographs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import (
    Compose,
    MapTransform,
    RandAdjustContrastd,
    Randomizable,
    RandScaleIntensityd,
    ThresholdIntensityd,
)
from monai.utils import TransformBackends

from monai_smia.targets.fundus.lesions import draw_lesions


class RandPaintLesionsd(Randomizable, MapTransform):
    """Draws the lesions of a random grade into healthy eyes that are marked for it, and makes that grade their label.

    Every item leaves with a lesion map, empty where nothing was painted. See `draw_lesions`.

    Args:
        keys: photographs ``(3, H, W)`` with values from 0 to 255.
        grade_share: how often each of the grades 0-4 is painted.
        flag_key: items where this is true are painted.
        label_key: the grade.
        lesion_key: where the map ``(3, H, W)`` in [0, 1] goes: dark lesions, bright lesions, new vessels.
        border: brightness of the brightest channel that counts as field of view.

    Raises:
        ValueError: if `grade_share` is not five shares with a positive sum; in use, if an eye to be painted is not of
            grade 0.

    Example:
        >>> paint = RandPaintLesionsd("image", grade_share=(0, 0, 0, 1, 0)).set_random_state(0)
        >>> item = paint({"image": torch.full((3, 64, 64), 128.0), "label": 0, "paint": True})
        >>> item["label"], bool((item["image"] != 128).any()), item["lesions"].shape
        (3, True, torch.Size([3, 64, 64]))
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        keys: KeysCollection,
        *,
        grade_share: Sequence[float] = (0.25, 0.15, 0.25, 0.2, 0.15),
        flag_key: str = "paint",
        label_key: str = "label",
        lesion_key: str = "lesions",
        border: float = 25.0,
    ) -> None:
        super().__init__(keys)
        share = np.asarray(grade_share, dtype=np.float64)
        if share.shape != (5,) or bool((share < 0).any()) or not share.sum() > 0:
            raise ValueError(f"grade_share must be five shares >= 0 with a positive sum, got {tuple(grade_share)}.")
        self.grade_share = share / share.sum()
        self.flag_key = flag_key
        self.label_key = label_key
        self.lesion_key = lesion_key
        self.border = border

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item, painted where it is marked."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = torch.as_tensor(item[key]).float()
            if not item.get(self.flag_key):
                item[self.lesion_key] = torch.zeros_like(image)
                continue
            if int(item[self.label_key]) != 0:
                raise ValueError(f"{self.label_key} must be 0 where lesions are painted, got {item[self.label_key]}.")
            grade = int(self.R.choice(5, p=self.grade_share))
            rng = np.random.default_rng(self.R.randint(2**31))
            canvas = (image / 255).numpy()
            lesions = draw_lesions(canvas, canvas.max(0) > self.border / 255, grade, rng)
            item[key] = torch.from_numpy(canvas) * 255
            item[self.label_key], item[self.lesion_key] = grade, torch.from_numpy(lesions)
        return item


def random_color(keys: KeysCollection, *, brightness: float = 0.2, tint: float = 0.12, gamma: float = 0.2) -> Compose:
    """Another camera and another pigment, of MONAI's transforms: gamma, brightness, gain of every channel.

    It is what train.yaml of the bundle spells out, and what the deprecated `monai_smia.transforms.RandColord` builds.

    Args:
        keys: photographs ``(C, H, W)`` in [0, 1], their darkest value 0 and their brightest about 1.
        brightness: all channels are multiplied by a number from ``1 - brightness`` to ``1 + brightness``.
        tint: and each by one from ``1 - tint`` to ``1 + tint``.
        gamma: logarithm of the exponent, at most.

    Example:
        >>> color = random_color("image").set_random_state(0)
        >>> ramp = torch.linspace(0, 1, 8).expand(3, 8, 8)
        >>> image = color({"image": ramp})["image"]
        >>> bool((image[0] != image[1]).any()), bool(((image >= 0) & (image <= 1)).all())
        (True, True)
    """
    return Compose(
        [
            RandAdjustContrastd(keys, prob=1.0, gamma=(float(np.exp(-gamma)), float(np.exp(gamma)))),
            RandScaleIntensityd(keys, prob=1.0, factors=brightness),
            RandScaleIntensityd(keys, prob=1.0, factors=tint, channel_wise=True),
            ThresholdIntensityd(keys, threshold=1.0, above=False, cval=1.0),
        ]
    )
