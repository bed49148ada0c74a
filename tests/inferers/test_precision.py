"""The sliding window under autocast."""

from __future__ import annotations

import torch
from monai.inferers import SlidingWindowInferer
from window_helpers import Net, by_autograd, loss_of, rand, relative_error

from monai_smia.inferers import CheckpointedSlidingWindowInferer


def test_autocast_of_the_forward_pass_holds_in_the_backward_pass() -> None:
    seen: list[torch.dtype] = []
    net = Net(2).float()
    net.second.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    x = rand(1, 2, 10, 10, dtype=torch.float32).requires_grad_(True)
    ours = CheckpointedSlidingWindowInferer(6, overlap=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = ours(x, net)
    forward = len(seen)
    (got,) = torch.autograd.grad(loss_of(output.float()), x)
    assert len(seen) > forward
    assert set(seen) == {torch.bfloat16}
    y = x.detach().clone().requires_grad_(True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = by_autograd(SlidingWindowInferer(6, overlap=0.5), y, net)
    assert torch.equal(output, expected)
    (wanted,) = torch.autograd.grad(loss_of(expected.float()), y)
    assert got.dtype == torch.float32
    assert relative_error(got, wanted) < 0.02


def test_backward_under_autocast_does_not_change_a_plain_forward() -> None:
    seen: list[torch.dtype] = []
    net = Net(2).float()
    net.second.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    x = rand(1, 2, 10, 10, dtype=torch.float32).requires_grad_(True)
    loss = loss_of(CheckpointedSlidingWindowInferer(6)(x, net))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss.backward()
    assert set(seen) == {torch.float32}
