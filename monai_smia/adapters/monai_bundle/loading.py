"""The cases of a bundle, as an evaluation loads them for the attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.data.box_utils import clip_boxes_to_image
from torch import Tensor

from monai_smia.adapters.monai_bundle.grids import affine_of, on_grid
from monai_smia.adapters.monai_bundle.numbers import NumberRule
from monai_smia.adapters.monai_bundle.parts import is_dicom
from monai_smia.adapters.monai_bundle.pipeline import BundlePipeline
from monai_smia.adapters.monai_bundle.ranges import valid_range
from monai_smia.adapters.monai_bundle.units import UNITS, OwnUnits
from monai_smia.dicom import scanned_voxels
from monai_smia.victims.preprocessing import as_plain

KEEP, ATTACK = "keep", "attack"
KEPT = (
    "Voxels that are 0 in the files, by which preprocessing tells the background, were left as they are "
    "(--attack#background attack attacks them, too)."
)


class BundleLoading:
    """From a case to what is attacked: image, label on the network's grid, mask of what was scanned, valid range.

    No network is asked here, for the next case is loaded while this one is attacked.

    Args:
        pipeline: the bundle's.
        ranged: ask every case for its valid range; False where one is given for all.
        units: what images are attacked in; None for the unit of their files.
        background: ``"keep"`` leaves voxels of the files that are 0 as they are, where preprocessing goes by them;
            ``"attack"`` attacks them, too.
    """

    def __init__(
        self, pipeline: BundlePipeline, *, ranged: bool, units: OwnUnits | None = None, background: str = ATTACK
    ) -> None:
        self.pipeline = pipeline
        self.ranged = ranged
        self.units = units
        self.keeps = background == KEEP and pipeline.in_scanner and pipeline.chain.goes_by_zeros()

    @property
    def kept(self) -> str:
        """What is to be said where voxels are left as they are."""
        return KEPT if self.keeps else ""

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"pipeline": self.pipeline, "ranged": self.ranged, "units": self.units, "keeps": self.keeps}

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """``image``, ``label`` (None where items have none), and where there are such ``mask``, ``clip``, ``units``."""
        pipeline, source = self.pipeline, item["image"]
        if pipeline.labeled and pipeline.items[item["case"]].get(pipeline.label_key) is None:
            raise ValueError(
                f"the case must have a {pipeline.label_key!r} as others have: give it one, leave it out, or take the "
                "clean decision as the reference of all with --attack#unsupervised true."
            )
        loaded = pipeline.transformed(item["case"])
        seen = loaded[pipeline.chain.image_key]
        case: dict[str, Any] = {"image": seen}
        single = bool(pipeline.chain.loaders)
        if single and (pipeline.in_scanner or is_dicom(source)):
            native = pipeline.chain.read(source)
            flat = native.ndim == 3 and not pipeline.in_scanner  # a radiograph is no series, and its reader knows it
            if is_dicom(source) and not flat:
                scanned = MetaTensor(scanned_voxels(native, source), affine=native.affine)
                native.meta.pop("padding", None)  # the mask says it, and a unit that preprocessing changes does not
                case["mask"] = scanned if pipeline.in_scanner else _mask_on(scanned, seen)
            if pipeline.in_scanner:
                case |= self._attacked(native, case.get("mask"))
        if isinstance(seen, MetaTensor):
            seen.meta.pop("padding", None)
            if affine_of(seen) is None and not pipeline.in_scanner:
                case["image"] = as_plain(seen)  # no voxel has a size in mm that nobody knows
        if self.ranged:
            case["clip"] = valid_range(pipeline.chain, source, case["image"], pipeline.in_scanner)
        case["label"] = self._label(loaded, seen) if pipeline.labeled else None
        return case

    def _attacked(self, native: MetaTensor, mask: Tensor | None) -> dict[str, Any]:
        """The image as it is attacked, in units of its own where there are such, and the voxels that may change."""
        found: dict[str, Any] = {"image": native}
        if self.keeps:
            there = as_plain(native) != 0
            found["mask"] = there if mask is None else there & (as_plain(mask) > 0)
        if self.units is not None:
            found["image"] = self.units(native)
            found["units"] = tuple(found["image"].meta[UNITS])
        return found

    def _label(self, loaded: Mapping[Any, Any], seen: Tensor) -> Any:
        """The label out of the bundle's own chain, where the network sees the image."""
        pipeline = self.pipeline
        if pipeline.boxes is not None:
            found = pipeline.boxes.of_item(loaded)  # the twin anchors them in the image; figures are of all of them
            inside, kept = clip_boxes_to_image(found["boxes"], seen.shape[1:], remove_empty=True)
            return {"boxes": torch.as_tensor(inside), "labels": found["labels"][torch.as_tensor(kept)]}
        assert pipeline.rule is not None
        given = loaded[pipeline.label_key]
        label = pipeline.rule.label(given)
        if isinstance(pipeline.rule, NumberRule):
            return label
        if pipeline.task == "classification":
            return label.flatten() if pipeline.rule.activation == "sigmoid" else label.reshape(())
        return on_grid(label.round(), affine_of(given), seen, affine_of(seen))  # interpolated ones, as lazy steps leave


def _mask_on(mask: MetaTensor, image: Any) -> Tensor:
    moved = on_grid(mask.float(), affine_of(mask), image, affine_of(image))
    return torch.as_tensor(as_plain(moved)) > 0.5
