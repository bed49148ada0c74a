from __future__ import annotations

from functools import partial

import pytest
import torch

from monai_smia.attacks import PGD, DeepFool, Ensemble, Noise, Square, Transfer
from monai_smia.evaluation import PlannedAttack, paper_comparison
from monai_smia.victims import SegmentationVictim


def test_rows_and_their_gradients() -> None:
    plan = paper_comparison(0.05, steps=10, unit_scale=1 / 1400, clip=(-1024, 3071), stronger_loss="soft_jaccard")
    names = [(row.name, row.setting) for row in plan]
    fair = [(name, "equal radius") for name in ("Noise", "FGSM", "BIM", "MIFGSM", "PGD", "SMIA")]
    assert names == [
        ("Clean", ""),
        *fair,
        ("SMIA", "equal gradients"),
        ("PGD", "equal radius"),
        ("BIM", "paper"),
        ("PGD", "paper"),
        ("SMIA", "paper"),
    ]
    attacks = {(row.name, row.setting, row.loss): row.attack for row in plan if row.attack is not None}
    assert {a.eps for (_, setting, _), a in attacks.items() if setting != "paper"} == {70.0}
    paper = attacks["SMIA", "paper", None]
    assert (paper.eps, paper.step_size) == (700.0, 70.0)
    gradients = [
        attacks[key].planned_gradients for key in (("BIM", "equal radius", None), ("SMIA", "equal gradients", None))
    ]
    assert gradients[0] - gradients[1] in (0, 1)  # SMIA takes an odd number
    assert len({row.slug for row in plan}) == len(plan)


def test_a_list_of_radii() -> None:
    plan = paper_comparison([0.01, 0.03], steps=2)
    assert [row.eps for row in plan if row.name == "FGSM"] == [0.01, 0.03]
    assert sum(row.name == "Clean" for row in plan) == 1


@pytest.mark.parametrize("options", [{"unit_scale": 0}, {"unit_scale": float("nan")}, {"alpha": -1}, {"steps": -1}])
def test_bad_arguments(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        paper_comparison(0.1, **options)


def test_an_attack_without_a_radius_is_refused() -> None:
    with pytest.raises(ValueError, match="attack must have a radius to be compared, got DeepFool with eps=None"):
        PlannedAttack(DeepFool())


def test_deepfool_stands_in_the_comparison() -> None:
    rows = paper_comparison([0.1, 0.2], steps=7, extra=[partial(DeepFool, norm="linf", candidates=5)])
    deepfool = [row.attack for row in rows if row.name == "DeepFool"]
    assert [(a.eps, a.norm, a.steps, a.planned_gradients) for a in deepfool] == [
        (0.1, "linf", 7, 28),
        (1.0, "linf", 7, 28),  # once without a ball
        (0.2, "linf", 7, 28),
    ]


def test_rows_of_another_norm_have_a_name_of_their_own() -> None:
    """The docstring's example: it had two rows of one name, and one of them was subtracted from the other norm's."""
    plan = paper_comparison(0.1, steps=3, extra=[partial(PGD, norm="l2")])
    slugs, labels = [row.slug for row in plan], [row.key().label for row in plan]
    assert len(set(slugs)) == len(set(labels)) == len(plan)
    assert "pgd_l2_equal-radius_eps0.1" in slugs
    assert "PGD L2, equal radius, eps 0.1" in labels


def test_what_an_attacker_knows_stands_in_the_row() -> None:
    surrogate = SegmentationVictim(torch.nn.Conv2d(1, 2, 3))
    transfer = Transfer(PGD(eps=0.1), surrogate=surrogate)
    attacks = [PGD(eps=0.1), Noise(eps=0.1), Square(eps=0.1), transfer, Ensemble([transfer, Square(eps=0.1)])]
    found = [PlannedAttack(attack, 0.1).key().knowledge for attack in attacks]
    assert found == ["white box", "none", "black box", "transfer", "black box"]
    assert PlannedAttack(Ensemble([transfer, PGD(eps=0.1)]), 0.1).key().knowledge == "white box"
    assert PlannedAttack().key().knowledge is None
