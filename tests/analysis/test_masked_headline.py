"""The headline of a network that hides its gradient is never better than without it, unless the sentence says so."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from analysis.test_flags import EPS, MASKED, Around, Right, inside, masked, pictures
from torch import nn

from monai_smia.evaluation import AttackEvaluation, preset_plan
from monai_smia.report import write_report
from monai_smia.victims import ClassificationVictim


class Accuracy(Right):
    primary = "accuracy"
    higher_is_better = True


INSIDE = [name for name in MASKED if name not in ("step activation", "overconfident")]  # two have networks of their own


def headline(network: nn.Module, folder: Path) -> tuple[float, str]:
    """The figure under the preset quick, and the sentence."""
    images, labels = pictures(9, 1)
    evaluation: Any = AttackEvaluation(
        cases=[{"case": str(i), "image": f"{i}", "label": int(labels[i])} for i in range(9)],
        loading=lambda item: {"image": images[int(item["image"])], "label": item["label"]},
        victim=ClassificationVictim(network),
        attacks=preset_plan("quick", "classification", EPS / 2),
        metrics=Accuracy(),
        output_dir=folder,
        progress=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        (radius,) = evaluation.run()["headline"]["radii"]
    return float(radius["attacked"]), write_report(folder).headline


@pytest.fixture(scope="module")
def unmasked(tmp_path_factory: pytest.TempPathFactory) -> float:
    value, sentence = headline(inside(), tmp_path_factory.mktemp("inside"))
    assert "Do not trust" not in sentence
    assert value == 0  # every picture that it knows is broken
    return value


@cache
def around(name: str) -> nn.Module:
    network = masked(name)
    assert isinstance(network, Around)
    return network


@pytest.mark.filterwarnings("ignore:the gradient of the deviation")
@pytest.mark.parametrize("name", INSIDE)
def test_never_better_without_a_word(name: str, unmasked: float, tmp_path: Path) -> None:
    value, sentence = headline(around(name), tmp_path)
    assert value <= unmasked or "Do not trust it as it stands" in sentence
