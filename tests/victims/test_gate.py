"""The gate for predictions: no figure comes of one that is not finite or of another shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectors import SOMETHING, images, small_retina
from helpers import ATTACKS, SUITABLE, case
from monai.transforms import Compose, ScaleIntensityRange
from torch import Tensor, nn

from monai_smia.attacks import BIM, DAG, PGD, DeepFool, Transfer
from monai_smia.attacks.composite import NetworkSpaceAttack
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
    """Whichever prediction it is, the attack ends with a sentence and never with a figure."""

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
            sick = r"\[0\]" if name in ("decision", "rays") else r"\[.*2\]"  # which asks for every sample alone
            sick = r"\[(0|.*2)\]" if name == "low-frequency" else sick  # as well, but for the clean batch
            with pytest.raises(ValueError, match=f"NaN or infinite for samples {sick}"):
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

    @pytest.mark.parametrize("part", ["victim", "surrogate"])
    def test_of_a_transfer(self, part: str) -> None:
        def made(number: int) -> tuple[Transfer, Victim, Tensor, Tensor, nn.Module]:
            c, other = case("segmentation", 2), case("segmentation", 2, seed=1).victim
            sick = c.victim if part == "victim" else other
            sick.network = Sick(sick.network, number)
            return Transfer(attack=BIM(eps=0.05, steps=3), surrogate=other), c.victim, c.image, c.label, sick.network

        attack, victim, image, label, network = made(-1)
        attack(victim, image, label)
        for number in range(network.calls):
            attack, victim, image, label, _ = made(number)
            with pytest.raises(ValueError, match="NaN or infinite"):
                attack(victim, image, label)

    def test_in_network_space(self) -> None:
        attack = NetworkSpaceAttack(BIM(eps=0.05, steps=3))
        window = Compose([ScaleIntensityRange(0, 1, 0, 1)])
        count = -1
        for number in range(-1, 9):
            c = case("segmentation", 2)
            victim = SegmentationVictim(Sick(c.victim.network, number), preprocessing=window)
            if number < 0:
                attack(victim, c.image, c.label)
                count = victim.network.calls
            elif number < count:
                with pytest.raises(ValueError, match="NaN or infinite"):
                    attack(victim, c.image, c.label)
        assert 3 < count <= 9

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
        """The network gives fewer classes at its second call."""

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


class TestOfASubclass:
    """The gate cannot be left out: a subclass's own method is behind it, and may call the one that it replaces."""

    def test_predict(self) -> None:
        class Own(ClassificationVictim):
            def predict(self, image: Tensor) -> Tensor:
                return super().predict(image) / image.mean((1, 2, 3))[:, None]

        victim = Own(nn.Flatten())
        assert victim.predict(torch.full((2, 1, 1, 2), 0.5)).tolist() == [[1, 1], [1, 1]]
        with pytest.raises(ValueError, match="NaN or infinite"):
            victim.predict(torch.zeros(2, 1, 1, 2))

    def test_decide_and_damage(self) -> None:
        class Own(ClassificationVictim):
            def decide(self, prediction: Tensor) -> Tensor:
                return 1 - super().decide(prediction)

            def damage(self, prediction: Tensor, label: Tensor) -> Tensor:
                return 1 - super().damage(prediction, label)

        victim, prediction = Own(nn.Flatten()), torch.tensor([[0.0, 1.0]], requires_grad=True)
        assert victim.decide(prediction).tolist() == [0]
        damage = victim.damage(prediction, torch.tensor([1]))
        assert damage.tolist() == [1]
        assert not damage.requires_grad
        for score in (victim.decide, lambda bad: victim.damage(bad, torch.tensor([1]))):
            with pytest.raises(ValueError, match=r"NaN or infinite for samples \[0\]"):
                score(torch.tensor([[NAN, 1.0]]))


def test_a_damage_outside_of_its_range_is_refused() -> None:
    class Wrong(ClassificationVictim):
        def damage(self, prediction: Tensor, label: Tensor) -> Tensor:
            return prediction[:, 0]

    assert Wrong(nn.Identity()).damage(torch.tensor([[0.5, 0.0]]), torch.tensor([0])).tolist() == [0.5]
    for value in (-0.01, 1.01):
        with pytest.raises(ValueError, match=r"damage must be a value in \[0, 1\] for each of 1 samples, got \["):
            Wrong(nn.Identity()).damage(torch.tensor([[value, 0.0]]), torch.tensor([0]))
