from __future__ import annotations

import pytest
import torch
from helpers import KINDS, case
from torch.nn import functional as F

from monai_smia.attacks import BIM


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("task", "dims"), KINDS)
def test_is_the_loop_of_the_design(task: str, dims: int, norm: str) -> None:
    """x_t+1 = clip(x + project(x_t + s * g - x)), written out with plain torch."""
    c = case(task, dims, dtype=torch.float64)
    eps, step = (0.05, 0.02) if norm == "linf" else (0.8, 0.3)
    adversarial, axes = c.image.clone(), tuple(range(1, dims + 2))
    for _ in range(5):
        adversarial.requires_grad_(True)
        target = c.label[:, 0] if task == "segmentation" else c.label
        loss = F.cross_entropy(c.victim.network(adversarial), target, reduction="sum")
        (g,) = torch.autograd.grad(loss, adversarial)
        direction = g.sign() if norm == "linf" else g / torch.linalg.vector_norm(g, dim=axes, keepdim=True)
        delta = adversarial.detach() + step * direction - c.image
        if norm == "linf":
            delta = delta.clamp(-eps, eps)
        else:
            delta = delta * (eps / torch.linalg.vector_norm(delta, dim=axes, keepdim=True)).clamp(max=1)
        adversarial = (c.image + delta).clamp(0, 1)
    result = BIM(eps=eps, norm=norm, steps=5, step_size=step, keep="last")(c.victim, c.image, c.label)
    torch.testing.assert_close(result.adversarial, adversarial, rtol=1e-10, atol=1e-12)


def test_raises_the_loss_far_above_noise() -> None:
    c = case("segmentation", 3)
    result = BIM(eps=0.05)(c.victim, c.image, c.label)
    noise = 0.05 * torch.sign(torch.randn(c.image.shape, generator=torch.Generator().manual_seed(0)))
    noisy = c.victim.loss(c.victim.predict((c.image + noise).clamp(0, 1)), c.label).detach()
    assert bool((result.loss - result.loss_history[0] > 3 * (noisy - result.loss_history[0])).all())
