"""What an AttackHandler refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import Case, case
from ignite.engine import Events
from monai.engines import SupervisedEvaluator

from monai_smia.attacks import PGD
from monai_smia.handlers import AttackHandler


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
