"""What real bundles of the zoo do and others do not, each in a small one: own transforms, merged maps, prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles.zoo import COMMON, DATASET, EVALUATOR, LOADER, dark_is_lung, save, volume, write
from monai.transforms import MapTransform
from torch import Tensor, nn

HERE = "bundles.zoo_shapes"
WINDOW = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1}
SIGMOID = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
HALF = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
BACK = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"}
MERGE = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: torch.where(x[[1]] > 0, 4, x[[0]])"}


class Joined(MapTransform):
    """Makes one image of several, with numpy, and forgets what MapTransform asks of it."""

    def __init__(self, keys_merge: list[str], keys_out: str) -> None:
        self.keys_merge, self.keys_out = keys_merge, keys_out

    def __call__(self, data: Any) -> dict[Any, Any]:
        data = dict(data)
        data[self.keys_out] = np.concatenate([data[key] for key in self.keys_merge]).astype(np.float32)
        return data


class Clicked(nn.Module):
    """Segments what is bright within three voxels of a point inside, and of none outside."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(40.0))

    def forward(self, image: Tensor, points: Tensor, point_labels: Tensor) -> Tensor:
        axes = [torch.arange(size) for size in image.shape[2:]]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).unsqueeze(-2)
        near = ((places - points[0]) ** 2).sum(-1) < 9
        chosen = (near & (point_labels[0] == 1)).any(-1) & ~(near & (point_labels[0] == 0)).any(-1)
        return self.gain * torch.where(chosen, image - 0.3, -1.0)


class Prompted(nn.Module):
    """Segments what is brighter, or what is darker, than the middle: as it is prompted."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(40.0))

    def forward(self, image: Tensor, prompt: Tensor) -> Tensor:
        sign = prompt.to(image).view(-1, *[1] * (image.ndim - 1)) * 2 - 1
        return self.gain * sign * (image - 0.3)


def _config(network: Any, steps: list[Any], post: list[Any], items: list[Any], **ids: Any) -> dict[str, Any]:
    return {
        **COMMON,
        "imports": ["$import torch"],
        "network_def": network,
        "datalist": items,
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": DATASET,
        "dataloader": LOADER,
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": post},
        "evaluator": EVALUATOR,
        "initialize": ["$@network.load_state_dict(torch.load(@bundle_root + '/models/model.pt', weights_only=True))"],
        **ids,
    }


def _load(*keys: str) -> list[Any]:
    return [{"_target_": name, "keys": list(keys)} for name in ("LoadImaged", "EnsureChannelFirstd")]


def joined(folder: Path) -> Path:
    """Two phases under keys of their own, which a transform of the bundle's makes the image of."""
    files = {name: save(volume(seed)[0], folder / "data" / f"{name}.nii.gz") for seed, name in enumerate(("a", "b"))}
    join = {"_target_": f"{HERE}.Joined", "keys_merge": ["a", "b"], "keys_out": "image"}
    network = {"_target_": "torch.nn.Conv3d", "in_channels": 2, "out_channels": 2, "kernel_size": 1}
    post = [{"_target_": "Activationsd", "keys": "pred", "softmax": True}, ARGMAX]
    weights = dark_is_lung(2)
    with torch.no_grad():
        weights.weight /= 2
    config = _config(network, [*_load("a", "b"), join, WINDOW], post, [files])
    return write(folder, {"inference.json": config}, weights)


def merged(folder: Path, *, in_the_end: bool) -> Path:
    """Two overlapping channels, of which postprocessing may make one map of the numbers 0, 1 and 4 in the end."""
    items = [{"image": save(volume()[0], folder / "data" / "ct.nii.gz")}]
    network = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
    post = [SIGMOID, HALF, *[MERGE] * in_the_end]
    return write(folder, {"inference.json": _config(network, [*_load("image"), WINDOW], post, items)}, dark_is_lung())


def interpolated(folder: Path) -> Path:
    """A map of classes that is taken back to the file's grid by interpolation, after it was decided."""
    items = [{"image": save(volume()[0], folder / "data" / "ct.nii.gz")}]
    network = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
    spacing = {"_target_": "Spacingd", "keys": "image", "pixdim": [2, 2, 2], "mode": "bilinear"}
    post = [ARGMAX, {**BACK, "nearest_interp": False, "to_tensor": True}]
    config = _config(network, [*_load("image"), spacing, WINDOW], post, items)
    return write(folder, {"inference.json": config}, dark_is_lung())


CLICKS = [  # points, and whether each lies inside: of two cases
    ([[3, 3, 3], [5, 3, 3]], [1, 0]),
    ([[15, 15, 8], [2, 9, 1], [3, 12, 2]], [1, 1, 0]),
]


def clicked(folder: Path) -> Path:
    """Points of each case, in voxels, which the evaluator hands to the network beside the image."""
    items = [
        {
            "image": save(volume(case)[0], folder / "data" / f"ct_{case}.nii.gz"),
            "points": points,
            "point_labels": labels,
        }
        for case, (points, labels) in enumerate(CLICKS)
    ]
    keys = ["points", "point_labels"]
    extra = {"_target_": "PrepareBatchExtraInput", "extra_keys": {key: key for key in keys}}
    config = _config(
        {"_target_": f"{HERE}.Clicked"},
        [*_load("image"), WINDOW, {"_target_": "ToTensord", "keys": keys}],
        [SIGMOID, HALF],
        items,
        evaluator={**EVALUATOR, "prepare_batch": extra},
    )
    return write(folder, {"inference.json": config}, Clicked())


def prompted(folder: Path) -> Path:
    """A prompt for each case, which the evaluator hands to the network beside the image."""
    items = [
        {"image": save(volume(case)[0], folder / "data" / f"ct_{case}.nii.gz"), "prompt": case} for case in range(2)
    ]
    extra = {"_target_": "PrepareBatchExtraInput", "extra_keys": {"prompt": "prompt"}}
    config = _config(
        {"_target_": f"{HERE}.Prompted"},
        [*_load("image"), WINDOW],
        [SIGMOID, HALF],
        items,
        evaluator={**EVALUATOR, "prepare_batch": extra},
    )
    return write(folder, {"inference.json": config}, Prompted())
