"""Folders of trained nnU-Nets, small and with weights drawn at random, and images for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

CT, ZSCORE = "CTNormalization", "ZScoreNormalization"
FINGERPRINT = {"mean": 60.0, "std": 110.0, "percentile_00_5": -300.0, "percentile_99_5": 500.0}
SPLINE = "resample_data_or_seg_to_shape"


def write_model(
    folder: Path,
    *,
    patch: Sequence[int] = (12, 16, 16),
    spacing: Sequence[float] = (2.0, 1.5, 1.5),
    schemes: Sequence[str] = (CT,),
    masked: bool = False,
    labels: dict[str, Any] | None = None,
    regions_class_order: Sequence[int] | None = None,
    folds: int = 1,
    mirror: Sequence[int] | str | None = "all",
    transpose: Sequence[int] = (0, 1, 2),
    file_ending: str = ".nii.gz",
    reader: str = "SimpleITKIO",
    resampling: str = SPLINE,
    trainer: str = "nnUNetTrainer",
    previous_stage: str | None = None,
    seed: int = 0,
) -> Path:
    """A folder as nnU-Net's trainer leaves it."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    labels = labels or {"background": 0, "organ": 1, "lesion": 2}
    dims, name = len(patch), "2d" if len(patch) == 2 else "3d_fullres"
    configuration = {
        "data_identifier": "nnUNetPlans_tiny",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(patch),
        "median_image_size_in_voxels": [20.0] * dims,
        "spacing": list(spacing),
        "normalization_schemes": list(schemes),
        "use_mask_for_norm": [masked] * len(schemes),
        **_resampling("data", resampling, order=3),
        **_resampling("seg", resampling, order=1, is_seg=True),
        **_resampling("probabilities", resampling, order=1),
        "batch_dice": False,
        "architecture": _architecture(dims),
        **({} if previous_stage is None else {"previous_stage": previous_stage}),
    }
    plans = {
        "dataset_name": "Dataset001_Tiny",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [2.0, 1.5, 1.5],
        "original_median_shape_after_transp": [20, 20, 20],
        "image_reader_writer": reader,
        "transpose_forward": list(transpose),
        "transpose_backward": [int(axis) for axis in np.argsort(transpose)],
        "configurations": {name: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(c): FINGERPRINT for c in range(len(schemes))},
    }
    dataset = {
        "channel_names": {str(c): f"channel {c}" for c in range(len(schemes))},
        "labels": labels,
        "numTraining": 4,
        "file_ending": file_ending,
        **({} if regions_class_order is None else {"regions_class_order": list(regions_class_order)}),
    }
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    heads = PlansManager(plans).get_label_manager(dataset).num_segmentation_heads
    architecture = configuration["architecture"]
    for fold in range(folds):
        torch.manual_seed(seed + fold)
        network = get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            len(schemes) + (0 if previous_stage is None else heads - 1),
            heads,
            deep_supervision=False,
        )
        checkpoint = {
            "network_weights": network.state_dict(),
            "trainer_name": trainer,
            "init_args": {"configuration": name},
            "inference_allowed_mirroring_axes": tuple(range(dims)) if mirror == "all" else mirror,
        }
        (folder / f"fold_{fold}").mkdir()
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def _resampling(what: str, name: str, *, order: int, is_seg: bool = False) -> dict[str, Any]:
    options: dict[str, Any] = {"is_seg": is_seg, "force_separate_z": None}
    if name == SPLINE:
        options |= {"order": order, "order_z": 0}
    return {f"resampling_fn_{what}": name, f"resampling_fn_{what}_kwargs": options}


def _architecture(dims: int) -> dict[str, Any]:
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 6],
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "kernel_sizes": [[3] * dims] * 2,
            "strides": [[1] * dims, [2] * dims],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def write_image(
    path: Path,
    shape: Sequence[int] = (21, 19, 14),
    zooms: Sequence[float] = (1.2, 1.2, 3.0),
    *,
    seed: int = 0,
    masked: bool = False,
    low: float = -500,
    high: float = 700,
) -> Path:
    """Smooth blobs in a NIfTI file of whole numbers (x, y, z), all of it, or a ball of it with zeros around."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    values = ndimage.gaussian_filter(rng.normal(size=tuple(shape)), 1.5)
    values = low + (high - low) * (values - values.min()) / np.ptp(values)
    if masked:
        centers = [(np.arange(n) - 0.45 * n) / (0.42 * n) for n in shape]
        radius = sum(np.square(c) for c in np.meshgrid(*centers, indexing="ij"))
        values = np.where(radius < 1, values, 0)
    affine = np.diag([*([-1, -1] + [1] * (len(shape) - 2)), 1.0]) * np.diag([*zooms, 1.0][: len(shape)] + [1.0])
    if len(shape) == 2:
        affine = np.diag([-zooms[0], -zooms[1], 1.0, 1.0])
    image = nib.Nifti1Image(np.round(values).astype(np.int16), affine)
    image.header.set_zooms(tuple(zooms)[: len(shape)])
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def write_label(path: Path, image: Path, classes: int = 3) -> Path:
    """A label map by thresholds of the image."""
    source: Any = nib.load(image)
    values = np.asarray(source.dataobj, dtype=np.float64)
    inner = values[values != 0]
    edges = np.quantile(inner, np.linspace(0, 1, classes + 1)[1:-1])
    label = np.where(values != 0, np.digitize(values, edges), 0).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(label, source.affine), path)
    return path
