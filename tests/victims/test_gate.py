"""One gate for predictions, one for images and labels: no figure comes of what does not pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectors import SOMETHING, cells, images, small_retina
from helpers import ATTACKS, SUITABLE, case
from monai.transforms import Compose, ScaleIntensityRange
from torch import Tensor, nn

from monai_smia.attacks import BIM, DAG, PGD, DeepFool
from monai_smia.victims import ClassificationVictim, SegmentationVictim, Victim

NAN, INF = float("nan"), float("inf")


class Sick(nn.Module):
    """Its k-th prediction is NaN in one value of one sample."""

    def __init__(self, network: nn.Module, sick_at: int, value: float = NAN) -> None:
        super().__init__()
        self.network, self.sick_at, self.calls, self.value = network, sick_at, 0, value

    def forward(self, image: Tensor) -> Any:
        output = self.network(image)
        self.calls += 1
        if self.calls - 1 != self.sick_at:
            return output
        logits = output["classification"][0] if isinstance(output, dict) else output
        place = torch.zeros_like(logits, dtype=torch.bool)
        place[-1].view(-1)[0] = True
        spoiled = logits.masked_fill(place, self.value)
        return (
            {**output, "classification": [spoiled, *output["classification"][1:]]}
            if isinstance(output, dict)
            else spoiled
        )


def calls_of(attack: Callable[..., Any], victim: Victim, image: Tensor, label: Any) -> int:
    victim.network = Sick(victim.network, -1)
    attack(victim, image, label)
    return victim.network.calls


class TestNaNAtTheKthPrediction:
    """Entry 2: whichever prediction it is, the attack ends with a sentence and never with a figure."""

    @pytest.mark.parametrize("task", ["classification", "segmentation"])
    @pytest.mark.parametrize("name", ATTACKS)
    def test_of_logits(self, name: str, task: str) -> None:
        if (name, task, 2) not in SUITABLE:
            pytest.skip("for segmenters")
        options = {"progress": False} if name != "ensemble" else {}
        count = calls_of(ATTACKS[name](**options), **vars(case(task, 2)))
        assert count > 0
        for number in range(count):
            c = case(task, 2)
            c.victim.network = Sick(c.victim.network, number)
            with pytest.raises(ValueError, match=r"NaN or infinite for samples \[.*2\]"):
                ATTACKS[name](**options)(c.victim, c.image, c.label)

    @pytest.mark.parametrize(
        "attack", [DeepFool(steps=3, progress=False), DAG(eps=0.05, steps=3)], ids=lambda attack: attack.name
    )
    def test_of_attacks_on_scores(self, attack: Any) -> None:
        task = "classification" if isinstance(attack, DeepFool) else "segmentation"
        for number in range(calls_of(attack, **vars(case(task, 2)))):
            c = case(task, 2)
            c.victim.network = Sick(c.victim.network, number)
            with pytest.raises(ValueError, match="NaN or infinite"):
                attack(c.victim, c.image, c.label)

    @pytest.mark.parametrize("loss", ["ranking", "focal", "bce"])
    def test_of_detectors(self, loss: str) -> None:
        attack = PGD(eps=0.02, steps=2)
        for number in range(calls_of(attack, small_retina().with_loss(loss), images(), [SOMETHING])):
            victim = small_retina().with_loss(loss)
            victim.network = Sick(victim.network, number)
            with pytest.raises(ValueError, match="NaN or infinite for samples"):
                attack(victim, images(), [SOMETHING])

    @pytest.mark.parametrize("keep", ["best", "last"])
    def test_after_the_attack(self, keep: str) -> None:
        c = case("segmentation", 2)
        attack = BIM(eps=0.05, steps=3, keep=keep)
        count = calls_of(attack, **vars(c))
        c.victim.network = Sick(c.victim.network.network, count)
        result = attack(c.victim, c.image, c.label)
        with pytest.raises(ValueError, match=r"prediction is NaN or infinite for samples \[2\]: 1 of \d+ values"):
            c.victim.infer(result.adversarial)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
class TestScoring:
    """Whoever scores a prediction that was made elsewhere is told as well."""

    @pytest.mark.parametrize("task", ["classification", "segmentation"])
    def test_of_logits(self, task: str, value: float) -> None:
        c = case(task, 2)
        prediction = c.victim.predict(c.image).detach().clone()
        prediction[1].view(-1)[:3] = value
        message = rf"NaN or infinite for samples \[1\]: 3 of {prediction.numel()} values"
        with pytest.raises(ValueError, match=message):
            c.victim.damage(prediction, c.label)
        with pytest.raises(ValueError, match=message):
            c.victim.decide(prediction)

    @pytest.mark.parametrize("head", ["classification", "box_regression"])
    def test_of_head_maps(self, head: str, value: float) -> None:
        victim = small_retina()
        prediction = victim.detach(victim.predict(images()))
        prediction[head][1] = prediction[head][1].clone()
        prediction[head][1][0, 0, 0, 0] = value
        for score in (lambda: victim.damage(prediction, [SOMETHING]), lambda: victim.decide(prediction)):
            with pytest.raises(ValueError, match=r"NaN or infinite for samples \[0\]: 1 of"):
                score()


class TestShapes:
    def test_of_another_batch(self) -> None:
        class Mean(nn.Module):
            def forward(self, image: Tensor) -> Tensor:
                return image.mean((2, 3)).mean(0, keepdim=True)

        with pytest.raises(ValueError, match="one entry per sample, 3, got 1"):
            ClassificationVictim(Mean()).predict(torch.rand(3, 2, 4, 4))

    def test_of_another_call(self) -> None:
        """Entry 2: the network gives fewer classes at its second call."""

        class Fewer(nn.Module):
            calls = 0

            def forward(self, image: Tensor) -> Tensor:
                self.calls += 1
                return image[:, : 4 - self.calls]

        image, label = torch.rand(2, 3, 6, 6), torch.ones(2, 1, 6, 6).long()
        with pytest.raises(
            ValueError, match=r"must keep its shape: first \[\(3, 6, 6\)\] a sample, now \[\(2, 6, 6\)\]"
        ):
            BIM(eps=0.1, steps=3)(SegmentationVictim(Fewer()), image, label)

    @pytest.mark.parametrize("output", [lambda x: x[:, 0, 0, 0], lambda x: {"a": x}, lambda x: (x, x)])
    def test_of_no_logits(self, output: Callable) -> None:
        class Other(nn.Module):
            def forward(self, image: Tensor) -> Any:
                return output(image)

        with pytest.raises(ValueError, match=r"the network must return (one tensor of logits|logits \(B, K, ...\))"):
            ClassificationVictim(Other()).infer(torch.rand(2, 3, 6, 6))


@pytest.mark.parametrize("name", ["predict", "decide", "damage"])
def test_the_gate_cannot_be_left_out(name: str) -> None:
    with pytest.raises(TypeError, match=rf"Own.{name} checks every prediction and is final: define `\w+` instead"):
        type("Own", (Victim,), {name: lambda self, *args: args})


def test_a_damage_outside_of_its_range_is_refused() -> None:
    class Wrong(ClassificationVictim):
        def damage_of(self, prediction: Tensor, label: Tensor) -> Tensor:
            return prediction[:, 0]

    assert Wrong(nn.Identity()).damage(torch.tensor([[0.5, 0.0]]), torch.tensor([0])).tolist() == [0.5]
    for value in (-0.01, 1.01):
        with pytest.raises(ValueError, match=r"damage must be a value in \[0, 1\] for each of 1 samples, got \["):
            Wrong(nn.Identity()).damage(torch.tensor([[value, 0.0]]), torch.tensor([0]))


class TestLabelMaps:
    """Entry 1: with preprocessing as without, a label of another shape is an error that names both."""

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
    """Entry 43: -1 in uint8 is 255, which was a class number out of range."""
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
