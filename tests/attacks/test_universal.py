"""Universal perturbations: where they lie, what they gain on a linear model, and that nobody is in both parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_untouched, case, linear_victim, snapshot
from torch import Tensor, nn

from monai_smia.attacks import Universal, make_universal
from monai_smia.attacks.universal import laid, with_pattern
from monai_smia.victims import ClassificationVictim, SegmentationVictim


@pytest.mark.parametrize("shape", [(5, 7), (4, 6, 5)])
def test_a_tiled_pattern_is_at_every_voxel_the_one_of_its_remainder(shape: tuple[int, ...]) -> None:
    sizes = (2, 3, 4)[: len(shape)]
    pattern = torch.randn(2, *sizes)
    found = laid(pattern, shape, "tiled")
    for at in torch.cartesian_prod(*[torch.arange(n) for n in shape]).tolist():
        inside = tuple(place % size for place, size in zip(at, sizes, strict=True))
        assert torch.equal(found[(slice(None), *at)], pattern[(slice(None), *inside)])


def test_a_patch_stands_in_its_place_instead_of_the_image() -> None:
    image = torch.rand(2, 3, 10, 8)
    patch = torch.rand(3, 4, 2)
    for place, corner in (((0.0, 0.0), (0, 0)), ((1.0, 1.0), (6, 6)), ((0.5, 0.5), (3, 3))):
        found = with_pattern(image, patch, "patch", place)
        rows, columns = slice(corner[0], corner[0] + 4), slice(corner[1], corner[1] + 2)
        assert torch.equal(found[:, :, rows, columns], patch.expand(2, -1, -1, -1))
        outside = torch.ones(10, 8, dtype=torch.bool)
        outside[rows, columns] = False
        assert torch.equal(found[..., outside], image[..., outside])
        result = Universal(pattern=patch, eps=1.0, layout="patch", place=place)(colors(), image, torch.tensor([0, 1]))
        assert torch.allclose(result.adversarial, found)


def colors() -> ClassificationVictim:
    """Of three classes, by the mean of each color."""

    class Mean(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return 50 * image.flatten(2).mean(2)

    return ClassificationVictim(Mean())


@pytest.mark.parametrize(("layout", "sizes"), [("whole", None), ("tiled", (4, 2))])
def test_on_a_linear_model_it_is_the_optimum(layout: str, sizes: Any) -> None:
    """The sign of the weight, which of a tiled pattern is summed over its tiles; the same for all images."""
    torch.manual_seed(0)
    weight = torch.randn(1, 1, 8, 8)
    images = [(torch.rand(1, 1, 8, 8) * 0.4 + 0.3, torch.tensor([0])) for _ in range(3)]
    victim = linear_victim(weight)
    made = make_universal(victim, lambda: images, eps=0.1, layout=layout, sizes=sizes, epochs=40, progress=False)
    total = weight[0] if sizes is None else weight[0].view(1, 2, 4, 4, 2).sum((1, 3))
    assert torch.allclose(made.pattern, 0.1 * total.sign(), atol=1e-6)
    result = Universal(pattern=made.pattern, eps=0.1, layout=layout)(victim, images[0][0], images[0][1])
    assert float(result.loss - result.loss_history[0]) == pytest.approx(0.1 * float(total.abs().sum()), rel=1e-4)


def test_what_is_made_on_some_images_breaks_others() -> None:
    c = case("classification", 2, batch=24, size=16)
    before = snapshot(c.victim.network)
    parts = [(c.image[n : n + 1], c.label[n : n + 1]) for n in range(24)]
    made = make_universal(c.victim, lambda: parts[:16], eps=0.15, epochs=8, progress=False)
    assert_untouched(c.victim.network, before)
    assert (made.cases, len(made.damages)) == (16, 8)
    assert made.damages[0] < made.damages[-1]
    assert float(made.pattern.abs().max()) <= 0.15 + 1e-6
    noise = 0.15 * torch.randn(made.pattern.shape, generator=torch.Generator().manual_seed(0)).sign()
    ours, theirs = (
        sum(float(Universal(pattern=p, eps=0.15)(c.victim, *part).damage) for part in parts[16:])
        for p in (made.pattern, noise)
    )
    assert ours >= 4
    assert ours > theirs + 2


def test_a_patch_takes_all_images_to_its_class() -> None:
    """A patch of a quarter of the picture, in one color, and the class of that color for every picture."""
    generator = torch.Generator().manual_seed(0)
    images = [(0.2 + 0.2 * torch.rand(1, 3, 8, 8, generator=generator), torch.tensor([n % 3])) for n in range(6)]
    for target in range(3):
        made = make_universal(
            colors(),
            lambda: images[:4],
            eps=1.0,
            layout="patch",
            sizes=(4, 4),
            place=(0.0, 1.0),
            target=target,
            epochs=12,
            progress=False,
        )
        assert bool((made.pattern[target] > 0.99).all())
        assert bool((made.pattern[[n for n in range(3) if n != target]] < 0.01).all())
        attack = Universal(pattern=made.pattern, eps=1.0, layout="patch", place=(0.0, 1.0))
        for image, label in images[4:]:
            shown = attack(colors(), image, label).adversarial
            assert colors().decide(colors().predict(shown)).item() == target


def test_uap_turns_what_is_decided_rightly_and_stays_in_the_ball() -> None:
    """Algorithm 1: every image moves the pattern by the least that turns it, and one that is turned by nothing."""
    c = case("classification", 2, batch=6, dtype=torch.float32)
    parts = [(c.image[n : n + 1], c.label[n : n + 1]) for n in range(6)]
    made = make_universal(c.victim, lambda: parts, eps=0.4, method="uap", epochs=4, progress=False)
    assert made.damages[0] < made.damages[-1]
    assert float(made.pattern.abs().max()) <= 0.4 + 1e-6
    fooled = [float(Universal(pattern=made.pattern, eps=0.4)(c.victim, *part).damage) for part in parts]
    assert sum(fooled) >= 3
    again = make_universal(c.victim, lambda: parts, eps=0.4, method="uap", epochs=4, progress=False)
    assert torch.equal(again.pattern, made.pattern)


def test_settings_of_an_attack() -> None:
    attack = Universal(pattern=torch.ones(1, 2, 2), eps=3.0, clip=None, layout="tiled")
    assert (attack.planned_gradients, attack.knowledge) == (0, "white box")
    assert Universal(pattern=torch.ones(1, 2, 2), eps=0.1, transferred=True).knowledge == "transfer"
    assert torch.equal(attack.scaled(0.5).pattern, torch.full((1, 2, 2), 0.5))
    c = case("segmentation", 2)
    mask = torch.zeros(8, 8)
    mask[0] = 1
    result = Universal(pattern=torch.ones(2, 8, 8), eps=0.1)(c.victim, c.image, c.label, mask=mask)
    assert not bool(result.perturbation[..., 1:, :].any())
    assert result.linf.shape == result.loss_history.shape == (2, 3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"layout": "mosaic"}, "layout must be one of"),
        ({"layout": "patch", "eps": 1.0}, "place must hold a number in"),
        ({"layout": "patch", "place": (0.5, 1.5), "eps": 1.0}, "place must hold"),
        ({"layout": "patch", "place": (0.5, 0.5), "eps": 0.5}, "eps must be the width of the valid range"),
        ({"pattern": torch.full((1, 2, 2), torch.nan)}, "pattern must be a finite tensor"),
        ({"pattern": "file.pt"}, "pattern must be a finite tensor"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Universal(**{"pattern": torch.zeros(1, 2, 2), "eps": 0.1, **arguments})


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"eps": 0.0}, "eps must be a finite number > 0"),
        ({"epochs": 0}, "epochs must be a whole number >= 1"),
        ({"method": "adam"}, "method must be one of"),
        ({"method": "uap"}, "method must be 'sgd' for this victim"),
        ({"layout": "tiled"}, "sizes must be given"),
        ({"sizes": (4,)}, "sizes must hold a whole number >= 1 for each of 2 axes"),
        ({"sizes": (4, 4)}, "pattern must have the image's shape"),
        ({"layout": "patch", "sizes": (9, 9), "place": (0, 0), "eps": 1.0}, "pattern must be no larger"),
        ({"target": -1}, "target must be the number of a class"),
        ({"cases": []}, "cases must hold at least one image"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: dict[str, Any], named: str) -> None:
    c = case("segmentation", 2, batch=1)
    assert isinstance(c.victim, SegmentationVictim)
    given = {"cases": [(c.image, c.label)], "eps": 0.1, "epochs": 1, "progress": False, **arguments}
    images = given.pop("cases")
    with pytest.raises(ValueError, match=named):
        make_universal(c.victim, lambda: images, **given)
