"""Victims and attacks go to worker processes: a loader that spawns (Windows, macOS, Python 3.14) pickles them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from helpers import ATTACKS, case

from monai_smia.attacks import PGD
from monai_smia.transforms import ApplyAttackd
from monai_smia.victims import ClassificationVictim, DetectionVictim, SegmentationVictim

KINDS = {"classification": ClassificationVictim, "segmentation": SegmentationVictim}
LOSSES = [(task, name) for task, kind in KINDS.items() for name in kind.losses]


@pytest.mark.parametrize(("task", "loss"), LOSSES)
def test_a_victim_with_any_loss_comes_back_as_it_was(task: str, loss: str) -> None:
    c = case(task, 2, loss=loss)
    again = pickle.loads(pickle.dumps(c.victim))
    prediction = c.victim.predict(c.image)
    assert torch.equal(again.predict(c.image), prediction)
    assert torch.equal(again.loss(prediction, c.label), c.victim.loss(prediction, c.label))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_in_a_transform(name: str) -> None:
    attack: Any = ATTACKS[name](progress=False) if name != "ensemble" else ATTACKS[name]()
    c = case("segmentation", 2)
    transform = ApplyAttackd(keys="image", attack=attack, victim=c.victim, label_key="label")
    again = pickle.loads(pickle.dumps(transform))
    attacks = [each.apply_attack.attack for each in (again, transform)]
    assert repr(attacks[0]) == repr(attacks[1])


def test_the_losses_of_boxes_are_functions_of_a_module() -> None:
    for function in (*DetectionVictim.losses.values(), *DetectionVictim.divergences.values()):
        assert type(pickle.loads(pickle.dumps(function))) is type(function)
    assert pickle.loads(pickle.dumps(PGD(eps=0.1))).eps == 0.1
