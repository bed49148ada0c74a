"""Training of a grader's classifier on features that its frozen backbone makes once."""

from __future__ import annotations

import torch
from monai.utils import convert_to_tensor
from torch import Tensor, nn

from monai_smia.targets.fundus.graph_classified import GraphClassified

__all__ = ["FeatureTraining"]


class FeatureTraining(nn.Module):
    """The classifier of a grader, as a network of its own over the features of images.

    A backbone that learns nothing gives the same features at every epoch: made once, they train the classifier in
    seconds. The grader itself is trained in place, and is what is saved.

    Args:
        network: the grader, whose backbone is frozen as a whole.

    Raises:
        ValueError: if a weight of the backbone is not frozen.

    Example:
        >>> from monai_smia.targets.fundus import EfficientGCN
        >>> training = FeatureTraining(EfficientGCN(out_channels=4, frozen_stages=7))
        >>> features = training.features(torch.rand(3, 64, 96))
        >>> features.shape, training(torch.stack([features, features])).shape
        (torch.Size([864]), torch.Size([2, 4]))
    """

    def __init__(self, network: GraphClassified) -> None:
        super().__init__()
        free = [name for name, weight in network.backbone.named_parameters() if weight.requires_grad]
        if free:
            raise ValueError(
                f"network must have a backbone whose weights are all frozen, {len(free)} are not, such as {free[0]}; "
                "EfficientGCN takes frozen_stages=7."
            )
        self.network = network

    @torch.no_grad()
    def features(self, image: Tensor) -> Tensor:
        """The features ``(features,)``, on the CPU, of an image ``(C, H, W)``."""
        batch = convert_to_tensor(image, track_meta=False, device=self.network.bias.device)[None]
        return self.network.pool(self.network.maps(batch))[0].cpu()

    def forward(self, features: Tensor) -> Tensor:
        """Raw logits ``(B, out_channels)`` of features ``(B, features)``."""
        return self.network.classify(features)
