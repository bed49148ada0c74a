"""Losses and divergences of logits, given an output layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from monai_smia.victims import logit_losses
from monai_smia.victims.outputs import output_of


def test_margin_by_hand() -> None:
    prediction = torch.tensor([[2.0, 0.0, 1.0], [2.0, 0.0, 1.0], [-5.0, -4.0, -7.0]])
    assert logit_losses.margin(output_of("softmax"), prediction, torch.tensor([0, 1, 2])).tolist() == [-1, 2, 3]


def test_margin_of_several_labels_by_hand() -> None:
    prediction = torch.tensor([[2.0, -3.0], [2.0, -3.0], [-1.0, -4.0]])
    label = torch.tensor([[1, 0], [0, 1], [0, 0]])
    assert logit_losses.margin(output_of("sigmoid"), prediction, label).tolist() == [-2, 3, -1]


def test_margin_of_grades_by_hand() -> None:
    """The second passes a threshold above one that it does not pass: sorted, they are 2, 1, -1."""
    prediction = torch.tensor([[3.0, 1.0, -2.0], [2.0, -1.0, 1.0], [-1.0, -2.0, -3.0]])
    margins = logit_losses.margin(output_of("ordinal"), prediction, torch.tensor([2, 1, 3]))
    assert margins.tolist() == [-1, 1, 3]


def test_cross_entropy_leaves_out_what_does_not_count() -> None:
    prediction, target = torch.zeros(2, 2, 4), torch.tensor([[0, 1, 1, 0], [9, 9, 1, 9]])
    loss = logit_losses.cross_entropy(output_of("softmax", 9), prediction, target)
    torch.testing.assert_close(loss, math.log(2) * torch.tensor([4.0, 1.0]))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_divergences_of_two_probabilities_by_hand(activation: str) -> None:
    """Of 3/4 and 1/2, whichever way the layer says it."""
    logit = math.log(3)

    def of(value: float) -> Tensor:
        return torch.tensor([[0.0, value]] if activation == "softmax" else [[value]])

    output, p, q = output_of(activation), of(logit), of(0.0)
    forward = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    backward = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert float(logit_losses.kl(output, p, q)) == pytest.approx(forward, abs=1e-6)
    assert float(logit_losses.reverse_kl(output, p, q)) == pytest.approx(backward, abs=1e-6)
    assert float(logit_losses.soft_cross_entropy(output, p, q)) == pytest.approx(backward + math.log(2), abs=1e-6)
