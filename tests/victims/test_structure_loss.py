"""One structure as a goal: its own overlap, by hand, and what an attack on it leaves of the others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_smia.attacks import APGD
from monai_smia.victims import SegmentationVictim, StructureLoss


def certain(classes: torch.Tensor, channels: int) -> torch.Tensor:
    """Logits that are sure of these classes ``(B, *spatial)``."""
    return 60 * nn.functional.one_hot(classes, channels).movedim(-1, 1).double()


@pytest.mark.parametrize("ignore_index", [None, 9])
def test_it_is_the_overlap_of_that_class_alone(ignore_index: int | None) -> None:
    victim = SegmentationVictim(nn.Identity(), loss=StructureLoss(2), ignore_index=ignore_index)
    label = torch.tensor([[[[0, 1, 1, 2, 2, 2, 0, 0]]]])
    decided = torch.tensor([[[0, 2, 0, 2, 2, 0, 0, 2]]])
    if ignore_index is not None:
        label[..., -1] = ignore_index
    lost = 1 - (2 / 5 if ignore_index is None else 2 / 4)
    prediction = certain(decided, 3)
    assert victim.damage(prediction, label).tolist() == pytest.approx([lost])
    assert victim.loss(prediction, label).tolist() == pytest.approx([8 * lost])
    assert repr(victim.loss) == "StructureLoss(structure=2)"


def test_channels_are_independent_and_an_empty_structure_counts_when_invented() -> None:
    victim = SegmentationVictim(nn.Identity(), activation="sigmoid", loss=StructureLoss(0), allow_empty=True)
    label = torch.tensor([[[[1, 1, 0, 0]], [[1, 1, 1, 1]]], [[[0, 0, 0, 0]], [[0, 0, 0, 0]]]])
    prediction = torch.full((2, 2, 1, 4), -60.0, dtype=torch.float64)
    prediction[0, 0, 0, :3], prediction[1, 1] = 60, 60
    assert victim.damage(prediction, label).tolist() == pytest.approx([1 / 3, 0])
    assert victim.loss(prediction, label).tolist() == pytest.approx([4 / 3, 0])
    prediction[1, 0, 0, 0] = 60
    assert victim.damage(prediction, label)[1] == 1


@pytest.mark.parametrize(("structure", "least"), [(0, 1), (3, 1)])
def test_a_class_that_is_none_is_named(structure: int, least: int) -> None:
    victim = SegmentationVictim(nn.Identity(), loss=StructureLoss(structure))
    with pytest.raises(ValueError, match=f"structure must lie from {least} to 2, got {structure}"):
        victim.loss(torch.zeros(1, 3, 2, 2), torch.ones(1, 1, 2, 2, dtype=torch.long))


def test_the_damage_of_an_attack_on_it_is_its_own() -> None:
    """Gray levels decide; the other structure lies out of reach."""
    scale = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64).view(1, 3, 1, 1)

    class Levels(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return 20 * scale * (image - 0.5)

    image = torch.tensor([0.6, 0.6, 0.6, 0.2, 0.2, 0.2], dtype=torch.float64).view(1, 1, 1, 6)
    plain = SegmentationVictim(Levels())
    label = plain.decide(plain.infer(image))
    assert label.flatten().tolist() == [1, 1, 1, 2, 2, 2]
    options = {"eps": 0.15, "steps": 20}
    one = APGD(loss=StructureLoss(1), **options)(plain, image, label)
    assert one.damage.tolist() == [1]
    assert one.clean_damage.tolist() == [0]
    assert float(plain.damage(plain.infer(one.adversarial), label)) < 0.9  # the mean over both
