"""Several attacks of one handler, in turn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import case
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from torch import Tensor

from monai_smia.attacks import BIM, PGD
from monai_smia.handlers import AttackHandler
from monai_smia.victims import SegmentationVictim


def test_several_attacks_take_turns() -> None:
    """Every batch is what the attack whose turn it is makes of it, with the seed of that iteration."""
    c, attacks = case("segmentation", 2), [BIM(eps=0.05, steps=2), PGD(eps=0.1, steps=1)]

    def seen(attack: Any) -> list[Tensor]:
        items = [{"image": x, "label": y} for x, y in zip(c.image, c.label, strict=True)] * 2
        loader = DataLoader(Dataset(items), batch_size=1, num_workers=0)
        engine, found = SupervisedEvaluator(torch.device("cpu"), loader, c.victim.network), list[Tensor]()
        AttackHandler(attack, c.victim).attach(engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: found.append(e.state.output[0]["image"]))
        engine.run()
        return found

    together, alone = seen(attacks), [seen(attack) for attack in attacks]
    assert len(together) == 2 * len(c.image) >= 4
    for number, image in enumerate(together):
        assert torch.equal(image, alone[number % 2][number])
        assert not torch.equal(image, alone[1 - number % 2][number])


def test_no_attack_is_refused() -> None:
    with pytest.raises(ValueError, match="attack must be an attack, or several, got none"):
        AttackHandler([], SegmentationVictim(torch.nn.Conv2d(1, 2, 1)))
