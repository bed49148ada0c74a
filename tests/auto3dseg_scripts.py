"""Scripts of algorithm folders, of the two layouts that Auto3DSeg's templates have, written for the tests."""

from __future__ import annotations

HELPER = """
import torch

def network(config):
    torch.manual_seed(config["fold"])
    first = torch.nn.Conv3d(config["input_channels"], 6, 3, padding=1)
    return torch.nn.Sequential(first, torch.nn.Tanh(), torch.nn.Conv3d(6, config["output_classes"], 1))
"""

# segresnet, segresnet2d: an InferClass around a segmenter
SEGMENTER = """
import os
import sys

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInfererAdapt
from monai.transforms import (
    Compose, ConcatItemsd, CropForegroundd, DeleteItemsd, EnsureTyped, Invertd, Lambdad, LoadImaged,
    NormalizeIntensityd, Orientationd, ResampleToMatchd, ScaleIntensityRanged, Spacingd,
)
from monai.utils import convert_to_dst_type

sys.path.insert(0, os.path.abspath(os.path.dirname(__file__)))
from helper import network

os.environ["AUTO3DSEG_TINY"] = "set"


class Builder:
    def __init__(self, config):
        self.config = config

    def __call__(self, augment=False, resample_label=False):
        config, extra = self.config, self.config.get("extra_modalities") or {}
        keys = ["image", "label", *extra]
        steps = [
            LoadImaged(keys=keys, ensure_channel_first=True, dtype=None, allow_missing_keys=True, image_only=True),
            EnsureTyped(keys=keys, data_type="tensor", dtype=torch.float, allow_missing_keys=True),
            Orientationd(keys="image", axcodes="RAS"),
        ]
        if not extra:
            steps.append(CropForegroundd(keys="image", source_key="image", margin=2, allow_smaller=True))
        if config["resample"]:
            pixdim = config["resample_resolution"]
            steps.append(Spacingd(keys="image", pixdim=pixdim, mode="bilinear", dtype=torch.float))
        steps += [ResampleToMatchd(keys=key, key_dst="image", dtype=np.float32) for key in extra]
        for key, mode in {"image": config["normalize_mode"], **extra}.items():
            if mode == "range":
                low, high = config["intensity_bounds"]
                steps.append(ScaleIntensityRanged(keys=key, a_min=low, a_max=high, b_min=-1, b_max=1, clip=False))
                steps.append(Lambdad(keys=key, func=lambda x: torch.sigmoid(x)))
            elif mode == "meanstd":
                steps.append(NormalizeIntensityd(keys=key, nonzero=True, channel_wise=True))
            elif mode == "pet":
                steps.append(Lambdad(keys=key, func=lambda x: torch.sigmoid((x - x.min()) / x.std())))
        if extra:
            steps += [ConcatItemsd(keys=["image", *extra], name="image"), DeleteItemsd(keys=list(extra))]
        return Compose(steps)


class Segmenter:
    def __init__(self, config):
        self.config = config
        self.model = network(config)
        checkpoint = torch.load(config["infer"]["ckpt_name"], map_location="cpu", weights_only=False)
        self.model.load_state_dict(checkpoint["state_dict"])
        self.sliding_inferrer = SlidingWindowInfererAdapt(
            roi_size=config["roi_size"], sw_batch_size=1, overlap=0.5, mode="gaussian", cache_roi_weight_map=True
        )

    def get_data_transform_builder(self):
        return Builder(self.config)

    def logits2pred(self, logits, sigmoid=False):
        return torch.sigmoid(logits) if sigmoid else torch.softmax(logits, 1, dtype=torch.double).float()

    @torch.no_grad()
    def infer_image(self, image_file):
        self.model.eval()
        transform = self.get_data_transform_builder()()
        batch = list_data_collate([transform([image_file])])
        logits = self.sliding_inferrer(inputs=batch["image"].as_subclass(torch.Tensor), network=self.model)
        pred = self.logits2pred(logits, sigmoid=self.config["sigmoid"])
        batch["pred"] = convert_to_dst_type(pred, batch["image"], dtype=pred.dtype)[0]
        post = Invertd(keys="pred", orig_keys="image", transform=transform, nearest_interp=False)
        return post(decollate_batch(batch)[0])["pred"]


class InferClass:
    def __init__(self, config_file=None, **override):
        parser = ConfigParser(ConfigParser.load_config_files(config_file))
        parser.update(pairs=override)
        self.segmenter = Segmenter({key: parser.get_parsed_content(key) for key in parser.config})

    def infer(self, image_file):
        return self.segmenter.infer_image(image_file)
"""

# swinunetr, dints: an InferClass of configs, which names a CUDA device; dints activates behind the way back
TRANSFORMS = """
import logging.config
import os
import sys

import torch
from monai.auto3dseg.utils import datafold_read
from monai.bundle import ConfigParser
from monai.data import decollate_batch, list_data_collate
from monai.inferers import sliding_window_inference
from monai.transforms import Activationsd, AsDiscreted, Compose, Invertd

sys.path.insert(0, os.path.abspath(os.path.dirname(__file__)))
from helper import network


class InferClass:
    def __init__(self, config_file=None, **override):
        parser = ConfigParser()
        parser.read_config(config_file)
        parser.update(pairs=override)
        config = {key: parser.get_parsed_content(key) for key in parser.config if key != "transforms_infer"}
        base = config["data_file_base_dir"]
        datafold_read(datalist=config["data_list_file_path"], basedir=base, fold=-1, key="testing")
        handlers = {"file": {"class": "logging.FileHandler", "filename": config["infer"]["log_output_file"]}}
        root = {"handlers": ["file"]}
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "handlers": handlers, "root": root})
        self.infer_transforms = parser.get_parsed_content("transforms_infer")
        self.device = override.get("device", "cuda:0")
        self.roi_size_valid, self.overlap_ratio_final = config["roi_size"], 0.5
        self.model = network(config).to(self.device)
        state = torch.load(config["infer"]["ckpt_name"], map_location=self.device, weights_only=True)
        self.model.load_state_dict(state)
        softmax = not config["sigmoid"]
        steps = [
            Activationsd(keys="pred", softmax=softmax, sigmoid=not softmax),
            Invertd(keys="pred", transform=self.infer_transforms, orig_keys="image", nearest_interp=False),
        ]
        steps = steps[::-1] if config["logits_back"] else steps
        self.post_transforms_prob = Compose(steps)
        threshold = {"argmax": True} if softmax else {"threshold": 0.5}
        self.post_transforms = Compose([*steps, AsDiscreted(keys="pred", **threshold)])

    @torch.no_grad()
    def infer(self, image_file, save_mask=False):
        self.model.eval()
        batch = list_data_collate([self.infer_transforms(image_file)])
        with torch.autocast("cuda", enabled=False):
            batch["pred"] = sliding_window_inference(
                inputs=batch["image"].to(self.device), roi_size=self.roi_size_valid, sw_batch_size=2,
                predictor=self.model, mode="gaussian", overlap=self.overlap_ratio_final, device=self.device,
            )
        post = self.post_transforms if save_mask else self.post_transforms_prob
        return post(decollate_batch(batch)[0])["pred"]
"""
