"""Overrides of bundles of the MONAI Model Zoo that are long or shared; `zoo_inputs.py` says whose they are."""

from __future__ import annotations

SMALL = {"inferer#roi_size": [48, 48, 48]}
CPU = "$torch.load(@arch_ckpt_path, map_location=torch.device('cpu'), weights_only=False)"
DINTS = {
    "data_list_file_path": "{root}/data/list.json",
    "arch_ckpt": CPU,
    "dints_space#device": "$torch.device('cpu')",
    "inferer#roi_size": [32, 32, 32],
}
SWIN = {  # as published but for img_size, which MONAI 1.6 does not take any more
    "_target_": "SwinUNETR",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 14,
    "feature_size": 48,
    "use_checkpoint": False,
}
LANDMARKS = {  # items as dictionaries, where the bundle's are names of files
    "dataset#data": "$[{'image': name} for name in @datalist]",
    "preprocessing": [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "Transposed", "keys": "image", "indices": [2, 0, 1, 3]},
        {"_target_": "ScaleIntensityd", "keys": "image"},
    ],
    "dataset#transform": "$monai.transforms.Compose(@preprocessing)",
    "evaluator#prepare_batch": "$lambda batch, device, non_blocking: (batch['image'].to(device), None)",
    "attack#task": "regression",
    "attack#within": 1.0,
    "attack#point_axis": -2,
}
MAKES_IMAGES = "it makes images"
