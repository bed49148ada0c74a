"""The attack on an embedding: no label, no prompt; the distance, its gradient and its windows by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_untouched, snapshot
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, ScaleIntensityRange
from torch import Tensor, nn

from monai_smia.attacks import BIM, PGD, Embedding
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.embedding import EmbeddingDistance, EmbeddingVictim, part_of


class Encoded(nn.Module):
    """An encoder of half the resolution that returns several outputs, and a head that is never asked."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.encoder = Encoder()
            self.head = nn.Conv2d(3, 2, 1)
        self.double().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        grown = nn.functional.interpolate(self.encoder(image)["deep"][0], scale_factor=2)
        answer: Tensor = self.head(grown)
        return answer


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 3, 2, stride=2)

    def forward(self, image: Tensor) -> dict[str, Any]:
        shallow = self.first(image).tanh()
        return {"deep": [self.second(shallow).tanh(), None], "shallow": shallow, "tokens": shallow.mean((2, 3))}


def distance(network: Any, image: Tensor, clean: Tensor) -> Tensor:
    """The squared distance of all outputs together, of every sample."""
    ours, theirs = (network.encoder(each) for each in (image, clean))
    pairs = [(out["deep"][0], out["shallow"], out["tokens"]) for out in (ours, theirs)]
    return torch.stack([(a - b).square().flatten(1).sum(1) for a, b in zip(*pairs, strict=True)]).sum(0)


def images(count: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(count, 1, 8, 10, generator=generator, dtype=torch.float64)
    return image, (image + 0.1 * torch.rand(image.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


def test_distance_and_gradient_by_hand() -> None:
    network = Encoded()
    clean, image = images()
    first, second = image.clone().requires_grad_(True), image.clone().requires_grad_(True)
    victim = EmbeddingVictim.around(SegmentationVictim(network), clean, "encoder")
    ours, theirs = victim.loss(victim.predict(first), torch.zeros(2)), distance(network, second, clean)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    (found,), (wanted,) = torch.autograd.grad(ours.sum(), first), torch.autograd.grad(theirs.sum(), second)
    assert torch.allclose(found, wanted, rtol=1e-10, atol=1e-14)
    swapped = victim.subset(torch.tensor([1, 0]))
    assert torch.equal(swapped.loss(swapped.predict(image.flip(0)), torch.zeros(2)), ours.flip(0))


def test_windows_slide_over_the_whole_image() -> None:
    """Without overlap the sum over windows is that of every window by itself."""
    network = Encoded()
    clean, image = images(1)
    inferer = SlidingWindowInferer((4, 10), overlap=0)
    victim = EmbeddingVictim.around(SegmentationVictim(network, inferer=inferer), clean, "encoder")
    parts = [distance(network, image[:, :, k : k + 4], clean[:, :, k : k + 4]) for k in (0, 4)]
    assert torch.allclose(victim.loss(victim.predict(image), torch.zeros(1)), parts[0] + parts[1], rtol=1e-12)


def test_no_decision_and_no_label_is_asked() -> None:
    """Another head, another label: the same image, which is far from the clean one in the encoder alone."""
    network = Encoded()
    clean, _ = images()
    labels = [torch.full((2, 1, 8, 10), number) for number in (0, 1)]
    attack = Embedding(PGD(eps=0.1, steps=4), of="encoder")
    victim = SegmentationVictim(network, allow_empty=True)
    before = snapshot(network)
    first, second = (attack(victim, clean, label) for label in labels)
    network.head.weight.mul_(-1)
    third = attack(victim, clean, labels[0])
    network.head.weight.mul_(-1)
    assert torch.equal(first.adversarial, second.adversarial)
    assert torch.equal(first.adversarial, third.adversarial)
    assert torch.allclose(first.loss_history[-1], distance(network, first.adversarial, clean), rtol=1e-6)
    assert bool((first.loss_history[-1] > 2 * first.loss_history[0]).all())
    assert torch.allclose(
        first.damage + second.damage, victim.damage(victim.predict(first.adversarial), labels[0]) + second.damage
    )
    assert float(first.perturbation.abs().max()) <= 0.1 + 1e-6
    assert_untouched(network, before)
    assert attack.name == "Embedding(PGD)"
    assert attack.knowledge == "white box"


def test_through_preprocessing() -> None:
    network = Encoded().float()
    clean, _ = images()
    window = Compose([ScaleIntensityRange(0, 100, 0, 1)])
    victim = SegmentationVictim(network, preprocessing=window, allow_empty=True)
    label = torch.zeros(2, 1, 8, 10)
    attack = Embedding(PGD(eps=10.0, steps=3, clip=(0, 100)), of="encoder")
    plain = Embedding(PGD(eps=0.1, steps=3), of="encoder")
    through, bare = (
        attack(victim, 100 * clean.float(), label),
        plain(victim.without_preprocessing(), clean.float(), label),
    )
    assert torch.allclose(through.adversarial / 100, bare.adversarial, atol=1e-5)


def test_what_it_refuses() -> None:
    clean, _ = images()
    with pytest.raises(ValueError, match=r"one of \['encoder', 'head'\] or within it, got 'encodr'.*encoder"):
        Embedding(PGD(eps=0.1), of="encodr")(
            SegmentationVictim(Encoded(), allow_empty=True), clean, torch.zeros(2, 1, 8, 10)
        )
    with pytest.raises(ValueError, match="random_start=True"):
        Embedding(BIM(eps=0.1), of="encoder")
    with pytest.raises(ValueError, match="of must be the name of a part of the network, got ''"):
        Embedding(PGD(eps=0.1), of="")


def test_a_part_inside_of_a_module_around_the_network() -> None:
    around = nn.Module()
    around.network = Encoded()
    assert part_of(around, "encoder.first") is around.network.encoder.first
    assert EmbeddingDistance(around.network.encoder)(torch.cat(images(1), 1)).shape == (1, 1, 8, 10)
