"""Training of a grader with lesion maps beside the grades."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_smia.targets.fundus.graph_classified import GraphClassified

LESIONS = 3
EDEMA = 2  # thresholds of the risk of macular edema, 0-2


class Supervised(NamedTuple):
    """Outputs of the grader in training; logits."""

    grade: Tensor  # (B, K - 1)
    lesions: Tensor  # (B, 3, H / 16, W / 16)
    edema: Tensor  # (B, 2)


class LesionSupervision(nn.Module):
    """A grader with two heads that exist for training only: where lesions are, and the risk of macular edema.

    A grade says little about where to look. On eyes that lesions were painted into, every cell of the third stage's
    feature map is told what it holds. The grader itself is trained in place, and is what is saved.

    Args:
        network: the grader.
        mixed_precision: run the network in bfloat16 autocast, which is twice as fast or more where the device has units
            for it, and many times slower on a CPU that has none.

    Example:
        >>> from monai_smia.targets.fundus import ResNetGCN
        >>> training = LesionSupervision(ResNetGCN(out_channels=4, widths=(4, 8, 16, 32)), mixed_precision=False)
        >>> [tuple(t.shape) for t in training(torch.rand(2, 3, 64, 96))]
        [(2, 4), (2, 3, 4, 6), (2, 2)]
    """

    def __init__(self, network: GraphClassified, *, mixed_precision: bool = True) -> None:
        super().__init__()
        self.network = network
        self.mixed_precision = mixed_precision
        self.lesions = nn.Conv2d(network.channels[0], LESIONS, 1)
        self.edema = nn.Linear(network.features, EDEMA)
        nn.init.constant_(self.lesions.bias, -3.0)  # type: ignore[arg-type]  # lesions are rare

    def forward(self, image: Tensor) -> Supervised:
        """Logits of grades, lesion cells and edema, in float32."""
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.mixed_precision):
            maps = self.network.maps(image.contiguous(memory_format=torch.channels_last))
            features = self.network.pool(maps)
            outputs = self.network.classify(features), self.lesions(maps[0]), self.edema(features)
        return Supervised(*(output.float() for output in outputs))


class GradingLoss(nn.Module):
    """Ordinal cross entropy of the grade, with those of the lesion map (where lesions were painted) and of edema.

    Args:
        lesion_weight: weight of the lesion map.
        edema_weight: weight of the risk of edema, where it is known.

    Example:
        >>> output = Supervised(torch.zeros(2, 4), torch.zeros(2, 3, 2, 2), torch.zeros(2, 2))
        >>> batch = {"label": torch.tensor([0, 3]), "lesions": torch.zeros(2, 3, 32, 32), "paint": torch.tensor([1, 0])}
        >>> loss = GradingLoss(lesion_weight=0)(output, {**batch, "dme": torch.tensor([-1, -1])})
        >>> round(float(loss), 4)  # log 2
        0.6931
    """

    def __init__(self, lesion_weight: float = 10.0, edema_weight: float = 0.3) -> None:
        super().__init__()
        self.lesion_weight = lesion_weight
        self.edema_weight = edema_weight

    def forward(self, output: Supervised, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch.

        Args:
            output: of `LesionSupervision`.
            batch: ``label (B,)``, ``lesions (B, 3, H, W)``, ``paint (B,)``, and ``dme (B,)``, -1 where unknown.
        """
        loss = ordinal_cross_entropy(output.grade, batch["label"])
        painted, known = batch["paint"].bool(), batch["dme"] >= 0
        if painted.any():
            cells = F.adaptive_max_pool2d(batch["lesions"], output.lesions.shape[2:])
            loss = loss + self.lesion_weight * F.binary_cross_entropy_with_logits(
                output.lesions[painted], cells[painted].clamp(0, 1)
            )
        if known.any():
            loss = loss + self.edema_weight * ordinal_cross_entropy(output.edema[known], batch["dme"][known])
        return loss


def ordinal_cross_entropy(logits: Tensor, grade: Tensor) -> Tensor:
    """Mean over thresholds and samples of the binary cross entropy of "more than this grade".

    Args:
        logits: ``(B, K - 1)``, of the thresholds between K grades.
        grade: ``(B,)``, whole numbers in [0, K - 1].

    Example:
        >>> float(ordinal_cross_entropy(torch.tensor([[9.0, -9.0]]), torch.tensor([1]))) < 1e-3
        True
    """
    thresholds = torch.arange(logits.shape[1], device=logits.device)
    return F.binary_cross_entropy_with_logits(logits, (grade[:, None] > thresholds).to(logits))
