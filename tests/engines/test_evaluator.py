from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import Case, case
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanDice, from_engine
from monai.transforms import AsDiscreted, Compose

from monai_smia.attacks import BIM
from monai_smia.engines import AttackEvaluator
from monai_smia.handlers import AttackHandler

CPU = torch.device("cpu")
POST = Compose([AsDiscreted("pred", argmax=True, to_onehot=3), AsDiscreted("label", to_onehot=3)])


def run(engine: type, c: Case, handler: AttackHandler | None = None, **options: Any) -> SupervisedEvaluator:
    data = [{"image": x, "label": y} for x, y in zip(c.image, c.label, strict=True)]
    metric = MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))
    evaluator = engine(
        CPU,
        DataLoader(Dataset(data), batch_size=2),
        c.victim.network,
        postprocessing=POST,
        key_val_metric={"dice": metric},
        **options,
    )
    if handler is not None:
        handler.attach(evaluator)
    evaluator.run()
    return evaluator


def test_is_an_evaluator_with_the_handler() -> None:
    c, attack = case("segmentation", 2), BIM(eps=0.3, steps=3)
    ours = run(AttackEvaluator, c, attack=attack, victim=c.victim)
    theirs = run(SupervisedEvaluator, c, AttackHandler(attack, c.victim))
    assert ours.state.metrics == theirs.state.metrics
    assert torch.equal(ours.state.output[0]["perturbation"], theirs.state.output[0]["perturbation"])
    assert (ours.attack, ours.victim) == (attack, c.victim)


def test_without_an_attack_it_is_a_plain_evaluator() -> None:
    c = case("segmentation", 2)
    ours = run(AttackEvaluator, c)
    assert ours.state.metrics == run(SupervisedEvaluator, c).state.metrics == {"dice": pytest.approx(1.0)}
    assert "perturbation" not in ours.state.output[0]


def test_mask_key() -> None:
    c = case("segmentation", 2)
    mask = torch.zeros(3, 1, 8, 8)
    mask[..., :4] = 1
    batch = {"image": c.image, "label": c.label, "mask": mask}
    options = {"attack": BIM(eps=0.05), "victim": c.victim, "mask_key": "mask", "decollate": False}
    evaluator = AttackEvaluator(CPU, [batch], c.victim.network, **options)
    evaluator.run()
    perturbation = evaluator.state.output["perturbation"]
    assert perturbation[..., :4].any()
    assert not perturbation[..., 4:].any()


def test_an_attack_needs_a_victim() -> None:
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match="victim must be given with an attack"):
        AttackEvaluator(CPU, [], c.victim.network, attack=BIM(eps=0.05))
