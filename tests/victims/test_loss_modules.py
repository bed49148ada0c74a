"""Loss modules of PyTorch and MONAI: what a victim ignores, they leave out, or they are refused."""

from __future__ import annotations

import pytest
import torch
from helpers import case
from monai.losses import (
    DiceCELoss,
    DiceFocalLoss,
    DiceLoss,
    FocalLoss,
    GeneralizedDiceLoss,
    HausdorffDTLoss,
    SSIMLoss,
    TverskyLoss,
)
from torch import Tensor, nn

from monai_smia.attacks import BIM, PGD
from monai_smia.victims import ClassificationVictim, SegmentationVictim

SOFTMAX = [
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1),
    nn.CrossEntropyLoss(reduction="sum"),
    DiceLoss(softmax=True, to_onehot_y=True),
    DiceCELoss(softmax=True, to_onehot_y=True),
    DiceFocalLoss(softmax=True, to_onehot_y=True, include_background=False),
    FocalLoss(to_onehot_y=True, use_softmax=True),
    GeneralizedDiceLoss(softmax=True, to_onehot_y=True),
    TverskyLoss(softmax=True, to_onehot_y=True),
]
SIGMOID = [
    nn.BCEWithLogitsLoss(),
    nn.BCEWithLogitsLoss(reduction="sum"),
    DiceLoss(sigmoid=True),
    DiceCELoss(sigmoid=True),
    FocalLoss(),
    TverskyLoss(sigmoid=True),
]


def drawn(activation: str, ignored: int = 255) -> tuple[Tensor, Tensor]:
    """Logits and a label whose last three columns do not count."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 8, generator=generator)
    channels, classes = (1, 3) if activation == "softmax" else (3, 2)
    label = torch.randint(0, classes, (2, channels, 5, 8), generator=generator)
    label[..., 5:] = ignored
    return logits, label


@pytest.mark.parametrize(
    ("activation", "loss"),
    [*(("softmax", loss) for loss in SOFTMAX), *(("sigmoid", loss) for loss in SIGMOID)],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__}-{value.reduction}",
)
class TestIgnored:
    @pytest.mark.parametrize("index", [255, -1])
    def test_as_an_image_without_them(self, activation: str, loss: nn.Module, index: int) -> None:
        logits, label = drawn(activation, index)
        victim = SegmentationVictim(nn.Identity(), activation=activation, loss=loss, ignore_index=index)
        got = victim.loss(logits, label)
        torch.testing.assert_close(got, victim.loss(logits[..., :5], label[..., :5]))
        plain = SegmentationVictim(nn.Identity(), activation=activation, loss=loss)
        torch.testing.assert_close(got, plain.loss(logits[..., :5], label[..., :5]))

    def test_no_gradient_goes_there(self, activation: str, loss: nn.Module) -> None:
        logits, label = drawn(activation)
        logits.requires_grad_(True)
        victim = SegmentationVictim(nn.Identity(), activation=activation, loss=loss, ignore_index=255)
        (gradient,) = torch.autograd.grad(victim.checked_loss(logits, label).sum(), logits)
        assert not gradient[..., 5:].any()
        assert gradient[..., :5].abs().sum() > 0

    def test_an_attack_spends_nothing_there(self, activation: str, loss: nn.Module) -> None:
        options = {"activation": activation, "ignore_index": 255}
        c = case("segmentation", 2, **options)
        label = c.label.long()
        label[..., 4:] = 255
        result = BIM(eps=0.1, steps=3)(SegmentationVictim(c.victim.network, loss=loss, **options), c.image, label)
        assert bool((result.loss >= result.loss_history[0]).all())
        assert not result.perturbation[..., 6:].any()  # two convolutions of 3 see two columns further
        assert result.perturbation[..., :4].any()


def test_cross_entropy_takes_the_documented_label() -> None:
    """Class numbers ``(B, 1, *spatial)``, of any type."""
    c = case("segmentation", 3, loss=nn.CrossEntropyLoss())
    logits = c.victim.predict(c.image).detach()
    expected = nn.functional.cross_entropy(logits, c.label[:, 0], reduction="none").flatten(1).mean(1)
    for label in (c.label, c.label.to(torch.uint8), c.label.float()):
        torch.testing.assert_close(c.victim.loss(logits, label), expected)
    assert bool((PGD(eps=0.05, steps=3)(c.victim, c.image, c.label).loss > expected).all())


@pytest.mark.parametrize("label", [torch.tensor([[1, 0], [0, 1]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])])
def test_of_several_labels_by_hand(label: Tensor) -> None:
    victim = ClassificationVictim(nn.Identity(), activation="sigmoid", loss=nn.BCEWithLogitsLoss(), ignore_index=255)
    logits = torch.tensor([[0.0, 3.0], [1.0, 0.0]])
    softplus = nn.functional.softplus
    pairs = softplus(torch.tensor([[0.0, 3.0], [1.0, 0.0]]))  # whichever side is wrong, it is the positive one
    torch.testing.assert_close(victim.loss(logits, label), pairs.mean(1))
    label = label.clone()
    label[0, 1] = label[1, 0] = 255
    torch.testing.assert_close(victim.loss(logits, label), pairs.diagonal())


def test_of_a_single_logit() -> None:
    victim = ClassificationVictim(nn.Identity(), activation="sigmoid", loss=nn.BCEWithLogitsLoss())
    got = victim.loss(torch.tensor([[0.0], [2.0]]), torch.tensor([1, 0]))
    torch.testing.assert_close(got, nn.functional.softplus(torch.tensor([0.0, 2.0])))


@pytest.mark.parametrize("loss", [HausdorffDTLoss(sigmoid=True), SSIMLoss(2)], ids=lambda loss: type(loss).__name__)
def test_what_cannot_leave_out_voxels_is_refused_by_name(loss: nn.Module) -> None:
    logits, label = drawn("sigmoid")
    victim = SegmentationVictim(nn.Identity(), activation="sigmoid", loss=loss, ignore_index=255)
    with pytest.raises(
        ValueError, match=rf"loss {type(loss).__name__} cannot leave out the voxels of ignore_index=255"
    ):
        victim.loss(logits, label)


def test_channels_that_ignore_different_voxels() -> None:
    logits, label = drawn("sigmoid")
    label[:, 0, :, 0] = 255
    options = {"activation": "sigmoid", "ignore_index": 255}
    got = SegmentationVictim(nn.Identity(), loss=nn.BCEWithLogitsLoss(reduction="sum"), **options).loss(logits, label)
    torch.testing.assert_close(got, SegmentationVictim(nn.Identity(), **options).loss(logits, label))
    with pytest.raises(
        ValueError, match="DiceLoss cannot leave out ignore_index=255 where the channels ignore different"
    ):
        SegmentationVictim(nn.Identity(), loss=DiceLoss(sigmoid=True), **options).loss(logits, label)
