"""VAFA against plain implementations of the paper, in loops over blocks."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import case, linear_victim
from scipy.fft import dctn, idctn

from monai_smia.attacks import PGD, VAFA
from monai_smia.attacks.cosine_transform import blocks_of, image_of, transformed
from monai_smia.attacks.vafa import block_ssim, quantized, stretched
from monai_smia.victims import SegmentationVictim


def corners(shape: tuple[int, ...], size: int) -> list[tuple[slice, ...]]:
    return [tuple(slice(at, at + size) for at in c) for c in itertools.product(*(range(0, n, size) for n in shape))]


def rounding(ratio: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The soft rounding of AdvDrop, Eq. 5, and its slope."""
    steep, scale = math.log(2 / alpha - 1), 1 / (1 - alpha)
    bent = np.tanh((ratio - np.floor(ratio) - 0.5) * steep)
    return np.floor(ratio) + (scale * bent + 1) / 2, scale * steep * (1 - bent**2) / 2


def plainly(image: np.ndarray, weight: np.ndarray, *, q_max: float, steps: int, size: int) -> list[np.ndarray]:
    """All iterates in gray levels of an attack on the loss <weight, image>, whose gradient is known by hand."""
    levels, images = image * 255 - 128, []
    table, step = np.full_like(levels, q_max), 4 / 3 * 0.75 * q_max / steps
    for number in range(steps + 1):
        alpha = 0.1 * (1 - min(number, steps - 1) / steps)
        changed, new = np.empty_like(levels), table.copy()
        for at in corners(levels.shape, size):
            coefficients = dctn(levels[at], norm="ortho")
            whole, slope = rounding(coefficients / table[at], alpha)
            changed[at] = idctn(whole * table[at], norm="ortho")
            inside = (changed[at] > -128) & (changed[at] < 127)  # what the range cuts follows no entry
            gradient = dctn(weight[at] * inside, norm="ortho")
            by_entry = gradient * (whole - coefficients / table[at] * slope)
            new[at] = np.clip(table[at] + step * np.sign(by_entry), q_max / 4, q_max)
        images.append((changed + 128) / 255)
        table = new
    return images


