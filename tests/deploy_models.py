"""A small bundle as the SDK takes it, TorchScript with its configs inside, and the same one as a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles.zoo import COMMON, DATASET, EVALUATOR, LOADER, dark_is_lung, volume, write
from dicom_files import planes, save

from monai_smia.dicom import read_dicom_series

DATA_FORMAT = {"type": "image", "format": "hounsfield", "num_channels": 1, "spatial_shape": [16, 16, 8]}
INVERT = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"}
POSTPROCESSING = {
    "_target_": "Compose",
    "transforms": [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        INVERT | {"nearest_interp": False},
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
    ],
}


def series(folder: Path, *, spacing: tuple[float, float] = (0.7, 0.7), offset: int = 1024) -> Path:
    """A de-identified CT series of a dark box."""
    datasets = planes(volume()[0].astype(int) + offset)
    for ds in datasets:
        ds.PixelSpacing, ds.RescaleIntercept = list(spacing), -offset
    save(datasets, folder)
    return folder


def bundle(folder: Path, data: Path) -> tuple[Path, Path]:
    """The folder of the bundle, which reads `data` by itself, and the file that an application is given."""
    network = dark_is_lung()
    steps: list[dict[str, Any]] = [
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS", "labels": None},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1, 1, 2], "mode": "bilinear"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0, "b_max": 1}
        | {"clip": True},
    ]
    load = {"_target_": "LoadImaged", "keys": "image", "reader": "monai_smia.data.DicomSeriesReader"}
    config: dict[str, Any] = {
        **COMMON,
        "network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1},
        "load": [load],
        "preprocess": steps,
        "preprocessing": {"_target_": "Compose", "transforms": "$@load + @preprocess"},
        "datalist": [{"image": str(data)}],
        "dataset": DATASET,
        "dataloader": LOADER,
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 8], "overlap": 0.25},
        "postprocessing": POSTPROCESSING,
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
        },
        "evaluator": EVALUATOR,
        "initialize": ["$@checkpointloader(@evaluator)"],
        "run": ["$@evaluator.run()"],
    }
    channels = {"channel_def": {"0": "background", "1": "lung"}}
    data_format = {"inputs": {"image": DATA_FORMAT}, "outputs": {"pred": {**DATA_FORMAT, **channels}}}
    meta = {"version": "0.1.0", "network_data_format": data_format}
    made = write(folder, {"inference.json": config}, network)
    (made / "configs" / "metadata.json").write_text(json.dumps(meta))
    texts = {"inference": config, "deploy": {"load": []}, "metadata": meta}
    extra = {f"{name}.json": json.dumps(text) for name, text in texts.items()}
    torch.jit.save(torch.jit.script(network), folder / "model.ts", _extra_files=extra)
    return made, folder / "model.ts"


def segmented(seg: Path, data: Path) -> np.ndarray:
    """The mask of a DICOM SEG ``(columns, rows, planes)`` on the planes of a series, found by what it refers to."""
    import highdicom

    uids = [str(plane.header.SOPInstanceUID) for plane in read_dicom_series(data).slices]
    found = highdicom.seg.segread(seg).get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    return np.asarray(found)[..., 0].transpose(2, 1, 0)
