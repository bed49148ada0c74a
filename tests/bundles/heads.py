"""A network with several outputs, for bundles of the tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Heads(nn.Module):
    """Logits that are right, beside logits that are wrong, in one structure or another."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.right, self.wrong = nn.Conv3d(1, 2, 1), nn.Conv3d(1, 2, 1)
        with torch.no_grad():
            for convolution, sign in ((self.right, 1.0), (self.wrong, -1.0)):
                convolution.weight.copy_(sign * torch.tensor([15.0, -15.0]).view(2, 1, 1, 1, 1))
                convolution.bias.copy_(sign * torch.tensor([-4.0, 4.0]))

    def forward(self, image: Tensor) -> Any:
        """As ``kind`` says: tuple, list, dictionary, or nested."""
        right, wrong = self.right(image), self.wrong(image)
        if self.kind == "tuple":
            return wrong, right
        if self.kind == "list":
            return [right, wrong]
        return {"aux": wrong, "seg": right}
