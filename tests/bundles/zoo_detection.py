"""A RetinaNet bundle with its own scripts, in the layout of the MONAI Model Zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundles.zoo import COMMON, DATASET, EVALUATOR, LOADER, save, write
from monai.apps.detection.networks.retinanet_network import RetinaNet

SCRIPTS = {
    "network.py": """
from torch import nn


class Pyramid(nn.Module):
    \"\"\"Two levels of features.\"\"\"

    def __init__(self, channels=8):
        super().__init__()
        self.out_channels = channels
        self.first = nn.Conv3d(1, channels, 3, stride=4, padding=1)
        self.second = nn.Conv3d(channels, channels, 3, stride=2, padding=1)

    def forward(self, image):
        fine = self.first(image).tanh()
        return [fine, self.second(fine).tanh()]
""",
    "inferer.py": """
from monai.inferers import Inferer


class RetinaNetInferer(Inferer):
    \"\"\"Asks the detector, not the network.\"\"\"

    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def __call__(self, inputs, network, *args, **kwargs):
        self.detector.eval()
        return self.detector(inputs, *args, **kwargs)
""",
    "evaluator.py": """
from monai.engines import SupervisedEvaluator


class DetectionEvaluator(SupervisedEvaluator):
    \"\"\"Boxes have no batch dimension.\"\"\"

    def _iteration(self, engine, batchdata):
        engine.state.output = {"pred": self.inferer(batchdata["image"].to(engine.state.device), self.network)}
        return engine.state.output
""",
}


def detection(folder: Path) -> Path:
    """inference.json with a RetinaNet, its inferer, evaluator and network in the bundle's own scripts folder."""
    image = np.random.default_rng(0).integers(-900, 200, (32, 32, 16), dtype=np.int16)
    items = [{"image": save(image, folder / "data" / "nodule.nii.gz")}]
    (folder / "scripts").mkdir(parents=True)
    (folder / "scripts" / "__init__.py").touch()
    for name, code in SCRIPTS.items():
        (folder / "scripts" / name).write_text(code)
    config = {
        **COMMON,
        "datalist": items,
        "network_def": {
            "_target_": "RetinaNet",
            "spatial_dims": 3,
            "num_classes": 2,
            "num_anchors": 1,
            "feature_extractor": {"_target_": "scripts.network.Pyramid"},
            "size_divisible": [8, 8, 8],
        },
        "anchors": {
            "_target_": "monai.apps.detection.utils.anchor_utils.AnchorGeneratorWithAnchorShape",
            "feature_map_scales": [1, 2],
            "base_anchor_shapes": [[8, 8, 8]],
        },
        "detector": {
            "_target_": "monai.apps.detection.networks.retinanet_detector.RetinaNetDetector",
            "network": "@network",
            "anchor_generator": "@anchors",
        },
        "detector_ops": ["$@detector.set_box_selector_parameters(0.02, 300, 0.22, 10)"],
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
                {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, "b_min": 0}
                | {"b_max": 1, "clip": True},
            ],
        },
        "dataset": DATASET,
        "dataloader": LOADER,
        "inferer": {"_target_": "scripts.inferer.RetinaNetInferer", "detector": "@detector"},
        "postprocessing": {"_target_": "Compose", "transforms": []},
        "evaluator": EVALUATOR | {"_target_": "scripts.evaluator.DetectionEvaluator"},
        "initialize": [
            "$@detector_ops",
            "$@network.load_state_dict(torch.load(@bundle_root + '/models/model.pt', weights_only=True))",
        ],
        "run": ["$@evaluator.run()"],
    }
    namespace: dict[str, Any] = {}
    exec(SCRIPTS["network.py"], namespace)
    torch.manual_seed(0)
    network = RetinaNet(3, 2, 1, namespace["Pyramid"](), size_divisible=(8, 8, 8))
    with torch.no_grad():
        network.classification_head.cls_logits.weight.normal_(0, 1.5)
        network.classification_head.cls_logits.bias.fill_(-2.0)
    return write(folder, {"inference.json": config}, network)
