from __future__ import annotations

import pytest
import torch
from helpers import KINDS, case, linear_victim

from monai_smia.attacks import BIM, PGD


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 4, 4)])
@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
@pytest.mark.parametrize("seed", [0, 1])
def test_reaches_the_optimum_of_a_linear_model(norm: str, dual: int, seed: int, shape: tuple[int, ...]) -> None:
    """From any start: the maximum of <w, x + eta> over the ball is eps times the dual norm of w, at one point."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    image = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    attack = PGD(eps=0.5, norm=norm, clip=None, steps=200, step_size=0.2, seed=seed)
    result = attack(linear_victim(weight), image, torch.tensor([0, 0]))
    best = weight.sign() if norm == "linf" else weight / weight.norm()
    torch.testing.assert_close(result.perturbation, (0.5 * best).expand_as(image), rtol=0, atol=1e-6)
    gain = result.loss - (weight * image).flatten(1).sum(1)
    torch.testing.assert_close(gain, (0.5 * torch.linalg.vector_norm(weight, dual)).expand(2))


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("task", "dims"), KINDS)
def test_from_the_image_it_is_bim(task: str, dims: int, norm: str) -> None:
    c = case(task, dims)
    options = {"eps": 0.05, "norm": norm, "steps": 4}
    pgd = PGD(random_start=False, **options)(c.victim, c.image, c.label)
    assert torch.equal(pgd.adversarial, BIM(**options)(c.victim, c.image, c.label).adversarial)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_at_random(norm: str) -> None:
    c = case("classification", 2, dtype=torch.float64)
    starts = [
        PGD(eps=0.1, norm=norm, steps=0, seed=s, clip=None)(c.victim, c.image, c.label).perturbation for s in (0, 1)
    ]
    assert not torch.equal(*starts)
    length = torch.linalg.vector_norm(starts[0].flatten(1), float("inf") if norm == "linf" else 2, 1)
    assert bool(((length > 0.09) & (length <= 0.1 + 1e-12)).all())  # in 128 dimensions most of a ball is at its surface
    torch.testing.assert_close(starts[0][0], starts[0][1])  # one seed serves every sample


@pytest.mark.parametrize("start_eps", [0, 0.05, 0.1])
def test_a_start_within_a_smaller_ball(start_eps: float) -> None:
    c = case("classification", 2, dtype=torch.float64)
    result = PGD(eps=0.1, start_eps=start_eps, steps=0, keep="last", clip=None)(c.victim, c.image, c.label)
    largest = float(result.perturbation.abs().max())
    assert 0.9 * start_eps <= largest <= start_eps


@pytest.mark.parametrize("start_eps", [-0.01, 0.11])
def test_a_start_outside_of_the_ball_is_refused(start_eps: float) -> None:
    with pytest.raises(ValueError, match=r"start_eps must be a number from 0 to eps=0\.1"):
        PGD(eps=0.1, start_eps=start_eps)
