"""A bundle of MONAI's VISTA3D as the zoo has it, in small: network drawn at random, prompts of the user's items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from bundles.zoo import COMMON, DATASET, EVALUATOR, LOADER, save, volume, write
from monai.apps.vista3d.inferer import point_based_window_inferer
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer, SlidingWindowInfererAdapt
from monai.networks.nets.segresnet_ds import SegResNetDS2
from monai.networks.nets.vista3d import VISTA3D, ClassMappingClassify, PointMappingSAM
from monai.transforms import reset_ops_id
from torch import Tensor

HERE = "bundles.vista"
NAMES = {"0": "background", "1": "liver", "3": "spleen", "5": "right kidney"}


def vista3d(features: int = 8) -> VISTA3D:
    """VISTA3D with an encoder of two levels."""
    encoder = SegResNetDS2(
        in_channels=1, blocks_down=(1, 1), norm="instance", out_channels=features, init_filters=features, dsdepth=1
    )
    points = PointMappingSAM(feature_size=features, n_classes=512, last_supported=132)
    return VISTA3D(encoder, ClassMappingClassify(n_classes=512, feature_size=features), points)


class VistaInferer(Inferer):
    """Windows around points where there are any, else sliding ones."""

    def __init__(self, roi_size: list[int]) -> None:
        super().__init__()
        self.roi_size = roi_size

    def __call__(self, inputs: Tensor, network: Any, **prompt: Any) -> Any:
        given = {"transpose": True, "prompt_class": prompt["class_vector"], **prompt}
        if prompt["point_coords"] is not None:
            return point_based_window_inferer(inputs=inputs, roi_size=self.roi_size, predictor=network, **given)
        return SlidingWindowInfererAdapt(roi_size=self.roi_size, with_coord=True)(inputs, network, **given)


class VistaEvaluator(SupervisedEvaluator):
    """Takes the prompts of an item: classes, and points in voxels of its file."""

    def _iteration(self, engine: Any, batchdata: Any) -> dict[str, Any]:
        image = batchdata["image"].to(engine.state.device)
        classes, points, labels = (batchdata.get(key) for key in ("label_prompt", "points", "point_labels"))
        prompt: dict[str, Any] = {"point_coords": None, "point_labels": None, "class_vector": None}
        if classes is not None:
            prompt["class_vector"] = torch.as_tensor([int(number) for number in classes]).unsqueeze(-1)
        if points is not None:
            affine = torch.linalg.inv(image.affine[0]) @ image.meta["original_affine"][0].to(image.affine)
            rows = torch.as_tensor([[float(value) for value in point] for point in points]).to(affine)
            prompt["point_coords"] = (rows @ affine[:3, :3].T + affine[:3, 3])[None]
            prompt["point_labels"] = torch.as_tensor([[int(label) for label in labels]])
        engine.state.output = {"image": image}
        with engine.mode(engine.network):
            engine.state.output["pred"] = engine.inferer(inputs=image, network=engine.network, **prompt)
        reset_ops_id(image)  # as the zoo's does, whose Invertd has a copy of the transforms
        for key, name in (("label_prompt", "class_vector"), ("points", "point_coords"), ("point_labels",) * 2):
            value = prompt[name]
            engine.state.output[key] = None if value is None else value.unsqueeze(0)
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        output: dict[str, Any] = engine.state.output
        return output


def bundle(folder: Path, *prompts: dict[str, Any], seed: int = 0, network: Any = None, name: str = "vista3d") -> Path:
    """A case for each prompt."""
    items = [
        {"image": save(volume(case)[0], folder / "data" / f"ct_{case}.nii.gz"), **prompt}
        for case, prompt in enumerate(prompts)
    ]
    steps = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.5], "mode": "bilinear"},
        {"_target_": "monai.apps.vista3d.transforms.VistaPreTransformd", "keys": "image"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0}
        | {"b_max": 1, "clip": True},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.float32"},
    ]
    post = [
        {"_target_": "monai.apps.vista3d.transforms.VistaPostTransformd", "keys": "pred"},
        {"_target_": "Invertd", "keys": "pred", "transform": "$copy.deepcopy(@preprocessing)", "orig_keys": "image"}
        | {"nearest_interp": True, "to_tensor": True},
        {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: torch.nan_to_num(x, nan=255)"},
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "resample": False}
        | {"separate_folder": False, "output_postfix": "seg"},
    ]
    config = {
        **COMMON,
        "imports": ["$import copy", "$import torch"],
        "network_def": {"_target_": f"{HERE}.{name}"},
        "input_dict": items[0],  # as the zoo's calls its one item
        "datalist": ["@input_dict", *items[1:]],
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": DATASET,
        "dataloader": LOADER,
        "inferer": {"_target_": f"{HERE}.VistaInferer", "roi_size": [12, 12, 12]},
        "postprocessing": {"_target_": "Compose", "transforms": post},
        "evaluator": {**EVALUATOR, "_target_": f"{HERE}.VistaEvaluator"},
        "initialize": ["$@network.load_state_dict(torch.load(@bundle_root + '/models/model.pt', weights_only=True))"],
        "run": ["$@evaluator.run()"],
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        written = write(folder, {"inference.json": config}, vista3d() if network is None else network)
    file = folder / "configs" / "metadata.json"
    outputs = {"pred": {"channel_def": NAMES}}
    file.write_text(json.dumps({**json.loads(file.read_text()), "network_data_format": {"outputs": outputs}}))
    return written
