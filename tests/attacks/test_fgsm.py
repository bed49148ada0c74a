from __future__ import annotations

import pytest
import torch
from helpers import case, linear_victim

from monai_smia.attacks import FGSM, PGD


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 4, 4)])
@pytest.mark.parametrize("eps", [0.0, 0.01, 0.2])
def test_raises_a_linear_loss_by_eps_times_the_l1_norm(eps: float, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    image = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    result = FGSM(eps=eps, clip=None)(linear_victim(weight), image, torch.tensor([0, 0]))
    rise = result.loss_history[-1] - result.loss_history[0]
    torch.testing.assert_close(rise, (eps * weight.abs().sum()).expand(2))


@pytest.mark.parametrize(("task", "dims"), [("classification", 2), ("segmentation", 3)])
def test_is_one_whole_step_of_pgd(task: str, dims: int) -> None:
    c = case(task, dims)
    fgsm = FGSM(eps=0.05)(c.victim, c.image, c.label)
    pgd = PGD(eps=0.05, steps=1, step_size=0.05, random_start=False)(c.victim, c.image, c.label)
    assert torch.equal(fgsm.adversarial, pgd.adversarial)
    assert torch.equal(fgsm.loss_history, pgd.loss_history)


def test_its_step_follows_the_radius_of_the_call() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    radii = torch.tensor([0.01, 0.1, 0.4], dtype=torch.float64)
    result = FGSM(eps=0.2, clip=None)(c.victim, c.image, c.label, eps=radii)
    torch.testing.assert_close(result.linf[-1], radii)
