from __future__ import annotations

import pytest
import torch
from monai.engines import SupervisedTrainer

from monai_smia.handlers import ClipGradients


def trained(max_norm: float | None) -> torch.Tensor:
    """What one step of plain gradient descent, rate 1, makes of a weight of zeros: minus its gradient."""
    network = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    handlers = [] if max_norm is None else [ClipGradients(network.parameters(), max_norm=max_norm)]
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[{"image": torch.tensor([[3.0, 4.0]]), "label": torch.zeros(1)}],
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 1.0),
        loss_function=lambda output, label: output.sum(),
        decollate=False,
        train_handlers=handlers,
    ).run()
    return network.weight.detach()[0]


@pytest.mark.parametrize(("max_norm", "step"), [(None, [3.0, 4.0]), (1.0, [0.6, 0.8]), (50.0, [3.0, 4.0])])
def test_the_step_is_what_the_norm_leaves(max_norm: float | None, step: list[float]) -> None:
    assert trained(max_norm).tolist() == pytest.approx([-s for s in step], rel=1e-5)


def test_a_norm_of_nothing() -> None:
    with pytest.raises(ValueError, match="max_norm must be a number > 0, got 0"):
        ClipGradients([], max_norm=0)
