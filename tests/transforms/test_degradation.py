"""Degradations as transforms and as a defense at test time, attacked through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import case
from monai.data import MetaTensor
from monai.transforms import Compose
from torch import nn

from monai_smia.attacks import PGD, Transfer
from monai_smia.degradations import Median, Quantize, Smooth
from monai_smia.transforms import ApplyDegradation, ApplyDegradationd
from monai_smia.victims import SegmentationVictim


def test_metadata_stays() -> None:
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.rand(2, 6, 6), affine=affine, meta={"filename_or_obj": "a.png"})
    for output in (
        ApplyDegradation(Smooth(1.0))(image),
        ApplyDegradationd("image", Smooth(1.0))({"image": image})["image"],
    ):
        assert isinstance(output, MetaTensor)
        assert torch.equal(output.affine, affine)
        assert output.meta["filename_or_obj"] == "a.png"
        assert torch.equal(output.as_tensor(), Smooth(1.0)(image.as_tensor()[None])[0])


class FineAndCoarse(nn.Module):
    """Looks at fine detail much more than at coarse."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        score = 20 * (Smooth(2.0)(image) - 0.5) + 60 * (image - Smooth(1.0)(image))
        return torch.cat([-score, score], 1)


@pytest.mark.parametrize("form", [ApplyDegradation, lambda d: ApplyDegradationd("image", d)], ids=["array", "dict"])
def test_attacked_through_a_defense_is_weaker_than_it_looks(form: Callable[..., Any]) -> None:
    """Attacks on the undefended network leave the defended one better off than attacks through the defense."""
    label = torch.zeros(1, 1, 24, 24, dtype=torch.long)
    label[..., 6:18, 6:18] = 1
    image = 0.45 + 0.1 * label.float()
    defended = SegmentationVictim(FineAndCoarse(), preprocessing=Compose([form(Smooth(1.0))]))
    attack = PGD(eps=0.08, steps=20)
    adaptive = attack(defended, image, label)
    oblivious = Transfer(attack=attack, surrogate=SegmentationVictim(FineAndCoarse()))(defended, image, label)
    torch.testing.assert_close(defended.damage(defended.infer(adaptive.adversarial), label).float(), adaptive.damage)
    assert float(adaptive.damage) > float(oblivious.damage) + 0.05
    assert bool((adaptive.perturbation.abs() <= 0.08 + 1e-6).all())


@pytest.mark.parametrize("degradation", [Quantize(1 / 7), Median(3)], ids=str)
def test_attacks_go_through_a_degradation_without_a_gradient(degradation: Any) -> None:
    c = case("segmentation", 2)
    defended = SegmentationVictim(c.victim.network, preprocessing=Compose([ApplyDegradation(degradation)]))
    label = defended.decide(defended.infer(c.image))
    result = PGD(eps=0.3, steps=10)(defended, c.image, label)
    assert bool((result.loss > 1.01 * result.loss_history[0]).all())
    assert bool((result.perturbation.abs() <= 0.3 + 1e-6).all())


def test_the_old_name_of_the_argument() -> None:
    image = torch.rand(1, 6, 6)
    with pytest.warns(FutureWarning, match="Argument `handling` has been deprecated since version 0.2.0"):
        array = ApplyDegradation(handling=Smooth(1.0))
    with pytest.warns(FutureWarning, match="Argument `handling` has been deprecated since version 0.2.0"):
        dictionary = ApplyDegradationd("image", handling=Smooth(1.0))
    expected = ApplyDegradation(Smooth(1.0))(image)
    assert torch.equal(array(image), expected)
    assert torch.equal(dictionary({"image": image})["image"], expected)


@pytest.mark.parametrize(
    "form", [lambda d: ApplyDegradation(d), lambda d: lambda i: ApplyDegradationd("image", d)({"image": i})]
)
@pytest.mark.parametrize("shape", [(16,), (16, 16), (2, 1, 16, 16, 16)])
def test_an_image_without_a_channel_axis_is_refused(form: Callable[..., Any], shape: tuple[int, ...]) -> None:
    """Of (16, 16) rows were taken for channels, and smoothed in one direction alone."""
    with pytest.raises(ValueError, match=r"img must have its channels first, \(C, H, W\) or \(C, H, W, D\), got"):
        form(Smooth(1.0))(torch.rand(shape))