@pytest.mark.parametrize("shape", [(16, 8), (8, 16, 8)])
def test_every_iterate_is_that_of_a_plain_loop(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    image, weight = (torch.rand(1, 1, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    weight = weight - 0.5
    expected = plainly(image[0, 0].numpy(), weight[0, 0].numpy(), q_max=20.0, steps=4, size=8)
    options: dict[str, Any] = {"eps": 1.0, "q_max": 20 / 255, "ssim_weight": 0.0, "clip": (0.0, 1.0)}
    for steps in (1, 4):
        plain = plainly(image[0, 0].numpy(), weight[0, 0].numpy(), q_max=20.0, steps=steps, size=8)
        result = VAFA(steps=steps, keep="last", **options)(linear_victim(weight), image, torch.tensor([0]))
        assert result.adversarial[0, 0].numpy() == pytest.approx(plain[-1].clip(0, 1), abs=1e-9)
    assert result.linf[:, 0].numpy() == pytest.approx(
        [np.abs(each.clip(0, 1) - image[0, 0].numpy()).max() for each in expected], abs=1e-9
    )
    best = VAFA(steps=4, **options)(linear_victim(weight), image, torch.tensor([0]))
    losses = [float((weight[0, 0].numpy() * each.clip(0, 1)).sum()) for each in expected]
    assert best.loss_history[:, 0].numpy() == pytest.approx(losses, abs=1e-9)
    assert losses[-1] > losses[0]


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """SSIM of two blocks with a Gaussian window of 3, voxel by voxel."""
    taps = np.exp(-((np.arange(3) - 1.0) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()
    window = taps
    for _ in range(first.ndim - 1):
        window = window[..., None] * taps
    values = []
    for at in itertools.product(*(range(n - 2) for n in first.shape)):
        x, y = (each[tuple(slice(i, i + 3) for i in at)] for each in (first, second))
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy = (window * x * x).sum() - mx**2, (window * y * y).sum() - my**2
        both = (window * x * y).sum() - mx * my
        c1, c2 = 0.01**2, 0.03**2
        values.append((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return max(float(np.mean(values)), 0.0)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_ssim_term_is_that_of_every_block(dims: int) -> None:
    first, second = (torch.rand(2, 2, 3, *[6] * dims, dtype=torch.float64, requires_grad=True) for _ in range(2))
    found = block_ssim(first, second)
    for sample in range(2):
        pairs = [(c, b) for c in range(2) for b in range(3)]
        each = [
            similarity(first[sample, c, b].detach().numpy(), second[sample, c, b].detach().numpy()) for c, b in pairs
        ]
        assert float(found[sample]) == pytest.approx(np.mean(each), abs=1e-12)
    assert torch.autograd.gradcheck(lambda t: block_ssim(t, second[:1, :1, :1].detach()), first[:1, :1, :1])


def test_the_ssim_term_is_subtracted_on_the_scale_of_the_loss() -> None:
    """One step from a table that is known: the entries go along the gradient of loss - voxels * (1 - SSIM)."""
    torch.manual_seed(0)
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    network = torch.nn.Conv2d(1, 2, 3, padding=1).double()
    label = (image > 0.5).long()
    victim = SegmentationVictim(network, loss="soft_jaccard")
    coefficients = transformed(blocks_of(image - 128 / 255, 8))
    tables = []
    for weight in (0.0, 1.0):
        table = torch.full_like(coefficients, 0.2).requires_grad_()
        shown = image_of(transformed(quantized(coefficients, table, 0.1), inverse=True), image.shape, 8) + 128 / 255
        shown = shown.clamp(0, 1)
        probability = network(shown).softmax(1)[:, 1:]
        both, either = (probability * label).sum(), (probability + label - probability * label).sum()
        objective = 64 * (1 - both / either) - weight * 64 * (1 - block_ssim(blocks_of(shown, 8), blocks_of(image, 8)))
        (gradient,) = torch.autograd.grad(objective.sum(), table)
        new = (table + 0.05 * gradient.sign()).clamp(0.05, 0.2).detach()
        expected = image_of(transformed(quantized(coefficients, new, 0.1), inverse=True), image.shape, 8) + 128 / 255
        attack = VAFA(eps=1.0, q_max=0.2, steps=1, step_size=0.05, ssim_weight=weight, keep="last")
        found = attack(victim, image, label).adversarial
        assert torch.allclose(found, expected.clamp(0, 1), atol=1e-9)
        tables.append(new)
    assert not torch.equal(*tables)


@pytest.mark.parametrize(("task", "dims"), [("classification", 2), ("segmentation", 2), ("segmentation", 3)])
def test_it_does_damage_inside_the_ball_and_odd_sizes_fit(task: str, dims: int) -> None:
    c = case(task, dims, size=11, dtype=torch.float64)
    result = VAFA(eps=0.2, steps=8)(c.victim, c.image, c.label)
    assert bool((result.perturbation.abs() <= 0.2 + 1e-12).all())
    assert 0 <= float(result.adversarial.min()) <= float(result.adversarial.max()) <= 1
    assert result.gradients.tolist() == [8] * 3
    assert result.loss_history.shape == (9, 3)
    if task == "segmentation":
        assert bool((result.damage > 0.01).all())
    alone = [VAFA(eps=0.2, steps=8)(c.victim, c.image[n : n + 1], c.label[n : n + 1]).adversarial for n in range(3)]
    assert torch.allclose(torch.cat(alone), result.adversarial, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_root_mean_square_is_at_most_half_of_an_entry_where_it_rounds(dims: int) -> None:
    coefficients = 5 * torch.randn(1, 1, 4, *[8] * dims, dtype=torch.float64)
    table = 0.5 + torch.rand_like(coefficients)
    lost = quantized(coefficients, table, 1e-12) - coefficients
    assert bool((lost.abs() <= table / 2 + 1e-6).all())
    assert torch.allclose(transformed(lost, inverse=True).square().mean(), lost.square().mean())


def test_radius_zero_mask_and_scale() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    assert torch.equal(VAFA(eps=0.0, steps=2)(c.victim, c.image, c.label).adversarial, c.image)
    mask = torch.zeros(8, 8)
    mask[:4] = 1
    result = VAFA(eps=0.2, steps=2)(c.victim, c.image, c.label, mask=mask)
    assert not bool(result.perturbation[..., 4:, :].any())
    assert bool(result.perturbation[..., :4, :].any())
    other = VAFA(eps=1.0, q_max=0.1, q_min=0.02, step_size=0.01).scaled(10)
    assert (other.q_max, other.q_min, other.step_size, other.steps) == (1.0, 0.2, 0.1, 20)


@pytest.mark.parametrize("dims", [2, 3])
def test_stretching_brings_every_slice_to_the_range(dims: int) -> None:
    """As the authors' code does: the gradient goes through it, and without steps it is min and max slice by slice."""
    c = case("segmentation", dims, dtype=torch.float64)
    options: dict[str, Any] = {"eps": 1.0, "q_max": 0.2, "ssim_weight": 0.0, "keep": "last", "stretch": True}
    image = c.image * 0.5 + 0.2
    plain = VAFA(**{**options, "stretch": False}, steps=0)(c.victim, image, c.label).adversarial
    own = VAFA(**options, steps=0)(c.victim, image, c.label).adversarial
    least, most = own.amin((2, 3)), own.amax((2, 3))
    assert torch.allclose(least, torch.zeros_like(least), atol=1e-12)
    assert torch.allclose(most, torch.ones_like(most), atol=1e-12)
    low, high = plain.amin((2, 3), keepdim=True), plain.amax((2, 3), keepdim=True)
    assert torch.allclose(own, (plain - low) / (high - low), atol=1e-12)
    found = VAFA(**{**options, "keep": "best"}, steps=6)(c.victim, image, c.label)
    assert bool((found.damage >= VAFA(**{**options, "keep": "best"}, steps=0)(c.victim, image, c.label).damage).all())
    flat = torch.full((1, 1, 8, 8), 0.25, dtype=torch.float64)
    assert torch.equal(stretched(flat, torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)), flat)
    ramp = torch.arange(64, dtype=torch.float64).view(1, 1, 8, 8)
    assert torch.allclose(stretched(ramp, torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)), ramp / 63)


def test_a_targeted_attack_goes_the_other_way() -> None:
    weight = torch.rand(1, 1, 8, 8, dtype=torch.float64) - 0.5
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    ends = [
        VAFA(eps=1.0, q_max=0.3, ssim_weight=0.0, targeted=t, keep="last")(
            linear_victim(weight), image, torch.tensor([0])
        )
        for t in (False, True)
    ]
    up, down = (float((weight * end.adversarial).sum()) for end in ends)
    assert up > down


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"q_max": 0.0}, "q_max must be a finite number > 0"),
        ({"q_min": -1.0}, "q_min must be"),
        ({"q_min": 0.2, "q_max": 0.1}, "q_min must be at most q_max, 0.1, got 0.2"),
        ({"ssim_weight": -1.0}, "ssim_weight must be"),
        ({"block": 1}, "block must be a whole number >= 2"),
        ({"block": 2}, "block must be at least 3"),
        ({"norm": "l2"}, "norm must be linf for VAFA"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        VAFA(eps=0.1, **arguments)


def test_on_a_network_it_is_no_weaker_than_quantization_alone() -> None:
    """What the learned table adds to the largest one, and PGD of the same ball, which is free, beside."""
    c = case("segmentation", 3, size=16, dtype=torch.float64, loss="soft_jaccard")
    first = VAFA(eps=0.15, steps=0)(c.victim, c.image, c.label)
    learned = VAFA(eps=0.15, steps=20)(c.victim, c.image, c.label)
    free = PGD(eps=0.15, steps=20)(c.victim, c.image, c.label)
    assert bool((learned.damage > first.damage).all())
    assert bool((free.damage > learned.damage).all())
