from __future__ import annotations

import pytest
import torch
from helpers import KINDS, case
from torch.nn import functional as F

from monai_smia.attacks import BIM, MIFGSM
from monai_smia.attacks.mifgsm import MomentumState


@pytest.mark.parametrize(("task", "dims"), KINDS)
def test_without_memory_it_is_bim(task: str, dims: int) -> None:
    c = case(task, dims)
    options = {"eps": 0.05, "steps": 5}
    mifgsm, bim = (attack(c.victim, c.image, c.label) for attack in (MIFGSM(decay=0.0, **options), BIM(**options)))
    assert torch.equal(mifgsm.adversarial, bim.adversarial)


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_momentum_by_hand(decay: float) -> None:
    attack, state = MIFGSM(eps=0.1, decay=decay), MomentumState(torch.zeros(2, 1, 3))
    first = torch.tensor([[[4.0, -2.0, 0.0]], [[0.0, 0.0, 0.0]]])  # mean absolute values 2 and 0
    second = torch.tensor([[[0.0, 3.0, 0.0]], [[3.0, 0.0, 0.0]]])  # 1 and 1
    torch.testing.assert_close(attack.direction(first, state), torch.tensor([[[2.0, -1, 0]], [[0, 0, 0]]]))
    expected = torch.tensor([[[2.0 * decay, 3 - decay, 0]], [[3, 0, 0]]])
    torch.testing.assert_close(attack.direction(second, state), expected)


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_is_the_loop_of_the_paper(decay: float) -> None:
    """Written out with plain torch; the radius never binds, so that every step shows in the end."""
    c = case("segmentation", 2, dtype=torch.float64)
    adversarial, momentum = c.image.clone(), torch.zeros_like(c.image)
    for _ in range(6):
        adversarial.requires_grad_(True)
        loss = F.cross_entropy(c.victim.network(adversarial), c.label[:, 0], reduction="sum")
        (g,) = torch.autograd.grad(loss, adversarial)
        momentum = decay * momentum + g / g.abs().mean((1, 2, 3), keepdim=True)
        adversarial = adversarial.detach() + 0.1 * momentum.sign()
    options = {"eps": 0.7, "steps": 6, "step_size": 0.1, "clip": None, "keep": "last"}
    result = MIFGSM(decay=decay, **options)(c.victim, c.image, c.label)
    torch.testing.assert_close(result.adversarial, adversarial, rtol=1e-10, atol=1e-12)
    assert not torch.equal(result.adversarial, BIM(**options)(c.victim, c.image, c.label).adversarial)
