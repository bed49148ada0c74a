"""What holds of every attack, whatever its algorithm."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import ATTACKS, case

from monai_smia.victims import SegmentationVictim


@pytest.mark.parametrize("name", ATTACKS)
def test_a_label_that_does_not_fit_is_refused_before_a_loss_is_taken(name: str) -> None:
    c = case("segmentation", 2)
    asked: list[int] = []

    def loss(prediction: Any, label: Any) -> torch.Tensor:
        asked.append(1)
        return prediction.flatten(1).sum(1)

    victim = SegmentationVictim(c.victim.network, loss=loss)
    for label in (c.label + 9, torch.zeros_like(c.label), c.label[:, :, :-1]):
        with pytest.raises(ValueError, match=r"^label must"):
            ATTACKS[name]()(victim, c.image, label)
    assert not asked
