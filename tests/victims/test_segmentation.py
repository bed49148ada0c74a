from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import case, label_of, logits_for, network
from monai.inferers import SlidingWindowInferer, SlidingWindowInfererAdapt
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, FocalLoss
from monai.metrics import compute_iou
from monai.networks.utils import one_hot
from torch import Tensor, nn

from monai_smia.attacks import PGD
from monai_smia.inferers import CheckpointedSlidingWindowInferer
from monai_smia.victims import SegmentationVictim


def victim(**options: Any) -> SegmentationVictim:
    return SegmentationVictim(nn.Identity(), **options)


class TestDamage:
    @pytest.mark.parametrize(
        ("decision", "truth", "damage"),
        [
            ([1, 1, 0, 0], [1, 1, 0, 0], 0.0),
            ([0, 0, 1, 1], [1, 1, 0, 0], 1.0),
            ([1, 0, 0, 0], [1, 1, 0, 0], 1 / 2),
            ([1, 1, 2, 0], [1, 1, 2, 2], 1 - (1 + 1 / 2) / 2),
            ([1, 1, 2, 0], [1, 1, 0, 0], 1 - (1 + 0) / 2),  # class 2 was invented
            ([0, 0, 0, 0], [1, 0, 0, 0], 1.0),
            ([0, 0, 0, 0], [0, 0, 0, 0], 0.0),
            ([0, 1, 0, 0], [0, 0, 0, 0], 1.0),
        ],
    )
    def test_by_hand(self, decision: list[int], truth: list[int], damage: float) -> None:
        got = victim().damage(logits_for([decision]), label_of([truth]))
        assert got.tolist() == [pytest.approx(damage)]

    def test_every_sample_alone(self) -> None:
        decision, truth = [[1, 1, 0, 0], [0, 0, 1, 1]], [[1, 1, 0, 0], [1, 1, 0, 0]]
        assert victim().damage(logits_for(decision), label_of(truth)).tolist() == [0, 1]

    def test_ignored_voxels_do_not_count(self) -> None:
        ignoring = victim(ignore_index=255)
        got = ignoring.damage(logits_for([[1, 2, 2, 0]]), label_of([[1, 255, 255, 1]]))
        assert got.tolist() == [0.5]

    def test_independent_channels(self) -> None:
        prediction = torch.tensor([[[5.0, 5, -5, -5], [5, -5, -5, -5]]])[..., None]
        label = torch.tensor([[[1, 0, 0, 0], [1, 0, 0, 0]]])[..., None]
        assert victim(activation="sigmoid").damage(prediction, label).tolist() == [1 - (1 / 2 + 1) / 2]

    def test_one_class_is_the_iou_of_monai(self) -> None:
        generator = torch.Generator().manual_seed(0)
        prediction = torch.randn(4, 2, 6, 6, 6, generator=generator)
        label = torch.randint(0, 2, (4, 1, 6, 6, 6), generator=generator)
        decided = one_hot(prediction.argmax(1, keepdim=True), 2)
        iou = compute_iou(decided, one_hot(label, 2), include_background=False)[:, 0]
        torch.testing.assert_close(victim().damage(prediction, label).float(), 1 - iou)


