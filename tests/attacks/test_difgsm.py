from __future__ import annotations

import pytest
import torch
from helpers import case
from torch import Tensor

from monai_smia.attacks import DIFGSM, MIFGSM, Iterate


@pytest.mark.parametrize("options", [{"probability": 0.0}, {"shrink": 1.0, "probability": 1.0}])
@pytest.mark.parametrize("dims", [2, 3])
def test_without_diversity_it_is_mifgsm(dims: int, options: dict[str, float]) -> None:
    c = case("segmentation", dims)
    shared = {"eps": 0.05, "steps": 4}
    ours = DIFGSM(**shared, **options)(c.victim, c.image, c.label)
    assert torch.equal(ours.adversarial, MIFGSM(**shared)(c.victim, c.image, c.label).adversarial)


def iterate_of(image: Tensor, seeds: list[int]) -> Iterate:
    return Iterate(0, image, image, None, [torch.Generator().manual_seed(seed) for seed in seeds])


@pytest.mark.parametrize("dims", [2, 3])
def test_a_sample_is_resized_to_its_own_size_and_put_at_its_own_place(dims: int) -> None:
    image = torch.ones(40, 1, *[20] * dims)
    shown = DIFGSM(eps=0.1, shrink=0.5, probability=1.0).augment(iterate_of(image, list(range(40))))
    assert shown.shape == image.shape
    sizes, places = set(), set()
    for sample in shown:
        held = sample[0].nonzero()
        low, high = held.amin(0), held.amax(0)
        inside = sample[0][tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))]
        torch.testing.assert_close(inside, torch.ones_like(inside))
        sizes.add(tuple((high - low + 1).tolist()))
        places.add(tuple(low.tolist()))
    assert all(10 <= n <= 20 for size in sizes for n in size)
    assert all(len(set(size)) == 1 for size in sizes)  # the shape is kept
    assert len(sizes) > 5
    assert len(places) > 5


def test_the_share_of_resized_samples() -> None:
    image = torch.ones(300, 1, 8, 8)
    shown = DIFGSM(eps=0.1, shrink=0.5, probability=0.3).augment(iterate_of(image, list(range(300))))
    assert 0.15 < float((shown != 1).flatten(1).any(1).float().mean()) < 0.35  # some are resized to their own size


def test_the_gradient_is_of_the_image_shown_and_the_score_of_the_iterate() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    seen: list[Tensor] = []
    c.victim.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    result = DIFGSM(eps=0.05, steps=5, shrink=0.5, probability=1.0)(c.victim, c.image, c.label, seed=[1, 2, 3])
    assert len(seen) == 11  # five shown, five scored, and the last
    assert not any(torch.equal(seen[i], seen[i + 1]) for i in range(0, 10, 2))
    with torch.no_grad():
        torch.testing.assert_close(result.loss, c.victim.loss(c.victim.predict(result.adversarial), c.label))
        losses = torch.stack([c.victim.loss(c.victim.network(shown), c.label) for shown in seen[0:10:2]])
        damages = torch.stack([c.victim.damage(c.victim.network(x), c.label) for x in [*seen[1:10:2], seen[10]]])
    torch.testing.assert_close(result.loss_history[:5], losses)
    torch.testing.assert_close(result.damage, damages.amax(0))  # none that was scored did more


@pytest.mark.parametrize("options", [{"shrink": 0.0}, {"shrink": 1.1}, {"probability": -0.1}, {"probability": 2.0}])
def test_bad_arguments(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(options))} must lie in .* got"):
        DIFGSM(eps=0.1, **options)
