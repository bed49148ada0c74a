"""The modules that a predictor shows, and which of them a sliding-window gradient refuses."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_smia.inferers.sliding_window import modules_of, refuse_unrepeatable, tensors_of


def test_a_predictor_shows_what_it_runs() -> None:
    network, other = nn.Linear(2, 2), nn.Identity()

    def both(first: nn.Module, image: Tensor) -> Any:
        return first(image)

    assert list(modules_of(network)) == [network]
    assert list(modules_of(lambda image: other(network(image)))) == [network, other]
    assert list(modules_of(network.forward)) == [network]
    assert list(modules_of(partial(both, network))) == [network]
    assert list(modules_of(len)) == []
    assert [tuple(t.shape) for t in tensors_of([network, nn.BatchNorm1d(3)])] == [
        (2, 2),
        (2,),
        (3,),
        (3,),
        (3,),
        (3,),
        (),
    ]


@pytest.mark.parametrize(
    ("module", "refused"),
    [
        (nn.Dropout(0.5), True),
        (nn.Dropout(0.0), False),
        (nn.Dropout3d(0.1), True),
        (nn.RReLU(), True),
        (nn.BatchNorm2d(2), True),
        (nn.BatchNorm2d(2, track_running_stats=False), True),
        (nn.InstanceNorm2d(2), False),
        (nn.InstanceNorm2d(2, track_running_stats=True), True),
        (nn.GroupNorm(1, 2), False),
        (nn.ReLU(), False),
    ],
)
def test_what_does_not_repeat_itself_in_train_mode(module: nn.Module, refused: bool) -> None:
    network = nn.Sequential(nn.Identity(), module)
    refuse_unrepeatable([network.eval()])
    network.train()
    if refused:
        with pytest.raises(ValueError, match=f"its {type(module).__name__} is in train mode"):
            refuse_unrepeatable([network])
    else:
        refuse_unrepeatable([network])
    assert torch.is_grad_enabled()
