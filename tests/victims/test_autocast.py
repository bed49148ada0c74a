from __future__ import annotations

import pytest
import torch
from detectors import small_retina
from helpers import assert_untouched, case, snapshot, unsettled
from monai.inferers import SlidingWindowInferer
from torch import nn

from monai_smia.attacks import BIM, PGD, SMIA, Ensemble, SurvivalSMIA
from monai_smia.victims import ClassificationVictim, SegmentationVictim
from monai_smia.victims.autocast import AutocastNetwork


@pytest.mark.parametrize("inferer", [None, SlidingWindowInferer(6, overlap=0.5, mode="gaussian")])
@pytest.mark.parametrize("attack", [BIM, PGD, SMIA, SurvivalSMIA])
def test_the_network_alone_computes_in_bfloat16(attack: type, inferer: SlidingWindowInferer | None) -> None:
    c = case("segmentation", 2, inferer=inferer)
    seen: list[torch.dtype] = []
    c.victim.network[-1].register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    before = snapshot(unsettled(c.victim.network))
    result = attack(eps=0.05, steps=3, autocast="bfloat16", keep="best")(c.victim, c.image, c.label)
    assert set(seen) == {torch.bfloat16}
    assert_untouched(c.victim.network, before)
    assert (result.adversarial.dtype, result.loss.dtype) == (torch.float32, torch.float32)
    exact = attack(eps=0.05, steps=3, keep="best")(c.victim, c.image, c.label)
    torch.testing.assert_close(result.damage, exact.damage, atol=0.1, rtol=0)


def test_in_an_ensemble_every_member_has_its_own_precision() -> None:
    c = case("segmentation", 2)
    seen: list[torch.dtype] = []
    c.victim.network[-1].register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    members = [BIM(eps=0.05, steps=2, autocast="bfloat16"), BIM(eps=0.05, steps=2)]
    Ensemble(attacks=members)(c.victim, c.image, c.label)
    assert seen == [torch.bfloat16] * 3 + [torch.float32] + [torch.float32] * 3 + [torch.float32]  # each scored exactly


def test_structures_come_back_as_they_were() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.name = "two"

        def forward(self, x: torch.Tensor) -> dict:
            y = self.layer(x)
            return {"a": y, "b": (y, torch.arange(3)), "c": [x], "d": torch.aminmax(y)}

    network = AutocastNetwork(Two(), torch.bfloat16)
    output = network(torch.rand(2, 4))
    assert output["a"].dtype == output["b"][0].dtype == output["c"][0].dtype == torch.float32
    assert output["b"][1].dtype == torch.int64
    assert isinstance(output["b"], tuple)
    assert output["d"].min.dtype == torch.float32  # of a named tuple
    assert network.name == "two"
    with pytest.raises(AttributeError):
        _ = network.nothing


def test_bad_precision() -> None:
    with pytest.raises(ValueError, match=r"autocast must be one of .* got 'int8'"):
        PGD(eps=0.1, autocast="int8")


def test_a_victim_in_lower_precision_leaves_the_other_alone() -> None:
    victim = SegmentationVictim(nn.Conv2d(1, 2, 1))
    lower = victim.with_autocast(torch.bfloat16)
    image = torch.rand(1, 1, 4, 4)
    assert victim.predict(image).dtype == lower.predict(image).dtype == torch.float32
    assert not torch.equal(victim.predict(image), lower.predict(image))
    assert lower.network.network is victim.network


def test_a_detector_too() -> None:
    """Its network computes in bfloat16, and the attack still follows its own loss."""
    victim = small_retina().with_loss("focal")
    victim.network.float()
    seen: list[torch.dtype] = []
    convolution = next(m for m in victim.network.modules() if isinstance(m, nn.Conv2d))
    convolution.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    image = torch.rand(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    label = [{"boxes": torch.tensor([[4.0, 4.0, 40.0, 40.0]]), "labels": torch.tensor([0])}]
    exact, lower = (BIM(eps=0.05, steps=2, autocast=a)(victim, image, label) for a in (None, "bfloat16"))
    assert seen == [torch.float32] * 3 + [torch.bfloat16] * 3
    torch.testing.assert_close(lower.loss_history[0], exact.loss_history[0], rtol=0.1, atol=0.1)
    assert bool(lower.loss > lower.loss_history[0])


class Views(nn.Module):
    """Takes a view of its feature maps that channels-last memory does not have, and says how its input lay."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 3, 3, padding=1)
        self.last: list[bool] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.last.append(image.is_contiguous(memory_format=torch.channels_last))
        return self.layer(image).view(len(image), -1)[:, ::64]


def test_channels_last_is_a_choice() -> None:
    c = case("classification", 2)
    network = Views()
    victim = ClassificationVictim(network)
    options = {"eps": 0.05, "steps": 2, "autocast": "bfloat16"}
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        BIM(**options)(victim, c.image, c.label)
    result = BIM(**options, channels_last=False)(victim, c.image, c.label)
    assert result.adversarial.is_contiguous()
    BIM(eps=0.05, steps=1)(victim, c.image, c.label)
    assert network.last == [True] + [False] * 5


@pytest.mark.parametrize("dims", [2, 3])
def test_the_layout_of_the_image_changes_nothing_but_the_layout(dims: int) -> None:
    c = case("segmentation", dims)
    options = {"eps": 0.05, "steps": 2, "autocast": "bfloat16", "keep": "last"}
    ours, plain = (BIM(**options, channels_last=last)(c.victim, c.image, c.label) for last in (True, False))
    assert ours.adversarial.is_contiguous()
    torch.testing.assert_close(ours.loss_history, plain.loss_history, rtol=2e-2, atol=1e-1)


@pytest.mark.parametrize("asked", [{}, {"channels_last": True}, {"channels_last": False}])
def test_channels_come_last_unless_they_are_not_to(asked: dict[str, bool]) -> None:
    seen: list[bool] = []

    class Seen(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen.append(image.is_contiguous(memory_format=torch.channels_last))
            return image.mean((2, 3))

    victim = ClassificationVictim(Seen()).with_autocast(torch.bfloat16, **asked)
    victim.infer(torch.rand(1, 3, 8, 8))
    assert seen == [asked.get("channels_last", True)]
