"""A radius or a step in another unit than the images is refused, through every door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator

from monai_smia.attacks import (
    APGD,
    BIM,
    DAG,
    FGSM,
    FMN,
    MIFGSM,
    PGD,
    SMIA,
    Attack,
    CosPGD,
    CriticalRadius,
    Ensemble,
    Noise,
    Square,
)
from monai_smia.attacks.arguments import widest
from monai_smia.handlers import AttackHandler
from monai_smia.transforms import ApplyAttack, ApplyAttackd
from monai_smia.victims import SegmentationVictim

IMAGE = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABEL = (IMAGE > 0.5).long()
SAID = r"eps must be at most the width of the valid range clip=\[0, 1\], 1 in linf, got 42: is it in the unit"
MADE: dict[str, Callable[[float], Attack]] = {
    "FGSM": lambda eps: FGSM(eps=eps),
    "BIM": lambda eps: BIM(eps=eps, steps=2),
    "MIFGSM": lambda eps: MIFGSM(eps=eps, steps=2),
    "PGD": lambda eps: PGD(eps=eps, steps=2),
    "SMIA": lambda eps: SMIA(eps=eps, steps=2),
    "Noise": lambda eps: Noise(eps=eps),
    "Square": lambda eps: Square(eps=eps, queries=2),
    "APGD": lambda eps: APGD(eps=eps, steps=3),
    "CosPGD": lambda eps: CosPGD(eps=eps, steps=2),
    "FMN": lambda eps: FMN(eps=eps, steps=2),
    "Ensemble": lambda eps: Ensemble([PGD(eps=eps, steps=2), Noise(eps=eps)]),
    "CriticalRadius": lambda eps: CriticalRadius(PGD(eps=eps, steps=2), precision=0.4),
}


def victim() -> SegmentationVictim:
    torch.manual_seed(0)
    return SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1))


@pytest.mark.parametrize("name", MADE)
def test_a_radius_wider_than_the_valid_range(name: str) -> None:
    with pytest.raises(ValueError, match=SAID):
        MADE[name](42.0)(victim(), IMAGE, LABEL)
    result = MADE[name](1.0)(victim(), IMAGE, LABEL)  # all of the range is one
    assert bool(((result.adversarial >= 0) & (result.adversarial <= 1)).all())


@pytest.mark.parametrize("eps", [42.0, torch.tensor([0.1, 42.0]), torch.tensor([42.0, 0.0])])
def test_a_radius_for_one_call_or_one_sample(eps: Any) -> None:
    with pytest.raises(ValueError, match=SAID):
        PGD(eps=0.1, steps=2)(victim(), IMAGE, LABEL, eps=eps)


@pytest.mark.parametrize(
    "attack",
    [BIM(eps=0.1, steps=2, step_size=42.0), Ensemble([Noise(eps=0.1), PGD(eps=0.1, steps=2, step_size=42.0)])],
    ids=["alone", "in an ensemble"],
)
def test_a_step_wider_than_the_valid_range(attack: Attack) -> None:
    with pytest.raises(ValueError, match=r"^step_size must be at most .* 1 in linf, got 42"):
        attack(victim(), IMAGE, LABEL)


def test_in_l2_the_range_is_as_wide_as_its_diagonal() -> None:
    assert widest((-1.0, 1.0), "l2", 9) == 6.0
    PGD(eps=8.0, norm="l2", steps=2)(victim(), IMAGE, LABEL)  # 64 voxels
    with pytest.raises(ValueError, match=r"^eps must be at most .* 8 in l2, got 8\.1"):
        PGD(eps=8.1, norm="l2", steps=2)(victim(), IMAGE, LABEL)


def test_the_papers_ball_is_what_its_steps_add_up_to() -> None:
    """Ten steps of .2, from a start within .2: 2.2 bounds nothing."""
    for attack in (BIM(eps=2.0, steps=10, step_size=0.2), PGD(eps=2.2, steps=10, step_size=0.2, start_eps=0.2)):
        attack(victim(), IMAGE, LABEL)
    with pytest.raises(ValueError, match=r"^eps must be at most"):
        BIM(eps=1.5, steps=10, step_size=0.2)(victim(), IMAGE, LABEL)  # a ball that bounds them


def test_where_there_is_no_valid_range_any_radius_is_one() -> None:
    result = FGSM(eps=42.0, clip=None)(victim(), IMAGE, LABEL)
    assert float(result.perturbation.abs().max()) == pytest.approx(42.0)


def test_no_ball_is_none_that_is_too_wide() -> None:
    assert DAG(eps=None).eps is None


def test_the_transforms() -> None:
    attack = PGD(eps=42.0, steps=2)
    with pytest.raises(ValueError, match=SAID):
        ApplyAttack(attack, victim())(IMAGE[0], LABEL[0])
    with pytest.raises(ValueError, match=SAID):
        ApplyAttackd("image", attack, victim())({"image": IMAGE[0], "label": LABEL[0]})


def test_the_handler() -> None:
    evaluator = SupervisedEvaluator(torch.device("cpu"), [{"image": IMAGE, "label": LABEL}], victim().network)
    AttackHandler(PGD(eps=42.0, steps=2), victim()).attach(evaluator)
    with pytest.raises(ValueError, match=SAID):
        evaluator.run()