class TestSoftJaccard:
    def test_by_hand(self) -> None:
        """Probabilities of class 1: .5, .5, 0, with truth 1, 0, 0: 1/2 over 1 + 1/2."""
        prediction = torch.tensor([[[0.0, 0.0, 50.0], [0.0, 0.0, -50.0]]])[..., None]
        got = victim(loss="soft_jaccard").loss(prediction, label_of([[1, 0, 0]]))
        torch.testing.assert_close(got, torch.tensor([3 * (1 - 0.5 / 1.5)]))

    def test_mean_over_the_classes_that_the_label_holds(self) -> None:
        prediction = logits_for([[1, 2, 3, 0]], classes=4)
        got = victim(loss="soft_jaccard").loss(prediction, label_of([[1, 2, 2, 0]]))
        torch.testing.assert_close(got, torch.tensor([4 * (1 - (1 + 1 / 2) / 2)]), rtol=0, atol=4e-6)

    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    def test_is_the_jaccard_loss_of_monai_times_the_voxels(self, activation: str) -> None:
        generator = torch.Generator().manual_seed(0)
        prediction = torch.randn(3, 3, 6, 6, generator=generator)
        if activation == "softmax":
            label = torch.randint(0, 3, (3, 1, 6, 6), generator=generator)
            options = {"softmax": True, "to_onehot_y": True, "include_background": False}
        else:
            label, options = torch.randint(0, 2, (3, 3, 6, 6), generator=generator), {"sigmoid": True}
        monai = DiceLoss(jaccard=True, smooth_nr=0, smooth_dr=0, reduction="none", **options)
        expected = 36 * monai(prediction, label).flatten(1).mean(1)
        got = victim(loss="soft_jaccard", activation=activation).loss(prediction, label)
        torch.testing.assert_close(got, expected)

    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    def test_ignored_voxels(self, activation: str) -> None:
        """The same as the image without them."""
        generator = torch.Generator().manual_seed(0)
        prediction = torch.randn(2, 3, 6, 6, generator=generator)
        channels, highest = (1, 3) if activation == "softmax" else (3, 2)
        label = torch.randint(0, highest, (2, channels, 6, 6), generator=generator)
        options = {"activation": activation, "loss": "soft_jaccard"}
        expected = victim(**options).loss(prediction[..., 2:], label[..., 2:])
        label[..., :2] = 255
        torch.testing.assert_close(victim(ignore_index=255, **options).loss(prediction, label), expected)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
