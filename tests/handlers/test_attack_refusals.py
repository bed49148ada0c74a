"""What a handler or a transform with an attack refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import Case, case
from ignite.engine import Events
from monai.engines import SupervisedEvaluator

from monai_smia.attacks import FGSM, PGD
from monai_smia.handlers import AttackHandler
from monai_smia.transforms import ApplyAttack, ApplyAttackd
from monai_smia.victims import SegmentationVictim


def evaluator(c: Case) -> SupervisedEvaluator:
    batch = {"image": c.image.clone(), "label": c.label}
    return SupervisedEvaluator(torch.device("cpu"), [batch, batch], c.victim.network, decollate=False)


@pytest.mark.parametrize("event", [None, Events.ITERATION_STARTED, Events.ITERATION_STARTED(every=2)])
def test_a_second_handler_is_refused_and_the_first_one_stays(event: Any) -> None:
    """Two of them would change the image by twice eps and report one eps."""
    c = case("segmentation", 2)
    engine, first = evaluator(c), AttackHandler(PGD(eps=0.05, steps=2), c.victim)
    first.attach(engine, event)
    with pytest.raises(ValueError, match=r"engine must have one AttackHandler, .* use an Ensemble"):
        AttackHandler(PGD(eps=0.05, steps=2), c.victim).attach(engine, event)
    first.attach(engine, event)
    engine.run()
    assert float((engine.state.output["image"] - c.image).abs().max()) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(
    "make", [AttackHandler, ApplyAttack, lambda attack, victim: ApplyAttackd("image", attack, victim)]
)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attack": FGSM}, "attack must be an instance, got the class FGSM"),
        ({"attack": None}, "attack must be an Attack, got None"),
        ({"attack": "pgd"}, "attack must be an Attack, got 'pgd'"),
        ({"victim": SegmentationVictim}, "victim must be an instance, got the class SegmentationVictim"),
        ({"victim": None}, "victim must be a Victim, got None"),
    ],
)
def test_what_is_no_attack_or_no_victim(wrong: dict[str, Any], message: str, make: Callable[..., Any]) -> None:
    given = {"attack": FGSM(eps=0.1), "victim": case("segmentation", 2).victim, **wrong}
    with pytest.raises(ValueError, match=message):
        make(given["attack"], given["victim"])
