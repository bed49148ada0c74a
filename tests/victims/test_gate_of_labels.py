"""The gate for images and labels: another shape, type or value is refused; another dtype gives the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectors import cells
from helpers import case
from monai.transforms import Compose, ScaleIntensityRange
from torch import nn

from monai_smia.attacks import PGD
from monai_smia.victims import SegmentationVictim, Victim

NAN, INF = float("nan"), float("inf")


class TestLabelMaps:
    """With preprocessing as without, a label of another shape is an error that names both."""

    @pytest.mark.parametrize("cut", [6, 1, 11])
    @pytest.mark.parametrize("held", [True, False])
    def test_of_another_shape(self, cut: int, held: bool) -> None:
        window = Compose([ScaleIntensityRange(0, 1, 0, 1)])
        victim = SegmentationVictim(nn.Conv3d(1, 2, 3, padding=1), preprocessing=window if held else None)
        image = torch.rand(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
        label = (image > 0.5).long()
        assert PGD(eps=0.0, steps=0)(victim, image, label).damage.shape == (1,)
        with pytest.raises(ValueError, match=rf"12, 12, 12\).*got \(.*12, 12, {cut}\)"):
            PGD(eps=0.0, steps=0)(victim, image, label[..., :cut])
        with pytest.raises(ValueError, match=rf"12, 12, {cut}\)"):
            victim.damage(victim.infer(image), label[..., :cut])

    @pytest.mark.parametrize(
        "change", [lambda y: y[0], lambda y: y[:, 0], lambda y: torch.cat([y, y]), lambda y: y.numpy()]
    )
    def test_of_another_rank_batch_or_kind(self, change: Callable) -> None:
        victim = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=Compose([ScaleIntensityRange(0, 1, 0, 1)]))
        image = torch.rand(1, 1, 6, 6, 6)
        with pytest.raises(ValueError, match=r"label must (lie on the image's grid: image|be a tensor, got ndarray)"):
            victim.bind(image, change((image > 0.5).long()))

    @pytest.mark.parametrize("held", [True, False])
    @pytest.mark.parametrize(("bad", "shown"), [(2, "2"), (-1, "-1"), (0.5, "0"), (NAN, "nan")])
    def test_of_other_values(self, bad: float, shown: str, held: bool) -> None:
        window = Compose([ScaleIntensityRange(0, 1, 0, 1)])
        victim = SegmentationVictim(nn.Conv2d(1, 2, 1), preprocessing=window if held else None)
        image = torch.rand(1, 1, 6, 6)
        label = (image > 0.5).float()
        label[..., 0] = bad
        with pytest.raises(ValueError, match=f"label must hold whole numbers from 0 to 1.*{shown}"):
            PGD(eps=0.0, steps=0)(victim, image, label)
        with pytest.raises(ValueError, match="label must hold whole numbers from 0 to 1"):
            victim.damage(victim.infer(image), label)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.float32, torch.float64]
)
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_label_of_any_type_gives_the_same(task: str, dtype: torch.dtype) -> None:
    c = case(task, 2)
    label = (c.label > 0).long()
    expected = PGD(eps=0.05, steps=2)(c.victim, c.image, label)
    got = PGD(eps=0.05, steps=2)(c.victim, c.image, label.to(dtype))
    assert torch.equal(got.adversarial, expected.adversarial)
    assert torch.equal(got.damage, expected.damage)


@pytest.mark.parametrize("loss", SegmentationVictim.losses)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_an_ignored_value_that_the_label_cannot_hold(activation: str, loss: str) -> None:
    """-1 in uint8 is 255, which was a class number out of range."""
    c = case("segmentation", 2, activation=activation, loss=loss, ignore_index=-1)
    label = c.label.long()
    label[..., :2] = -1
    expected = PGD(eps=0.05, steps=2)(c.victim, c.image, label)
    got = PGD(eps=0.05, steps=2)(c.victim, c.image, label.to(torch.uint8))
    assert torch.equal(got.adversarial, expected.adversarial)
    assert torch.equal(got.damage, expected.damage)


class TestImages:
    @pytest.mark.parametrize(
        "victim", [SegmentationVictim(nn.Conv2d(1, 2, 1)), cells(1)], ids=lambda v: type(v).__name__
    )
    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (torch.full((1, 1, 8, 8), NAN), "image must be finite, got 64 NaN"),
            (torch.full((1, 1, 8, 8), -INF), "image must be finite, got 64 NaN or infinite voxels of 64"),
            (torch.rand(8, 8), r"image must be a non-empty tensor \(B, C, \*spatial\), got \(8, 8\)"),
            (torch.rand(0, 1, 8, 8), r"image must be a non-empty tensor .* got \(0, 1, 8, 8\)"),
            ([[1.0]], "image must be a non-empty tensor .* got list"),
        ],
        ids=["nan", "inf", "rank", "empty", "list"],
    )
    def test_refused(self, victim: Victim, image: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            victim.infer(image)
        with pytest.raises(ValueError, match=message):
            victim.bind(image, torch.ones(1, 1, 8, 8))
