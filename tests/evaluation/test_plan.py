from __future__ import annotations

import functools

import pytest

from monai_smia.attacks import DeepFool
from monai_smia.evaluation import PlannedAttack, paper_comparison


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
    rows = paper_comparison([0.1, 0.2], steps=7, extra=[functools.partial(DeepFool, norm="linf", candidates=5)])
    deepfool = [row.attack for row in rows if row.name == "DeepFool"]
    assert [(a.eps, a.norm, a.steps, a.planned_gradients) for a in deepfool] == [
        (0.1, "linf", 7, 28),
        (0.2, "linf", 7, 28),
    ]
