"""What the lower precision of an attack's network rounds away, and who is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import case
from torch import nn

from monai_smia.attacks import BIM, FGSM, PGD, CoarseToFine, CriticalRadius, Ensemble, LowFrequency, Square, Universal
from monai_smia.victims import ClassificationVictim

LOW: dict[str, Any] = {"eps": 0.0005, "autocast": "bfloat16", "progress": False}
FULL: dict[str, Any] = {**LOW, "autocast": None}
TOLD = "bfloat16' does not resolve the perturbation"


def linear(weight: torch.Tensor) -> ClassificationVictim:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2, bias=False))
    network[1].weight.data = torch.stack([weight, -weight])
    return ClassificationVictim(network)


def bright() -> tuple[ClassificationVictim, torch.Tensor, torch.Tensor]:
    """Two images from .5 to 1, where bfloat16 has steps of .004, a network that adds them up, and its decisions."""
    image = 0.5 + 0.5 * torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    victim = linear(torch.randn(64, generator=torch.Generator().manual_seed(1)))
    return victim, image, victim.decide(victim.predict(image))


@pytest.mark.parametrize(("levels", "told"), [(0.1, True), (4.0, False)])
def test_the_share_is_that_of_the_voxels_whose_value_stays(
    levels: float, told: bool, recwarn: pytest.WarningsRecorder
) -> None:
    c = case("segmentation", 2)
    result = BIM(eps=levels / 255, steps=3, autocast="bfloat16")(c.victim, c.image, c.label)
    change = (result.adversarial - c.image).square() * (c.image != 0)
    stays = c.image.bfloat16() == result.adversarial.bfloat16()
    shares = [float(one[same].sum() / one.sum()) for one, same in zip(change, stays, strict=True)]
    torch.testing.assert_close(result.unresolved, torch.tensor(shares))
    assert any(share > 0.25 for share in shares) is told
    assert any(TOLD in str(w.message) for w in recwarn) is told
    recwarn.clear()
    assert BIM(eps=levels / 255, steps=3)(c.victim, c.image, c.label).unresolved.isnan().all()
    assert not recwarn


@pytest.mark.parametrize("attack", [BIM(steps=3, **LOW), FGSM(**LOW), Ensemble([BIM(steps=3, **LOW)])])
def test_an_attack_that_sees_none_of_its_steps_is_told_of_by_what_it_could_have_changed(attack: Any) -> None:
    victim, _, label = bright()
    image = torch.full((2, 1, 8, 8), 0.7)
    with pytest.warns(RuntimeWarning, match=TOLD + r".*in samples \[0, 1\]"):
        result = attack(victim, image, label)
    assert torch.equal(result.adversarial, image)
    assert result.unresolved.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "attack",
    [
        Ensemble([BIM(steps=3, **LOW)]),
        Ensemble([PGD(steps=3, **LOW), Square(queries=3, **FULL)]),
        CoarseToFine([PGD(steps=2, **FULL), PGD(steps=2, step_size=2e-4, **LOW)]),
        LowFrequency(PGD(steps=3, **LOW)),
        CriticalRadius(PGD(steps=3, **LOW)),
        Square(queries=3, **LOW),
    ],
    ids=lambda attack: attack.name,
)
def test_attacks_with_all_of_their_gradients_or_queries_in_lower_precision_are_told_of(attack: Any) -> None:
    with pytest.warns(RuntimeWarning, match=TOLD):
        found = attack(*bright())
    assert bool((found.unresolved > 0.5).all())


@pytest.mark.parametrize(
    "attack",
    [
        Ensemble([PGD(steps=3, **LOW), PGD(steps=3, **FULL)]),
        CoarseToFine([PGD(steps=2, **LOW), PGD(steps=2, step_size=2e-4, **FULL)]),
        Universal(pattern=torch.ones(1, 8, 8), **LOW),
        PGD(steps=3, **{**LOW, "eps": 0.0}),
    ],
    ids=lambda attack: attack.name,
)
def test_attacks_that_see_or_ask_nothing_in_lower_precision_alone_are_not(
    attack: Any, recwarn: pytest.WarningsRecorder
) -> None:
    found = attack(*bright())
    assert bool(found.unresolved.isnan().all())
    assert not recwarn


def test_double_precision_is_left_alone_by_autocast(recwarn: pytest.WarningsRecorder) -> None:
    c = case("classification", 2, dtype=torch.float64)
    low, full = (BIM(steps=3, **options)(c.victim, c.image, c.label) for options in (LOW, FULL))
    assert torch.equal(low.adversarial, full.adversarial)
    assert low.unresolved.isnan().all()
    assert not recwarn


def test_background_does_not_hide_what_is_lost_of_the_rest() -> None:
    """Changes of a zero are resolved however small they are: by count they would make nine tenths."""
    victim, image, label = bright()
    image[:, :, 1:] = 0
    with pytest.warns(RuntimeWarning, match=TOLD):
        found = BIM(steps=3, keep="last", **LOW)(victim, image, label)
    assert bool((found.unresolved > 0.5).all())


def test_a_few_large_changes_count_for_more_than_many_small_ones() -> None:
    _, image, label = bright()
    weight = torch.full((64,), 1e-3)
    weight[0] = 1.0
    found = BIM(eps=0.2, norm="l2", steps=5, keep="last", autocast="bfloat16")(linear(weight), image, label)
    moved = found.adversarial != image
    stays = image.bfloat16() == found.adversarial.bfloat16()
    assert float((moved & stays).sum() / moved.sum()) > 0.5
    assert bool((found.unresolved < 0.05).all())


def test_a_sample_of_a_batch_is_told_of_by_itself() -> None:
    victim, image, label = bright()
    image[1] *= 1e-3  # bfloat16 has small steps there
    with pytest.warns(RuntimeWarning, match=r"in samples \[0\]"):
        BIM(steps=3, **LOW)(victim, image, label)


def test_only_voxels_that_may_change_are_asked(recwarn: pytest.WarningsRecorder) -> None:
    victim, image, label = bright()
    image[:, :, 4:] = 1e-3
    mask = torch.zeros(1, 1, 8, 8)
    mask[:, :, 4:] = 1
    found = BIM(steps=3, **LOW)(victim, image, label, mask=mask)
    assert bool((found.unresolved < 0.1).all())
    assert not recwarn
