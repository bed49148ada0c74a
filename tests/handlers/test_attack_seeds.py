"""Random draws of an attack in an engine: new ones every iteration, of every part its own."""

from __future__ import annotations

import torch
from helpers import case
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from torch import Tensor

from monai_smia.attacks import PGD, Attack, Ensemble
from monai_smia.handlers import AttackHandler
from monai_smia.victims import SegmentationVictim


def starts(attack: Attack, iterations: int = 2) -> list[Tensor]:
    """The perturbations of every iteration over one batch, again and again."""
    c = case("segmentation", 2, dtype=torch.float64)
    data = [{"image": c.image, "label": c.label}] * iterations
    evaluator = SupervisedEvaluator(torch.device("cpu"), data, c.victim.network)
    found: list[Tensor] = []
    AttackHandler(attack, SegmentationVictim(c.victim.network)).attach(evaluator)
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda e: found.append(e.state.attack_result.perturbation))
    evaluator.run()
    return found


def test_members_of_an_ensemble_draw_from_their_own_seeds_in_an_engine() -> None:
    one, other = (PGD(eps=0.05, steps=0, seed=seed) for seed in (1, 2))
    alone = [starts(attack) for attack in (one, other)]
    together = starts(Ensemble([one, other]))
    for i in range(2):
        assert not torch.equal(alone[0][i], alone[1][i])
        for sample in range(3):
            assert any(torch.equal(together[i][sample], attack[i][sample]) for attack in alone)
    assert not torch.equal(together[0], together[1])
    assert any(torch.equal(together[i][s], alone[1][i][s]) for i in range(2) for s in range(3))
