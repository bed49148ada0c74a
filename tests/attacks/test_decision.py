"""The decision-based search: it counts its queries, moves by whole radii alone, and beats Square on decisions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monai_smia.attacks import DecisionSearch, Noise, Square
from monai_smia.victims.label_map import LabelMapVictim

EPS = 0.1


class DarkIsLung(nn.Module):
    """Label maps of what is darker, smoothed, than a threshold: an answer without scores; counts its images."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, image: Tensor) -> Tensor:
        self.seen += len(image)
        return (nn.functional.avg_pool2d(image, 3, stride=1, padding=1) < 0.5).to(image)


def scene() -> tuple[Tensor, Tensor]:
    """A dark disc, its edge a slope, with noise; and its decision."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    image = ((x - 15).hypot(y - 15) / 22)[None, None] + 0.02 * torch.rand(1, 1, 32, 32)
    return image.clamp(0, 1), DarkIsLung()(image.clamp(0, 1)).long()


def test_it_asks_as_often_as_it_says_and_finds_more_than_square_does_of_the_same_decisions() -> None:
    torch.manual_seed(0)
    image, label = scene()
    found = {}
    for attack in (
        Noise(eps=EPS),
        Square(eps=EPS, queries=60, loss="jaccard", progress=False),
        DecisionSearch(eps=EPS, queries=60, block=8, progress=False),
    ):
        network = DarkIsLung()
        result = attack(LabelMapVictim(network, classes=2), image, label)
        found[attack.name] = float(result.damage)
        if attack.name != "Noise":
            assert network.seen == len(result.loss_history) == 61
        moved = result.perturbation.abs()
        inside = (result.adversarial > 0) & (result.adversarial < 1)
        assert torch.allclose(moved[inside & (moved > 0)], torch.tensor(EPS), atol=1e-6)
        again = LabelMapVictim(network, classes=2).damage(network(result.adversarial), label)
        assert torch.equal(result.damage, again.to(result.damage))
    assert found["DecisionSearch"] > found["Square"] > found["Noise"]


def test_a_target_is_approached() -> None:
    torch.manual_seed(0)
    image, label = scene()
    target = torch.ones_like(label)  # all of it lung
    result = DecisionSearch(eps=EPS, queries=20, targeted=True)(LabelMapVictim(DarkIsLung(), classes=2), image, target)
    assert float(result.damage) < float(result.clean_damage) - 0.1