class TestHealthy:
    """Of a label without foreground soft Jaccard was constant, and its gradient zero."""

    def test_its_loss_is_the_mean_probability_of_the_foreground(self, activation: str) -> None:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(2, 3, 6, 6, generator=generator)
        label = torch.zeros(2, 1 if activation == "softmax" else 3, 6, 6, dtype=torch.long)
        label[1, 0, 2] = 1
        ours = victim(loss="soft_jaccard", activation=activation, allow_empty=True)
        probability = logits.softmax(1)[:, 1:] if activation == "softmax" else logits.sigmoid()
        got = ours.loss(logits, label)
        torch.testing.assert_close(got[0], probability[0].sum((1, 2)).mean())
        torch.testing.assert_close(got[1:], ours.loss(logits[1:], label[1:]))

    @pytest.mark.filterwarnings("error")
    def test_an_attack_invents(self, activation: str) -> None:
        network = nn.Conv2d(1, 3, 1)  # foreground where the image is above .7
        with torch.no_grad():
            network.weight[:, 0, 0, 0] = torch.tensor([-10.0 if activation == "softmax" else 10.0, 10, 10])
            network.bias[:] = torch.tensor([7.0 if activation == "softmax" else -7.0, -7, -7])
        healthy = SegmentationVictim(network, activation=activation, loss="soft_jaccard", allow_empty=True)
        image = 0.5 * torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        label = torch.zeros(2, 1 if activation == "softmax" else 3, 6, 6, dtype=torch.long)
        assert not healthy.damage(healthy.infer(image), label).any()
        result = PGD(eps=0.3, steps=10)(healthy, image, label)
        assert bool((result.loss > 2 * result.loss_history[0]).all())
        assert result.damage.tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_half_precision(dtype: torch.dtype) -> None:
    """Its logits are taken in float32: the sum over 70,000 voxels is past what float16 holds."""

    class Half(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.cat([image, -image], 1).to(dtype)

    image, label = torch.full((1, 1, 300, 300), -2.0), torch.zeros(1, 1, 300, 300)
    label[..., 0] = 1
    for loss in SegmentationVictim.losses:
        half, whole = (SegmentationVictim(net, loss=loss) for net in (Half(), nn.Identity()))
        expected = whole.loss(torch.cat([image, -image], 1), label)
        got = half.checked_loss(half.predict(image), label)
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("loss", ["cross_entropy", "soft_jaccard"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_ignored_voxels_give_no_gradient(activation: str, loss: str) -> None:
    c = case("segmentation", 2, activation=activation, loss=loss, ignore_index=255)
    c.label[..., :3] = 255
    prediction = c.victim.predict(c.image)
    (gradient,) = torch.autograd.grad(c.victim.checked_loss(prediction, c.label).sum(), prediction)
    assert not gradient[..., :3].any()
    assert gradient[..., 3:].abs().sum() > 0


def test_cross_entropy_is_summed_over_voxels() -> None:
    c = case("segmentation", 3, dtype=torch.float64)
    prediction = c.victim.predict(c.image).detach()
    expected = nn.functional.cross_entropy(prediction, c.label[:, 0], reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(c.victim.loss(prediction, c.label), expected)


@pytest.mark.parametrize(
    "loss",
    [
        DiceCELoss(softmax=True, to_onehot_y=True),
        DiceFocalLoss(softmax=True, to_onehot_y=True, include_background=False),
        FocalLoss(to_onehot_y=True, use_softmax=True),
        DiceLoss(softmax=True, to_onehot_y=True, batch=True),  # which would mix the samples
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_of_monai(loss: nn.Module) -> None:
    c = case("segmentation", 3, loss=loss)
    prediction = c.victim.predict(c.image).detach()
    expected = torch.stack([loss(p[None], y[None]) for p, y in zip(prediction, c.label, strict=True)])
    torch.testing.assert_close(c.victim.loss(prediction, c.label), expected)
    result = PGD(eps=0.05)(c.victim, c.image, c.label)
    assert bool((result.loss_history[-1] > expected).all())


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("dims", [2, 3])
def test_decisions(activation: str, dims: int) -> None:
    c = case("segmentation", dims, activation=activation)
    prediction = c.victim.predict(c.image).detach()
    decided = c.victim.decide(prediction)
    expected = prediction.argmax(1, keepdim=True) if activation == "softmax" else prediction > 0
    assert torch.equal(decided, expected.to(decided.dtype))
    assert c.victim.damage(prediction, decided).tolist() == [0, 0, 0]


def test_a_single_logit() -> None:
    net = network("segmentation", 2, classes=1).eval()
    single = SegmentationVictim(net, activation="sigmoid", loss="soft_jaccard")
    image = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    label = (image.mean(1, keepdim=True) > 0.5).long()
    result = PGD(eps=0.1)(single, image, label)
    assert bool((result.loss > result.loss_history[0]).all() or (result.damage > 0).all())
    assert single.decide(single.predict(image)).shape == (2, 1, 8, 8)


def test_labels_may_be_floating_point() -> None:
    c = case("segmentation", 2)
    integer, floating = (PGD(eps=0.05)(c.victim, c.image, y).adversarial for y in (c.label, c.label.float()))
    assert torch.equal(integer, floating)


class TestInferer:
    def test_a_plain_sliding_window_is_made_memory_flat(self) -> None:
        plain = SlidingWindowInferer((4, 4), 2, 0.5, "gaussian", cache_roi_weight_map=True)
        ours = SegmentationVictim(nn.Identity(), inferer=plain).inferer
        assert type(ours) is CheckpointedSlidingWindowInferer
        settings = {name: value for name, value in vars(ours).items() if name != "memory"}
        assert settings == vars(plain)
        assert ours.memory.limit == 0

    @pytest.mark.parametrize("kind", [SlidingWindowInfererAdapt, CheckpointedSlidingWindowInferer])
    def test_its_subclasses_stay(self, kind: type) -> None:
        inferer = kind((4, 4))
        assert SegmentationVictim(nn.Identity(), inferer=inferer).inferer is inferer

    @pytest.mark.parametrize("kind", [SlidingWindowInferer, SlidingWindowInfererAdapt])
    def test_attack_through_windows(self, kind: type) -> None:
        c = case("segmentation", 2, dtype=torch.float64)
        windowed = SegmentationVictim(c.victim.network, inferer=kind((6, 6), 2, 0.5))
        result = PGD(eps=0.05)(windowed, c.image, c.label)
        whole = PGD(eps=0.05)(SegmentationVictim(c.victim.network, inferer=kind((8, 8))), c.image, c.label)
        bare = PGD(eps=0.05)(c.victim, c.image, c.label)
        assert bool((result.loss > result.loss_history[0]).all())
        torch.testing.assert_close(whole.adversarial, bare.adversarial, rtol=0, atol=1e-12)  # one window


@pytest.mark.parametrize("shape", [(2,), (2, 8)])
def test_a_label_without_its_channel_is_refused_by_its_shape(shape: tuple[int, ...]) -> None:
    victim = SegmentationVictim(torch.nn.Conv2d(1, 2, 1))
    with pytest.raises(ValueError, match=r"label.*\(2,"):
        victim.check_label(torch.zeros(2, 2, 8, 8), torch.zeros(shape, dtype=torch.long))
