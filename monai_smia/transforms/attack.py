"""An attack as a MONAI transform."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from numbers import Number
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_tensor
from torch import Tensor

from monai_smia.attacks.base import Attack
from monai_smia.victims.base import Victim


def check_attack(attack: Any, victim: Any) -> None:
    """Raise a ValueError where one of the two is a class, None or something else than its name says."""
    for name, value, kind in (("attack", attack, Attack), ("victim", victim, Victim)):
        if isinstance(value, type):
            raise ValueError(f"{name} must be an instance, got the class {value.__name__}; call it with its arguments.")
        if not isinstance(value, kind):
            article = "an" if kind is Attack else "a"
            raise ValueError(f"{name} must be {article} {kind.__name__}, got {value!r}.")


class ApplyAttack(Transform):
    """Replaces an image by its adversarial version.

    Metadata and affine are kept, results are detached. On a CPU the workers of a DataLoader, forked or spawned, give
    the same bits as none does; on a GPU use it in the main process, or prefer `AttackHandler`.

    Args:
        attack: the attack.
        victim: what is attacked.

    Raises:
        ValueError: if one of them is no instance of an attack or a victim.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import FGSM
        >>> from monai_smia.victims import SegmentationVictim
        >>> transform = ApplyAttack(FGSM(eps=0.03), SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1)))
        >>> transform(torch.rand(1, 8, 8), torch.randint(0, 2, (1, 8, 8))).shape
        torch.Size([1, 8, 8])
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, attack: Attack, victim: Victim) -> None:
        check_attack(attack, victim)
        self.attack = attack
        self.victim = victim

    def __call__(self, img: Any, label: Any, mask: Any = None) -> Tensor:  # type: ignore[override]  # MONAI: a label, too
        """Attack one sample.

        Args:
            img: image ``(C, *spatial)``.
            label: its label, without a batch axis: ``(1, *spatial)`` classes, ``(K,)`` or a number.
            mask: voxels that may change, any shape that broadcasts to the image.

        Raises:
            ValueError: if image or label is nothing that a tensor is made of.
        """
        return self.attacked(img, label, mask)

    def attacked(self, img: Any, label: Any, mask: Any, image_key: Any = "img", label_key: Any = "label") -> Tensor:
        """Attack one sample; the keys name what is refused."""
        if not isinstance(img, (Tensor, np.ndarray)):
            raise ValueError(f"{image_key} must be a tensor or an array, got {_told(img)}; load the file first.")
        image = convert_to_tensor(img, track_meta=isinstance(img, MetaTensor), dtype=None)  # no affine is made up
        if isinstance(label, dict):  # a detector's
            target: Any = [label]
        else:
            known = isinstance(img, MetaTensor) and isinstance(label, MetaTensor)  # both affines, to be compared
            label = np.asarray(label) if isinstance(label, np.generic) else label
            if not isinstance(label, (Tensor, np.ndarray, Number)):
                raise ValueError(
                    f"{label_key} must be a tensor, an array, a number or a dictionary of boxes, got {_told(label)}."
                )
            target = convert_to_tensor(label, track_meta=known, dtype=None).to(image.device)[None]
        result = self.attack(self.victim, image.unsqueeze(0), target, mask=mask)
        return result.adversarial[0]


class ApplyAttackd(MapTransform):
    """Dictionary form of `ApplyAttack`.

    Args:
        keys: images to attack.
        attack: the attack.
        victim: what is attacked.
        label_key: key of the label.
        mask_key: key of a mask of voxels that may change, or None.
        allow_missing_keys: skip keys that the data lacks.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import FGSM
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1))
        >>> transform = ApplyAttackd(keys="image", attack=FGSM(eps=0.03), victim=victim, label_key="label")
        >>> sorted(transform({"image": torch.rand(1, 8, 8), "label": torch.randint(0, 2, (1, 8, 8))}))
        ['image', 'label']
    """

    backend = ApplyAttack.backend

    def __init__(
        self,
        keys: KeysCollection,
        attack: Attack,
        victim: Victim,
        label_key: Hashable = "label",
        mask_key: Hashable | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.apply_attack = ApplyAttack(attack, victim)
        self.label_key = label_key
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Attack the images of one item.

        Raises:
            KeyError: if the label or the mask is missing.
            ValueError: if an image or the label is nothing that a tensor is made of; its key is named.
        """
        item = dict(data)
        for name, key in (("label_key", self.label_key), ("mask_key", self.mask_key)):
            if key is not None and key not in item:
                raise KeyError(f"{name} must be a key of the data, {sorted(map(str, item))}, got {key!r}.")
        mask = None if self.mask_key is None else item[self.mask_key]
        for key in self.key_iterator(item):
            item[key] = self.apply_attack.attacked(item[key], item[self.label_key], mask, key, self.label_key)
        return item


def _told(value: Any) -> str:
    """A value for a message, long ones by their type."""
    return f"{value!r}" if value is None or isinstance(value, str) else f"a {type(value).__name__}"


ApplyAttackD = ApplyAttackDict = ApplyAttackd
