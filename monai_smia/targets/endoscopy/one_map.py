"""The detector with one tensor as its answer, for tools that know no other."""

from __future__ import annotations

import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet
from torch import Tensor


class OneMapRetinaNet(RetinaNet):
    """MONAI's RetinaNet, which answers with the logits and box codes of every place of all levels in one tensor.

    A RetinaNet answers with a dictionary of lists, which ``monai.bundle verify_net_in_out`` does not know and
    ``torch.jit.trace`` refuses. This one takes the same arguments and the same weights; the places stand level by
    level, each row by row, as its maps flatten.

    Example:
        >>> from monai_smia.targets.endoscopy import BoosterPyramid
        >>> pyramid = BoosterPyramid(planes=(8, 8, 16, 16), layers=(1, 1, 1, 1), out_channels=16)
        >>> network = OneMapRetinaNet(2, num_classes=7, num_anchors=1, feature_extractor=pyramid, size_divisible=64)
        >>> network(torch.rand(1, 3, 64, 128)).shape  # 8 x 16 + 4 x 8 + 2 x 4 + 1 x 2 places
        torch.Size([1, 11, 170])
    """

    def forward(self, images: Tensor) -> Tensor:
        """Logits, then box codes ``(B, anchors * (classes + 4), places)`` of images ``(B, C, *spatial)``."""
        maps = super().forward(images)
        pairs = zip(maps[self.cls_key], maps[self.box_reg_key], strict=True)
        return torch.cat([torch.cat([logits.flatten(2), codes.flatten(2)], 1) for logits, codes in pairs], 2)
