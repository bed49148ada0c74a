"""A detection bundle with boxes in world coordinates, in small; its chain, window and post-processing vary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from bundles.zoo_detection import detection
from monai.bundle import ConfigParser

BOX = "box"
RAS = np.array([[1.2, 0, 0, 5.0], [0, 1.0, 0, -9.0], [0, 0, 2.0, 3.0], [0, 0, 0, 1.0]])
LPS = RAS @ np.array([[-1, 0, 0, 31], [0, -1, 0, 31], [0, 0, 1, 0], [0, 0, 0, 1.0]])  # the same place, turned
FIRST_BOX_ALONE = {"_target_": "EnsureTyped", "keys": [BOX]}
TO_IMAGE = {
    "_target_": "monai.apps.detection.transforms.dictionary.AffineBoxToImageCoordinated",
    "box_keys": BOX,
    "box_ref_image_keys": "image",
}


def evaluator_of(bundle: Path) -> Any:
    """The bundle's own evaluator, its weights loaded."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser["bundle_root"] = str(bundle)
    parser.get_parsed_content("initialize")
    return parser.get_parsed_content("evaluator")


def own_boxes(bundle: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What the bundle's own inferer finds, and the batch that it is given."""
    evaluator = evaluator_of(bundle)
    (batch,) = evaluator.data_loader
    with torch.no_grad():
        (found,) = evaluator.inferer(batch["image"], evaluator.network)
    return {"boxes": found["boxes"], "labels": found["labels"], "scores": found["labels_scores"]}, batch


def with_boxes(folder: Path, affine: np.ndarray, *, box_steps: bool = True, window: list[int] | None = None) -> Path:
    """The bundle; the boxes that it finds best, a little moved and one of them left out, are its items', in mm."""
    bundle = detection(folder)
    scan, path = folder / "data" / "nodule.nii.gz", bundle / "configs" / "inference.json"
    values = np.asarray(nib.load(scan).dataobj)
    nib.save(nib.Nifti1Image(values, RAS), scan)
    found, _ = own_boxes(bundle)
    chosen = torch.cat([found["boxes"][:1] + 0.4, found["boxes"][2:4] - 0.3]).double().numpy()
    corners = np.stack([chosen[:, :3], chosen[:, 3:]], 1) @ RAS[:3, :3].T + RAS[:3, 3]
    labels = torch.cat([found["labels"][:1], found["labels"][2:4]]).tolist()
    if affine is LPS:
        nib.save(nib.Nifti1Image(np.ascontiguousarray(values[::-1, ::-1]), LPS), scan)
    config: dict[str, Any] = json.loads(path.read_text())
    boxes = np.concatenate([corners.min(1), corners.max(1)], 1).tolist()
    config["datalist"] = [{**item, BOX: boxes, "label": labels} for item in config["datalist"]]
    load, first, orient, scale = config["preprocessing"]["transforms"]
    steps = [load, first, FIRST_BOX_ALONE, orient, TO_IMAGE, scale] if box_steps else [load, first, orient, scale]
    config["preprocessing"]["transforms"] = steps
    if window is not None:
        options = f"roi_size={window}, overlap=0.25, sw_batch_size=1, mode='constant'"
        config["detector_ops"].append(f"$@detector.set_sliding_window_inferer({options})")
    path.write_text(json.dumps(config))
    return bundle
