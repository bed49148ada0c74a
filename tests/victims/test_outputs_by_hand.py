"""What output layers decide, score and refuse, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from monai_smia.victims import ClassificationVictim
from monai_smia.victims.outputs import Ordinal, Sigmoid, Softmax, output_of


@pytest.mark.parametrize("kind", [Softmax(), Sigmoid()])
def test_divergences_are_those_of_the_distributions(kind: Any) -> None:
    first, second = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    one, other = kind.probabilities(first), kind.probabilities(second)
    if isinstance(kind, Sigmoid):
        one, other = torch.stack([one, 1 - one], 1), torch.stack([other, 1 - other], 1)
    expected = {
        "soft_cross_entropy": -(other * one.log()),
        "kl": one * (one / other).log(),
        "reverse_kl": other * (other / one).log(),
    }
    for name, values in expected.items():
        found = getattr(kind, name)(first, second)
        assert found.tolist() == pytest.approx(values.flatten(1).sum(1).tolist())


def test_log_odds_of_every_layer() -> None:
    logits = torch.tensor([[0.5, -1.0, 2.0], [3.0, 3.0, -30.0]], dtype=torch.float64)
    p = logits.softmax(1)
    assert torch.allclose(Softmax().log_odds(logits), (p / (1 - p)).log())
    assert Softmax().log_odds(logits)[1, 0] == Softmax().log_odds(logits)[1, 1]
    assert torch.equal(Sigmoid().log_odds(logits.float()), logits)
    for layer, count in ((Ordinal(), 4), (Softmax(), 3), (Sigmoid(), 3)):
        odds = layer.log_odds(logits[:1])
        assert odds.dtype == torch.float64
        assert torch.allclose(odds.sigmoid(), layer.probabilities(logits[:1]))
        assert odds.shape == (1, count)
    saturated = Softmax().log_odds(torch.tensor([[0.0, 60.0, 0.0]], dtype=torch.float64))
    assert saturated[0, 1] == pytest.approx(60 - math.log(2))
    level = Ordinal().log_odds(torch.tensor([[1.0, 1.0]]))
    assert float(level[0, 1]) == torch.finfo(torch.float64).min


@pytest.mark.parametrize(
    ("activation", "label", "fits"),
    [
        ("softmax", [0, 2], True),
        ("softmax", [0.0, 2.0], True),
        ("softmax", [0, 3], False),
        ("softmax", [-1, 2], False),
        ("softmax", [0.5, 1.0], False),
        ("ordinal", [0, 3], True),
        ("ordinal", [0, 4], False),
        ("ordinal", [-1, 0], False),
        ("ordinal", [0.5, 0.0], False),
        ("ordinal", [[0], [1]], False),
        ("softmax", [[0], [1]], False),
    ],
)
def test_labels_of_a_classifier(activation: str, label: list[Any], fits: bool) -> None:
    victim = ClassificationVictim(nn.Identity(), activation=activation)
    logits, truth = torch.randn(2, 3), torch.tensor(label)
    if fits:
        victim.check_label(logits, truth)
    else:
        with pytest.raises(ValueError, match=r"label must hold|needs logits"):
            victim.check_label(logits, truth)


def test_labels_of_independent_channels() -> None:
    victim = ClassificationVictim(nn.Identity(), activation="sigmoid", ignore_index=7)
    logits = torch.randn(2, 3)
    victim.check_label(logits, torch.tensor([[0, 1, 7], [7, 7, 0]]))
    for label, message in (
        ([[0, 1, 2], [0, 0, 0]], "must hold 0 and 1"),
        ([[0, 1, 7], [7, 7, 7]], r"samples \[1\] hold none"),
        ([[0, 1], [0, 0]], "must have the prediction's shape"),
        ([[0, 1, -1], [0, 0, 0]], "must hold 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            victim.check_label(logits, torch.tensor(label))
    with pytest.raises(ValueError, match="needs two channels or more"):
        ClassificationVictim(nn.Identity()).check_label(torch.zeros(2, 1), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="ignore_index must be None for activation='ordinal'"):
        output_of("ordinal", 0)


def test_decisions_at_a_tie_and_beside_it() -> None:
    assert Softmax().decide(torch.tensor([[1.0, 1.0], [1.0, 1.1], [1.1, 1.0]])).tolist() == [0, 1, 0]
    assert Softmax().decide(torch.tensor([[1.0, 2.0, 2.0], [3.0, 3.0, 1.0]])).tolist() == [1, 0]
    assert Sigmoid().decide(torch.tensor([[0.0, 0.1, -0.1]])).tolist() == [[0, 1, 0]]
    assert Ordinal().decide(torch.tensor([[0.0, 0.1, -0.1], [1.0, -1.0, 1.0]])).tolist() == [1, 2]
    assert output_of("sigmoid") is output_of("sigmoid")


def test_scores_of_a_classifier_that_decides_for_one_class() -> None:
    logits = torch.tensor([[1.0, -2.0]])
    ordinal = ClassificationVictim(nn.Identity(), activation="ordinal")
    assert ordinal.scores(torch.tensor([[-2.0, 1.0]])).tolist() == [[0.0, 1.0, -1.0]]
    single = ClassificationVictim(nn.Identity(), activation="sigmoid")
    assert single.scores(logits[:, :1]).tolist() == [[0.0, 1.0]]
    with pytest.raises(ValueError, match="one class must be decided for: activation='sigmoid' has 2 labels"):
        single.scores(logits)
    assert ClassificationVictim(nn.Identity()).scores(logits) is logits
