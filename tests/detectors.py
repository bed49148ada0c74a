"""Detectors of which everything is known."""

from __future__ import annotations

import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from torch import Tensor, nn
from torch.nn import functional as F

from monai_smia.targets.endoscopy import BoosterPyramid
from monai_smia.victims import DetectionVictim
from monai_smia.victims.matching import IoUMatcher

SCALE, OFFSET = 20.0, 0.5
NOTHING = {"boxes": torch.zeros(0, 4, dtype=torch.float64), "labels": torch.zeros(0, dtype=torch.long)}
SOMETHING = {
    "boxes": torch.tensor([[3.0, 5, 30, 28], [20, 8, 60, 62]], dtype=torch.float64),
    "labels": torch.tensor([2, 0]),
}


class Cells(nn.Module):
    """Cells of 8 x 8 pixels, an anchor each: channel k of a cell's mean is class k's logit, boxes are the cells."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.spatial_dims, self.num_classes, self.num_anchors, self.size_divisible = 2, classes, 1, (8, 8)
        self.cls_key, self.box_reg_key = "classification", "box_regression"

    def forward(self, image: Tensor) -> dict[str, list[Tensor]]:
        color = F.avg_pool2d(image, 8)
        return {
            "classification": [SCALE * (color - OFFSET)],
            "box_regression": [0 * color[:, :1].expand(-1, 4, -1, -1)],
        }


def cells(classes: int = 3, **options: object) -> DetectionVictim:
    """The victim of it."""
    anchors = AnchorGenerator(sizes=((8,),), aspect_ratios=((1.0,),))
    return DetectionVictim(Cells(classes), anchors=anchors, matcher=IoUMatcher(), **options)  # type: ignore[arg-type]


def colored(*colors: tuple[float, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """One image, a row of cells of these colours along the first axis."""
    color = torch.tensor(colors, dtype=dtype).T  # (K, cells)
    return color.repeat_interleave(8, 1)[None, :, :, None].repeat(1, 1, 1, 8)


def cell_label(*classes: int | None) -> dict[str, Tensor]:
    """An object of this class in every cell, None for none."""
    boxes = [[8.0 * i, 0.0, 8.0 * i + 8, 8.0] for i, c in enumerate(classes) if c is not None]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        "labels": torch.tensor([c for c in classes if c is not None], dtype=torch.long),
    }


def images(count: int = 1, seed: int = 0) -> Tensor:
    """Frames for `small_retina`, on which `SOMETHING` and `NOTHING` are labels."""
    return torch.rand(count, 2, 64, 64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small_retina(dims: int = 2, *, booster: bool = True, seed: int = 0) -> DetectionVictim:
    """A RetinaNet with multi-scale boosters, float64 and random enough to see something everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pyramid = BoosterPyramid(dims, 2, planes=(8,) * 4, layers=(1,) * 4, out_channels=16, booster=booster)
        network = RetinaNet(dims, 3, 1, pyramid, size_divisible=32)
        for head in (network.classification_head, network.regression_head):
            for parameter in head.parameters():
                nn.init.normal_(parameter, std=0.3)
    ratios = ((1.0,),) * 4 if dims == 2 else (((1.0, 1.0),),) * 4
    anchors = AnchorGenerator(sizes=((24,), (32,), (48,), (64,)), aspect_ratios=ratios)
    return DetectionVictim(network.double().eval(), anchors=anchors)
