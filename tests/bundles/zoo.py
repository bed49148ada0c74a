"""Bundles in the layout of the MONAI Model Zoo, made anew for every test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from monai.networks.nets import SegResNet
from PIL import Image
from torch import nn

AFFINE = np.diag([-1.5, -1.5, 3.0, 1.0])


def write(folder: Path, configs: dict[str, dict[str, Any]], network: nn.Module) -> Path:
    """A bundle's folder: configs/*.json or *.yaml, models/model.pt."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    for name, config in configs.items():
        text = json.dumps(config, indent=2) if name.endswith(".json") else yaml.safe_dump(config, sort_keys=False)
        (folder / "configs" / name).write_text(text)
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "0.1.0", "monai_version": "1.6.1"}))
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder


def dark_is_lung(channels: int = 1, classes: int = 2) -> nn.Conv3d:
    """A network that is right about `volume`: what lies below a quarter of the window is lung."""
    network = nn.Conv3d(channels, classes, 1)
    with torch.no_grad():
        network.weight.zero_()
        network.weight[1:], network.bias[1:] = -40.0, 10.0
        network.weight[0], network.bias[0] = 40.0, -10.0
    return network


def volume(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A small CT in HU, and its lung."""
    image, label = np.full((20, 18, 10), -520, np.int16), np.zeros((20, 18, 10), np.uint8)
    image[4:16, 4:14, 2:8], label[4:16, 4:14, 2:8] = -720, 1
    return image + np.random.default_rng(seed).integers(-20, 21, image.shape, dtype=np.int16), label


def save(values: np.ndarray, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, AFFINE), path)
    return str(path)


COMMON: dict[str, Any] = {
    "imports": ["$import glob", "$import os"],
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/eval'",
    "device": "$torch.device('cpu')",
    "network": "$@network_def.to(@device)",
}
EVALUATOR = {
    "_target_": "SupervisedEvaluator",
    "device": "@device",
    "val_data_loader": "@dataloader",
    "network": "@network",
    "inferer": "@inferer",
    "postprocessing": "@postprocessing",
}
DATASET = {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"}
LOADER = {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False, "num_workers": 0}


def supervised_segmentation(folder: Path) -> Path:
    """train.json and evaluate.json, labels, sliding window, softmax in postprocessing, resampling and cropping."""
    for case in range(2):
        for name, values in zip(("images", "labels"), volume(case), strict=True):
            save(values, folder / "data" / name / f"ct_{case}.nii.gz")
    keys = ["image", "label"]
    train = {
        **COMMON,
        "dataset_dir": str(folder / "data"),
        "images": "$sorted(glob.glob(@dataset_dir + '/images/*.nii.gz'))",
        "labels": "$sorted(glob.glob(@dataset_dir + '/labels/*.nii.gz'))",
        "network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1},
        "validate": {
            "preprocessing": {
                "_target_": "Compose",
                "transforms": [
                    {"_target_": "LoadImaged", "keys": keys},
                    {"_target_": "EnsureChannelFirstd", "keys": keys},
                    {"_target_": "Orientationd", "keys": keys, "axcodes": "RAS", "labels": None},
                    {"_target_": "Spacingd", "keys": keys, "pixdim": [2, 2, 2], "mode": ["bilinear", "nearest"]},
                    {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0}
                    | {"b_max": 1, "clip": True},
                    {"_target_": "CropForegroundd", "keys": keys, "source_key": "image", "margin": 0},
                    {"_target_": "EnsureTyped", "keys": keys},
                ],
            },
            "dataset": {
                "_target_": "CacheDataset",
                "data": "$[{'image': i, 'label': l} for i, l in zip(@images, @labels)]",
                "transform": "@validate#preprocessing",
                "cache_rate": 0.0,
            },
            "dataloader": LOADER | {"dataset": "@validate#dataset"},
            "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.25},
            "postprocessing": {
                "_target_": "Compose",
                "transforms": [
                    {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                    {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False], "to_onehot": 2},
                ],
            },
            "evaluator": EVALUATOR
            | {"val_data_loader": "@validate#dataloader", "inferer": "@validate#inferer"}
            | {"postprocessing": "@validate#postprocessing"},
        },
    }
    evaluate = {
        "initialize": [
            "$monai.utils.set_determinism(0)",
            "$@network.load_state_dict(torch.load(@bundle_root + '/models/model.pt', weights_only=True))",
        ],
        "run": ["$@validate#evaluator.run()"],
    }
    return write(folder, {"train.json": train, "evaluate.json": evaluate}, dark_is_lung())


def brain_tumor(folder: Path, *, several_files: bool = False) -> Path:
    """inference.yaml without labels: four channels, z-scores, sigmoid of three overlapping classes.

    The weights are left to a handler, as older bundles do.
    """
    rng = np.random.default_rng(0)
    image = np.zeros((12, 12, 8, 4), np.int16)
    image[2:10, 2:10, 2:6] = 300 + rng.integers(-100, 101, (8, 8, 4, 4))
    if several_files:
        files = [save(image[..., i], folder / "data" / f"brain_{i}.nii.gz") for i in range(4)]
    else:
        files = [save(image, folder / "data" / "brain.nii.gz")]
    config = {
        **COMMON,
        "image_key": "image",
        "files": files,
        "datalist": "$[{@image_key: @files if len(@files) > 1 else @files[0]}]",
        "network_def": {"_target_": "SegResNet", "in_channels": 4, "out_channels": 3, "init_filters": 8}
        | {"blocks_down": [1, 1], "blocks_up": [1]},
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "@image_key"},
                {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
                {"_target_": "NormalizeIntensityd", "keys": "@image_key", "nonzero": True, "channel_wise": True},
            ],
        },
        "dataset": DATASET,
        "dataloader": LOADER,
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 8], "overlap": 0.5},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
                {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
            }
        ],
        "evaluator": EVALUATOR | {"val_handlers": "@handlers"},
        "run": ["$@evaluator.run()"],
    }

    torch.manual_seed(3)
    network = SegResNet(in_channels=4, out_channels=3, init_filters=8, blocks_down=(1, 1), blocks_up=(1,))
    return write(folder, {"inference.yaml": config}, network)


def classifier(folder: Path) -> Path:
    """inference.json of a 2-D classifier: PNG files (width and height differ), grades, resized, SimpleInferer."""
    (folder / "data").mkdir(parents=True)
    items = []
    for grade in range(3):
        pixels = np.random.default_rng(grade).integers(0, 60, (24, 32, 3)).astype(np.uint8)
        pixels[..., grade] += 60
        Image.fromarray(pixels).save(folder / "data" / f"frame_{grade}.png")
        items.append({"image": str(folder / "data" / f"frame_{grade}.png"), "label": grade})
    config = {
        **COMMON,
        "data_list": items,
        "network": "$torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 3))",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Resized", "keys": "image", "spatial_size": [16, 16], "mode": "bilinear"},
                {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0, "b_max": 1},
            ],
        },
        "dataset": DATASET | {"data": "@data_list"},
        "dataloader": LOADER,
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": True}],
        },
        "evaluator": EVALUATOR,
        "initialize": ["$@network.load_state_dict(torch.load(@bundle_root + '/models/model.pt', weights_only=True))"],
        "run": ["$@evaluator.run()"],
    }
    network = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 3))
    with torch.no_grad():
        network[2].bias.zero_()
        network[2].weight.copy_(torch.eye(3).repeat_interleave(16, dim=1) * 2)  # the brightest color
    return write(folder, {"inference.json": config}, network)
