"""Foreign bundles, made anew for every test: one small segmentation bundle, changed in one respect each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from bundles.zoo import COMMON, DATASET, EVALUATOR, LOADER, write
from PIL import Image
from torch import nn

KEYS = ["image", "label"]
SHAPE = (22, 18, 14)
LPS = np.array([[-1.2, 0, 0, 7.0], [0, -1.0, 0, -3.0], [0, 0, 1.5, 11.0], [0, 0, 0, 1.0]])
LOAD = [{"_target_": "LoadImaged", "keys": KEYS}, {"_target_": "EnsureChannelFirstd", "keys": KEYS}]
WINDOW = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1}
ORIENT = {"_target_": "Orientationd", "keys": KEYS, "axcodes": "RAS", "labels": None}
SPACING = {"_target_": "Spacingd", "keys": KEYS, "pixdim": [1.5, 1.5, 1.5], "mode": ["bilinear", "nearest"]}
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
SIGMOID = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
INVERT = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"} | {
    "nearest_interp": False,
    "to_tensor": True,
}
ARGMAX = {"_target_": "AsDiscreted", "keys": KEYS[1:] + ["pred"], "argmax": [False, True], "to_onehot": 2}


def threshold(value: float) -> dict[str, Any]:
    """The step that decides one channel."""
    return {"_target_": "AsDiscreted", "keys": "pred", "threshold": value}


def apply(keys: str | Sequence[str], function: str) -> dict[str, Any]:
    """A Lambdad."""
    return {"_target_": "Lambdad", "keys": keys, "func": f"$lambda x: {function}"}


@dataclass
class Foreign:
    """One bundle.

    Args:
        steps: of its dataset, behind loading.
        post: of its evaluator.
        load: how it loads.
        suffix: of its files.
        network: by its name in `NETWORKS`.
        lazy: of its Compose.
        background: of its MeanDice.
        space: where an attack lives: ``"scanner"`` or ``"network"``.
        refused: what it is refused with, before anything is computed; "" where it is not.
        stored: whether stored rows are the computed ones within rounding; False where the format cannot be stored.
        labels: number of classes with the background, in the label's file.
        empty: the first case has an empty label.
    """

    steps: list[Any] = field(default_factory=lambda: [ORIENT, SPACING, WINDOW])
    post: list[Any] = field(default_factory=lambda: [SOFTMAX, ARGMAX])
    load: list[Any] = field(default_factory=lambda: list(LOAD))
    suffix: str = ".nii.gz"
    network: str = "softmax"
    lazy: bool = False
    background: bool = False
    space: str = "scanner"
    refused: str = ""
    stored: bool = True
    labels: int = 2
    empty: bool = False
    options: dict[str, Any] = field(default_factory=dict)


NETWORKS = {
    "softmax": "torch.nn.Conv3d(1, 2, 1)",
    "sigmoid": "torch.nn.Conv3d(1, 1, 1)",
    "three": "torch.nn.Conv3d(1, 3, 1)",
    "ends in sigmoid": "torch.nn.Sequential(torch.nn.Conv3d(1, 1, 1), torch.nn.Sigmoid())",
    "ends in softmax": "torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.Softmax(1))",
    "flat": "torch.nn.Conv2d(1, 2, 1)",
}


def trained(network: str) -> nn.Module:
    """A network that takes dark for the object, right about most voxels, whose probabilities are not all sure."""
    module = eval(NETWORKS[network])
    convolution = module[0] if isinstance(module, nn.Sequential) else module
    with torch.no_grad():
        weight, bias = convolution.weight.flatten(), convolution.bias
        if len(weight) == 1:
            weight[0], bias[0] = -30.0, 8.0
        elif len(weight) == 2:
            weight[0], weight[1], bias[0], bias[1] = 15.0, -15.0, -4.0, 4.0
        else:
            weight[:] = torch.tensor([30.0, 0.0, -40.0])
            bias[:] = torch.tensor([-12.0, 0.0, 6.0])
    return module


def volume(case: int, shape: tuple[int, ...] = SHAPE, labels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A small CT, unlike itself in every direction, with an object (or two) that noise blurs, and its label."""
    rng = np.random.default_rng(case)
    image, label = np.full(shape, -520.0), np.zeros(shape, np.uint8)
    inside = tuple(slice(2 + i, n // 2 + 2 + i) for i, n in enumerate(shape))
    image[inside], label[inside] = -760, 1
    if labels > 2:
        image[(slice(None, 5), *inside[1:])], label[(slice(None, 5), *inside[1:])] = -960, 2
    corner = tuple(slice(-3, None) for _ in shape)
    image[corner] = -760  # found, and not there
    ramp = np.linspace(0, 60, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return np.round(image + ramp + rng.normal(0, 70, shape)).astype(np.int16), label


def save(values: np.ndarray, path: Path) -> str:
    """In the format of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(values, LPS), path)
    elif path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".png":
        Image.fromarray(values.astype(np.uint8)).save(path)
    else:
        import itk

        picture = itk.image_from_array(np.ascontiguousarray(values.T.astype(np.int16)))
        picture.SetSpacing([1.2, 1.0, 1.5])
        picture.SetOrigin([-7.0, 3.0, 11.0])
        itk.imwrite(picture, str(path))
    return str(path)


def build(folder: Path, foreign: Foreign, cases: int = 2) -> Path:
    """The bundle, with labels beside its images and a MeanDice of its own."""
    items = []
    for case in range(cases):
        image, label = volume(case, labels=foreign.labels)
        if foreign.empty and case == 0:
            label[:] = 0
        name = f"ct_{case}{foreign.suffix}"
        files = (save(image, folder / "data" / "i" / name), save(label, folder / "data" / "l" / name))
        items.append(dict(zip(KEYS, files, strict=True)))
    dice = {"_target_": "MeanDice", "include_background": foreign.background, "reduction": "none"}
    config = {
        **COMMON,
        "datalist": items,
        "network_def": f"${NETWORKS[foreign.network]}",
        "preprocessing": {"_target_": "Compose", "lazy": foreign.lazy, "transforms": [*foreign.load, *foreign.steps]},
        "dataset": DATASET,
        "dataloader": LOADER,
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.25},
        "postprocessing": {"_target_": "Compose", "transforms": foreign.post},
        "metric": dice | {"output_transform": "$monai.handlers.from_engine(['pred', 'label'])"},
        "evaluator": EVALUATOR | {"key_val_metric": {"dice": "@metric"}},
        "initialize": ["$@network.load_state_dict(torch.load(@bundle_root + '/models/model.pt', weights_only=True))"],
        "run": ["$@evaluator.run()"],
    }
    return write(folder, {"inference.json": config}, trained(foreign.network))
