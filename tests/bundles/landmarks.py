"""Bundles whose network predicts landmarks: of a picture, or of every slice of a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from bundles.zoo import AFFINE, COMMON, DATASET, EVALUATOR, LOADER, write
from monai.inferers import Inferer
from PIL import Image
from torch import Tensor, nn

SIZE, SLICES = (24, 20), 3
POINTS = [[6.0, 14.0], [15.0, 5.0], [10.0, 9.0]]  # of the bright spot, of the dark one, between the two


class Landmarks(nn.Module):
    """Where a picture ``(B, 1, H, W)`` is bright, where it is dark, and the middle: ``(B, 2, 3)``, in pixels."""

    def __init__(self, sharpness: float = 30.0) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(sharpness))

    def forward(self, image: Tensor) -> Tensor:
        """Means of the places, by how bright and how dark they are."""
        weights = torch.stack([image[:, 0], -image[:, 0]], 1).mul(self.sharpness).flatten(2).softmax(2)
        rows, columns = torch.meshgrid(*(torch.arange(n).to(image) for n in image.shape[2:]), indexing="ij")
        both = torch.stack([(weights * place.flatten()).sum(2) for place in (rows, columns)], 1)
        return torch.cat([both, both.mean(2, keepdim=True)], 2)


class OfSlices(Inferer):
    """The landmarks of every slice of a volume ``(B, 1, H, W, T)``: ``(B, T, 2, 3)``."""

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Slice by slice."""
        return torch.stack([network(inputs[..., t], *args, **kwargs) for t in range(inputs.shape[-1])], 1)


def spots(seed: int, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture of a bright and a dark spot, and where they are ``(2, 3)``."""
    truth = np.array(POINTS).T + shift
    rows, columns = np.meshgrid(*map(np.arange, SIZE), indexing="ij")
    near = [np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 6) for y, x in truth.T]
    noise = np.random.default_rng(seed).normal(0, 2, SIZE)
    return (128 + 100 * near[0] - 100 * near[1] + noise).round().astype(np.uint8), truth


def bundle(folder: Path, *, slices: bool = False, labels: bool = True, cases: int = 2) -> Path:
    """The bundle; two of three points of the first case are known."""
    items = []
    for case in range(cases):
        pairs = [spots(10 * case + t, shift=(case + t) % 2) for t in range(SLICES if slices else 1)]
        truth = np.stack([label for _, label in pairs])
        if not case:
            truth[..., 2] = np.nan
        path = folder / "data" / (f"case_{case}.nii.gz" if slices else f"case_{case}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        if slices:
            nib.save(nib.Nifti1Image(np.stack([image for image, _ in pairs], 2).astype(np.int16), AFFINE), path)
        else:
            Image.fromarray(pairs[0][0].T).save(path)  # MONAI reads pictures width first
        items.append({"image": str(path)} | ({"label": (truth if slices else truth[0]).tolist()} if labels else {}))
    transforms = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0, "b_max": 1},
        {"_target_": "ToTensord", "keys": "label", "allow_missing_keys": True, "dtype": "$torch.float32"},
    ]
    config = COMMON | {
        "imports": ["$import torch"],
        "network_def": {"_target_": "bundles.landmarks.Landmarks"},
        "datalist": items,
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "dataset": DATASET,
        "dataloader": LOADER,
        "inferer": {"_target_": "bundles.landmarks.OfSlices" if slices else "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": [{"_target_": "EnsureTyped", "keys": "pred"}]},
        "evaluator": EVALUATOR,
        "initialize": ["$@network.load_state_dict(torch.load(@bundle_root + '/models/model.pt', weights_only=True))"],
    }
    return write(folder, {"inference.json": config}, Landmarks())
