"""What a detector's maps say, by hand."""

from __future__ import annotations

import torch
from detectors import cells


def test_an_anchor_is_held_while_its_true_class_is_above_the_background() -> None:
    """Whatever another class says; -1 has no true class."""
    scores = torch.tensor([[[2.0, 5.0, 0.0], [-1.0, 5.0, 0.0], [0.5, -3.0, 0.0], [9.0, 9.0, 0.0]]])
    truth = torch.tensor([[0, 0, 1, -1]])
    assert cells().output.dense_held(scores, truth).tolist() == [[True, False, False, False]]
