"""Algorithm folders in small, of the two layouts that Auto3DSeg's templates have, with scripts of our own."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from auto3dseg_scripts import HELPER, SEGMENTER, TRANSFORMS

SHAPE = (18, 16, 12)
AFFINE = np.array([[-1.4, 0, 0, 30], [0, 1.3, 0, -20], [0, 0, 2.1, 5], [0, 0, 0, 1.0]])
ROI = [12, 12, 8]


def write_algorithm(
    folder: Path,
    mode: str = "range",
    *,
    layout: str = "segmenter",
    sigmoid: bool = False,
    extra: dict[str, str] | None = None,
    spacing: list[float] | None = None,
    logits_back: bool = False,
    fold: int = 0,
    gain: float = 3.0,
    **settings: Any,
) -> Path:
    """A folder whose network answers to intensity.

    Args:
        folder: to be made.
        mode: of normalization: ``"range"``, ``"meanstd"`` or ``"pet"``.
        layout: ``"segmenter"`` or ``"transforms"``.
        sigmoid: two regions, (1, 2) and (2,), and not three exclusive classes.
        extra: further images of a case, with their modes.
        spacing: to resample to; None for the files' own.
        logits_back: the network's own values are taken back, not probabilities.
        fold: of the algorithm, which also draws the weights.
        gain: of the weights.
        **settings: further hyperparameters.
    """
    (folder / "scripts").mkdir(parents=True)
    (folder / "configs").mkdir()
    (folder / "scripts" / "helper.py").write_text(HELPER)
    (folder / "scripts" / "infer.py").write_text(SEGMENTER if layout == "segmenter" else TRANSFORMS)
    checkpoint = "/model/model.pt" if layout == "segmenter" else "/model_fold0/best_metric_model.pt"
    regions = [{"name": "whole", "index": [1, 2]}, {"name": "core", "index": [2]}]
    config = {
        "bundle_root": "/elsewhere",  # where it was trained
        "data_file_base_dir": "/elsewhere",
        "data_list_file_path": "/elsewhere/list.json",
        "fold": fold,
        "input_channels": 1 + len(extra or {}),
        "output_classes": 2 if sigmoid else 3,
        "class_names": regions if sigmoid else ["organ", "tumor"],
        "sigmoid": sigmoid,
        "roi_size": ROI,
        "normalize_mode": mode,
        "intensity_bounds": [-100.0, 250.0],
        "extra_modalities": extra or {},
        "resample": spacing is not None,
        "resample_resolution": spacing or [1.0, 1.0, 1.0],
        "logits_back": logits_back,
        "infer": {"ckpt_name": f"$@bundle_root + '{checkpoint}'", "log_output_file": "runner.log"},
        **settings,
    }
    (folder / "configs" / "hyper_parameters.yaml").write_text(yaml.safe_dump(config))
    if layout != "segmenter":
        steps = {"_target_": "Compose", "transforms": _steps(mode, spacing)}
        (folder / "configs" / "transforms_infer.yaml").write_text(yaml.safe_dump({"transforms_infer": steps}))
    state = _weights(config, gain)
    path = Path(f"{folder}{checkpoint}")
    path.parent.mkdir()
    held = {"state_dict": state, "best_metric": np.float64(0.5), "epoch": 1}
    torch.save(held if layout == "segmenter" else state, path)
    return folder


def _steps(mode: str, spacing: list[float] | None) -> list[dict[str, Any]]:
    window = {"a_min": -100.0, "a_max": 250.0, "b_min": 0.0, "b_max": 1.0, "clip": True}
    normalize = {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}
    crop = {"_target_": "CropForegroundd", "keys": "image", "source_key": "image", "allow_smaller": True}
    return [
        {"_target_": "LoadImaged", "keys": "image", "image_only": True},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        *([{"_target_": "ScaleIntensityRanged", "keys": "image", **window}, crop] if mode == "range" else [normalize]),
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        *([{"_target_": "Spacingd", "keys": "image", "pixdim": spacing, "mode": "bilinear"}] if spacing else []),
        {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.float32"},
    ]


def _weights(config: dict[str, Any], gain: float) -> dict[str, torch.Tensor]:
    made: dict[str, Any] = {}
    exec(HELPER, made)
    network = made["network"](config)
    with torch.no_grad():
        network[0].weight.mul_(gain)
        network[2].weight.mul_(2 * gain)
    state: dict[str, torch.Tensor] = network.state_dict()
    return state


def write_case(folder: Path, name: str = "case", seed: int = 0, extra: tuple[str, ...] = ()) -> dict[str, str]:
    """An image in which air, organ and tumor are told apart, its label, and further images; their files by key."""
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in SHAPE], indexing="ij"))
    label = ((grid**2).sum(0) < 0.6).astype(np.uint8)
    label += (((grid - 0.2) ** 2).sum(0) < 0.1).astype(np.uint8)
    item = {}
    for key in ("image", *extra):
        values = np.array([0, 90, 200])[label] + generator.normal(0, 20, SHAPE)
        values = np.where((grid**2).sum(0) < 1.2, values, 0).round().astype(np.int16)
        item[key] = str(folder / ("images" if key == "image" else key) / f"{name}.nii.gz")
        _save(values, item[key])
    item["label"] = str(folder / "labels" / f"{name}.nii.gz")
    _save(label, item["label"])
    return item


def _save(values: np.ndarray, path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, AFFINE), path)


def write_list(path: Path, items: list[dict[str, str]], key: str = "testing") -> Path:
    """A list of data as Auto3DSeg takes it."""
    path.write_text(json.dumps({key: items}))
    return path


def own_infer(folder: Path, aside: Path) -> Any:
    """A fresh `InferClass` of a folder, apart from everything of this project; `aside` is for what it writes."""
    aside.mkdir(exist_ok=True)
    (aside / "list.json").write_text('{"testing": []}')
    before = dict(sys.modules)
    spec: Any = importlib.util.spec_from_file_location("own", folder / "scripts" / "infer.py")
    module: ModuleType = importlib.util.module_from_spec(spec)
    path, handlers = list(sys.path), list(logging.getLogger().handlers)
    try:
        spec.loader.exec_module(module)
        overrides = {"bundle_root": str(folder), "device": "cpu", "infer#log_output_file": str(aside / "log")}
        overrides |= {"data_list_file_path": str(aside / "list.json")}
        return module.InferClass([str(path) for path in sorted((folder / "configs").iterdir())], **overrides)
    finally:
        sys.path[:] = path
        logging.getLogger().handlers[:] = handlers
        if "helper" not in before:
            sys.modules.pop("helper", None)
