from __future__ import annotations

import pytest
import torch
from helpers import KINDS, case, linear_victim

from monai_smia.attacks import Noise


@pytest.mark.parametrize(("task", "dims"), KINDS)
def test_linf_noise_is_random_signs(task: str, dims: int) -> None:
    c = case(task, dims, dtype=torch.float64)
    perturbation = Noise(eps=0.05, clip=None)(c.victim, c.image, c.label).perturbation
    torch.testing.assert_close(perturbation.abs(), torch.full_like(c.image, 0.05))
    positive = (perturbation > 0).double().mean((1, *range(2, dims + 2)))
    assert bool(((positive > 0.35) & (positive < 0.65)).all())


def test_l2_noise_is_isotropic_and_of_length_eps() -> None:
    image = torch.zeros(2000, 1, 1, 3, dtype=torch.float64)
    victim = linear_victim(torch.ones(1, 1, 3, dtype=torch.float64))
    attack = Noise(eps=0.7, norm="l2", clip=None)
    eta = attack(victim, image, torch.zeros(2000).long(), seed=range(2000)).perturbation.flatten(1) / 0.7
    torch.testing.assert_close(eta.norm(dim=1), torch.ones(2000, dtype=torch.float64))
    torch.testing.assert_close(eta.T @ eta / 2000, torch.eye(3, dtype=torch.float64) / 3, rtol=0, atol=0.03)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_takes_no_gradient(keep: str) -> None:
    c = case("segmentation", 2)
    calls: list[bool] = []
    c.victim.network.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    result = Noise(eps=0.05, keep=keep)(c.victim, c.image, c.label)
    assert calls == [False, False] * (keep == "best")  # the image returned, and the clean one
    assert result.gradients.tolist() == [0, 0, 0]
    assert result.perturbation.abs().amax() > 0.04
