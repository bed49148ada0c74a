"""Less usual inference bundles, in the layout of the MONAI Model Zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles.zoo import COMMON, DATASET, EVALUATOR, LOADER, dark_is_lung, save, volume, write
from dicom_files import planes
from dicom_files import save as save_series
from torch import nn


def _inference(network: Any, preprocessing: list[dict[str, Any]], **ids: Any) -> dict[str, Any]:
    """An inference.json of today's zoo: weights by CheckpointLoader in `initialize`, savers in postprocessing."""
    return {
        **COMMON,
        "network_def": network,
        "preprocessing": {"_target_": "Compose", "transforms": preprocessing},
        "dataset": DATASET,
        "dataloader": LOADER,
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
        },
        "load_pretrain": True,
        "evaluator": EVALUATOR,
        "initialize": ["$@checkpointloader(@evaluator) if @load_pretrain else None"],
        "run": ["$@evaluator.run()"],
        **ids,
    }


def dicom_segmentation(folder: Path, reader: str | None, files: bool) -> Path:
    """inference.json on a DICOM series with padding, named after a patient; more than a softmax in postprocessing."""
    datasets = planes(volume()[0].astype(int) + 1024)
    for ds in datasets:
        pixels = np.frombuffer(ds.PixelData, "<u2").copy().reshape(18, 20)
        pixels[:3], ds.PixelPaddingValue = 0, 0
        ds.PixelData = pixels.tobytes()
    paths = save_series(datasets, folder / "data" / "SECRET^NAME")
    loader = {"_target_": "LoadImaged", "keys": "image"} | ({"reader": reader} if reader else {})
    config = _inference(
        {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1},
        [
            loader,
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS", "labels": None},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1, 1, 2], "mode": "bilinear"},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0}
            | {"b_max": 1, "clip": True},
        ],
        datalist=[{"image": [str(path) for path in paths] if files else str(paths[0].parent)}],
        inferer={"_target_": "SlidingWindowInfererAdapt", "roi_size": [16, 16, 8], "overlap": 0.25},
        postprocessing={
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"}
                | {"nearest_interp": False},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "FillHolesd", "keys": "pred", "applied_labels": [1]},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
            ],
        },
    )
    return write(folder, {"inference.json": config}, dark_is_lung())


def sequences(folder: Path) -> Path:
    """inference.yaml of a 3-D classifier: three MR sequences under keys of their own, put together by ConcatItemsd."""
    keys = ["t1", "t2", "flair"]
    items: list[dict[str, Any]] = []
    for case in range(2):
        values = np.random.default_rng(case).integers(0, 60, (3, 12, 10, 8))
        values[case] += 300
        files = {
            k: save(v.astype(np.int16), folder / "data" / f"{k}_{case}.nii.gz")
            for k, v in zip(keys, values, strict=True)
        }
        items.append({**files, "label": case})
    config = _inference(
        "$torch.nn.Sequential(torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2))",
        [
            {"_target_": "LoadImaged", "keys": keys},
            {"_target_": "EnsureChannelFirstd", "keys": keys},
            {"_target_": "Resized", "keys": keys, "spatial_size": [8, 8, 8]},
            {"_target_": "ConcatItemsd", "keys": keys, "name": "image"},
            {"_target_": "ScaleIntensityd", "keys": "image"},
        ],
        datalist=items,
        inferer={"_target_": "SimpleInferer"},
        postprocessing={
            "_target_": "Compose",
            "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}],
        },
    )
    network = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        network[2].weight.copy_(torch.tensor([[9.0, -9.0, 0.0], [-9.0, 9.0, 0.0]]))
        network[2].bias.zero_()
    return write(folder, {"inference.yaml": config}, network)


def slices(folder: Path) -> Path:
    """inference.json of a 2-D network that goes through a volume by slices; older: `evaluating` instead of `run`."""
    files = [{"image": save(volume()[0], folder / "data" / "heart.nii.gz")}]
    config = _inference(
        {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 1},
        [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1},
        ],
        datalist=files,
        inferer={"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2, "overlap": 0.25},
        postprocessing={
            "_target_": "Compose",
            "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}],
        },
        evaluating=["$@evaluator.run()"],
    )
    del config["run"]
    weights = dark_is_lung()
    network = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        network.weight.copy_(weights.weight[..., 0])
        network.bias.copy_(weights.bias)
    return write(folder, {"inference.json": config}, network)
