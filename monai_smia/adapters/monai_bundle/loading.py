"""The cases of a bundle, as an evaluation loads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from torch import Tensor

from monai_smia.adapters.monai_bundle.parts import Chain, is_dicom, on_grid_of
from monai_smia.dicom import scanned_voxels
from monai_smia.victims import DetectionVictim
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain


class BundleLoading:
    """From a bundle's item to its image and label, and the mask of what was scanned.

    Args:
        chain: the transforms of the bundle's dataset, in two parts.
        in_scanner: stop where the image is that of the file; otherwise it is preprocessed, too.
        keys: keys of the label in an item, by what they are (``label``, or ``boxes`` and ``labels``); None where the
            victim's decision on the clean image is the reference.
        victim: who decides, then.
        device: of the victim.
    """

    def __init__(
        self, chain: Chain, in_scanner: bool, keys: Mapping[str, str] | None, victim: Victim, device: torch.device
    ) -> None:
        self.chain = chain
        self.load = Compose(chain.loading)
        self.preprocess = Compose([] if in_scanner else chain.preprocessing)
        self.keys = keys
        self.victim = victim
        self.device = device

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """``image``, ``label`` and, of a DICOM series, the ``mask`` of its voxels that are no padding."""
        loaded = self.load({name: value for name, value in item.items() if name != "case"})
        scanned = None
        if not self.chain.source_keys and is_dicom(item["image"]):
            image = loaded[self.chain.image_key]
            scanned = MetaTensor(scanned_voxels(image, item["image"]), affine=image.affine)
            image.meta.pop("padding", None)  # in a unit that preprocessing changes
        loaded = self.preprocess(loaded)
        image = loaded[self.chain.image_key]
        case = {"image": image} if scanned is None else {"image": image, "mask": on_grid_of(scanned, image)}
        if self.keys is None:
            return {**case, "label": as_plain(self._clean_decision(image))}
        label = {name: loaded[key] for name, key in self.keys.items()}
        return {**case, "label": label if "boxes" in label else label["label"]}

    def _clean_decision(self, image: Tensor) -> Any:
        decision = self.victim.decide(self.victim.infer(image[None].float().to(self.device)))[0]
        if not isinstance(decision, Mapping):
            return decision
        assert isinstance(self.victim, DetectionVictim)
        sure = decision["scores"] >= self.victim.found_score
        return {name: as_plain(decision[name][sure]) for name in ("boxes", "labels")}
