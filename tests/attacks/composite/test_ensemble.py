from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import KINDS, case, network
from torch import Tensor

from monai_smia.attacks import APGD, BIM, PGD, SMIA, Ensemble, Noise, Square, Transfer
from monai_smia.victims import ClassificationVictim, SegmentationVictim, Victim

LOSSES = ("cross_entropy", "soft_jaccard", "masked_cross_entropy")


@pytest.mark.filterwarnings("ignore:the gradient of the deviation loss is exactly zero")  # masked, and at the target
@pytest.mark.parametrize(("task", "dims"), KINDS)
@pytest.mark.parametrize("targeted", [False, True])
def test_at_least_as_strong_as_every_member_on_every_sample(task: str, dims: int, targeted: bool) -> None:
    c = case(task, dims, dtype=torch.float64)
    options = {"eps": 0.05, "targeted": targeted}
    target = (c.label + 1) % 3 if targeted else c.label
    members = [BIM(steps=3, **options), PGD(steps=5, **options), Square(queries=10, **options), Noise(**options)]
    if task == "segmentation":
        members += [PGD(steps=3, loss=loss, **options) for loss in LOSSES]
    worst = Ensemble(attacks=members)(c.victim, c.image, target, seed=[3, 4, 5])
    alone = [member(c.victim, c.image, target, seed=[3, 4, 5]) for member in members]
    sign = -1 if targeted else 1
    damages = torch.stack([sign * result.damage for result in alone])
    torch.testing.assert_close(sign * worst.damage, damages.amax(0))
    assert worst.gradients.tolist() == torch.stack([result.gradients for result in alone]).sum(0).tolist()
    for i in range(3):  # each image is a member's own
        assert any(torch.equal(worst.adversarial[i], result.adversarial[i]) for result in alone)


def test_judges_by_a_metric() -> None:
    """Voxels of class 1 that are lost, instead of the Jaccard index."""

    def lost(victim: Victim, prediction: Tensor, label: Tensor) -> Tensor:
        held = label == 1
        return (held & (victim.decide(prediction) != 1)).flatten(1).sum(1) / held.flatten(1).sum(1)

    c = case("segmentation", 2, dtype=torch.float64)
    members = [PGD(eps=0.02, steps=n, loss=loss) for n in (1, 3) for loss in LOSSES]
    worst = Ensemble(attacks=members, metric=lost)(c.victim, c.image, c.label)
    alone = [lost(c.victim, c.victim.predict(m(c.victim, c.image, c.label).adversarial), c.label) for m in members]
    torch.testing.assert_close(worst.damage, torch.stack(alone).amax(0).double())


def test_histories_of_different_lengths() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    members = [BIM(eps=0.05, steps=2), SMIA(eps=0.05, steps=5), BIM(eps=0.05, steps=3, keep="last")]
    result = Ensemble(attacks=members)(c.victim, c.image, c.label)
    assert (result.loss_history.shape, result.linf.shape, result.cosine.shape) == ((6, 3), (6, 3), (4, 3))
    assert not bool(result.loss_history.isnan().any())


def test_one_radius_for_all() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    members = [BIM(eps=0.05, steps=2), APGD(eps=0.1, steps=4)]
    with pytest.raises(ValueError, match=r"attacks must agree on eps, got \[0.05, 0.1\]"):
        Ensemble(attacks=members)
    result = Ensemble(attacks=members, eps=0.03)(c.victim, c.image, c.label)
    assert bool((result.perturbation.abs() <= 0.03 + 1e-12).all())


@pytest.mark.parametrize(
    ("members", "options", "named"),
    [
        ([], {}, "at least one attack"),
        ([BIM(eps=0.1), BIM(eps=0.1, norm="l2")], {}, "agree on norm"),
        ([BIM(eps=0.1), BIM(eps=0.1, clip=None)], {}, "agree on clip"),
        ([BIM(eps=0.1), BIM(eps=0.1, targeted=True)], {}, "agree on targeted"),
        ([BIM(eps=0.1)], {"targeted": True}, "targeted must be"),
    ],
)
def test_bad_members(members: list[Any], options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Ensemble(attacks=members, **options)


@pytest.mark.parametrize(("task", "dims"), KINDS)
def test_a_transferred_image_is_the_surrogates_and_the_score_the_victims(task: str, dims: int) -> None:
    c = case(task, dims, dtype=torch.float64)
    kind = ClassificationVictim if task == "classification" else SegmentationVictim
    surrogate = kind(network(task, dims, seed=5).double().train())
    modes = [m.training for m in surrogate.network.modules()]
    attack = PGD(eps=0.1, steps=5)
    result = Transfer(attack=attack, surrogate=surrogate)(c.victim, c.image, c.label)
    assert torch.equal(result.adversarial, attack(surrogate, c.image, c.label).adversarial)
    assert [m.training for m in surrogate.network.modules()] == modes
    prediction = c.victim.predict(result.adversarial)
    torch.testing.assert_close(result.damage.double(), c.victim.damage(prediction, c.label).double())
    torch.testing.assert_close(result.loss, c.victim.loss(prediction, c.label).detach())
    own = attack(c.victim, c.image, c.label)
    assert float(own.damage.mean()) > float(result.damage.mean())
    both = Ensemble(attacks=[attack, Transfer(attack=attack, surrogate=surrogate)])(c.victim, c.image, c.label)
    torch.testing.assert_close(both.damage, torch.maximum(own.damage, result.damage))


def test_targeted_members_stop_where_the_target_is_reached() -> None:
    """The first one reaches it nowhere, the second everywhere, the third has nothing left to do."""
    c = case("classification", 2, dtype=torch.float64)
    target = (c.label + 1) % 3
    options = {"eps": 0.5, "targeted": True}
    members = [Noise(**options), PGD(steps=20, step_size=0.1, **options), PGD(steps=5, **options)]
    whole, early = (Ensemble(members, stop_at=stop)(c.victim, c.image, target) for stop in (None, 1.0))
    assert members[0](c.victim, c.image, target).damage.tolist() == [1, 1, 1]
    assert early.damage.tolist() == whole.damage.tolist() == [0, 0, 0]
    assert early.gradients.tolist() == [20, 20, 20]
    assert whole.gradients.tolist() == [25, 25, 25]


def test_members_that_are_left_some_samples_draw_as_for_the_whole_batch() -> None:
    """Seeds per sample, of the call or of a member, stay with their samples; an ensemble within draws the same."""
    c = case("classification", 2, dtype=torch.float64, batch=6)
    first, second = (PGD(eps=0.2, steps=n, step_size=s, random_start=n > 1) for n, s in ((1, 0.03), (3, 0.1)))
    seeds = [3, 1, 4, 1, 5, 9]
    solved = first(c.victim, c.image, c.label, seed=seeds).damage == 1
    assert 0 < int(solved.sum()) < 6
    alone = second(c.victim, c.image, c.label, seed=seeds).adversarial
    own = replace(second, seed=seeds)
    for members, seed in (
        ([first, second], seeds),
        ([replace(first, seed=seeds), own], None),
        ([first, Ensemble(attacks=[second, second], stop_at=1.0)], seeds),
    ):
        worst = Ensemble(attacks=members, stop_at=1.0)(c.victim, c.image, c.label, seed=seed)
        assert torch.equal(worst.adversarial[~solved], alone[~solved])
