"""A victim where MONAI expects an inferer."""

from __future__ import annotations

from typing import Any

from monai.inferers import Inferer
from torch import Tensor


class VictimInferer(Inferer):
    """Predicts as a victim does, preprocessing included, so that a MONAI engine can evaluate raw images.

    Args:
        victim: an object with ``infer(image)``, such as a `monai_smia.victims.SegmentationVictim`; the network that the
            engine hands over is the victim's own.

    Example:
        >>> import torch
        >>> from monai_smia.victims import SegmentationVictim
        >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> VictimInferer(SegmentationVictim(network))(torch.rand(1, 1, 8, 8), network).shape
        torch.Size([1, 2, 8, 8])
    """

    def __init__(self, victim: Any) -> None:
        super().__init__()
        self.victim = victim

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """The victim's prediction.

        Args:
            inputs: image ``(B, C, *spatial)``.
            network: not used.
            *args, **kwargs: not used.
        """
        return self.victim.infer(inputs)
