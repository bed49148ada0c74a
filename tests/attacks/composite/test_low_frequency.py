"""Smooth perturbations: bases against scipy, the optimum on a linear model, and what smoothing leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import assert_untouched, case, linear_victim, snapshot
from monai.transforms import Compose, ScaleIntensityRange
from scipy.fft import dctn, idctn
from scipy.interpolate import BSpline

from monai_smia.attacks import APGD, BIM, PGD, VAFA, LowFrequency, Square, Transfer
from monai_smia.attacks.composite.low_frequency import BASES, band_matrix, spline_matrix
from monai_smia.degradations import Smooth
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.degradation import degraded

DOUBLE = torch.ones((), dtype=torch.float64)


@pytest.mark.parametrize(("size", "spacing"), [(1, 4.0), (16, 4.0), (17, 5.0), (9, 1.0), (6, 100.0)])
def test_splines_are_those_of_scipy_and_add_up_to_one(size: int, spacing: float) -> None:
    matrix = spline_matrix(size, spacing, DOUBLE).numpy()
    cells = max(-(-size // int(spacing)), 1)
    knots = np.arange(-3.0, cells + 4)
    place = (np.arange(size) + 0.5) / size * cells
    expected = np.stack([BSpline(knots, np.eye(cells + 3)[n], 3)(place) for n in range(cells + 3)], 1)
    assert matrix == pytest.approx(expected, abs=1e-12)
    assert matrix.min() >= 0
    assert matrix.sum(1) == pytest.approx(np.ones(size))


@pytest.mark.parametrize(("size", "spacing"), [(1, 4.0), (16, 4.0), (17, 5.0), (8, 1.0)])
def test_the_band_is_the_lowest_frequencies_of_scipy(size: int, spacing: float) -> None:
    matrix = band_matrix(size, spacing, DOUBLE).numpy()
    kept = matrix.shape[1]
    values = np.random.default_rng(0).normal(size=kept)
    spectrum = np.zeros(size)
    spectrum[:kept] = dctn(values, norm="ortho") * np.sqrt(size / kept)
    assert matrix @ values == pytest.approx(idctn(spectrum, norm="ortho"), abs=1e-12)
    assert matrix @ np.ones(kept) == pytest.approx(np.ones(size))
    if spacing == 1:
        assert matrix == pytest.approx(np.eye(size), abs=1e-12)


@pytest.mark.parametrize("shape", [(24, 16), (12, 8, 10)])
def test_on_a_linear_model_one_step_is_the_optimum_of_the_spline_ball(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, *shape, dtype=torch.float64)
    weight = torch.randn(1, 1, *shape, dtype=torch.float64)
    attack = LowFrequency(BIM(eps=0.1, steps=1, step_size=0.1, clip=None), spacing=4)
    result = attack(linear_victim(weight), image, torch.tensor([0]))
    projected = weight[0, 0].numpy()
    for axis, n in enumerate(shape):
        projected = np.moveaxis(np.tensordot(projected, spline_matrix(n, 4, DOUBLE).numpy(), (axis, 0)), -1, axis)
    gained = float((weight * result.perturbation).sum())
    assert gained == pytest.approx(0.1 * np.abs(projected).sum(), rel=1e-9)


INNER: dict[str, Any] = {
    "pgd": lambda **o: PGD(eps=0.2, steps=4, **o),
    "apgd": lambda **o: APGD(eps=0.2, steps=6, **o),
    "square": lambda **o: Square(eps=0.2, queries=9, **o),
}


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize(("task", "dims"), [("classification", 2), ("segmentation", 2), ("segmentation", 3)])
@pytest.mark.parametrize("inner", INNER)
def test_the_perturbation_is_smooth_and_in_the_ball(basis: str, task: str, dims: int, inner: str) -> None:
    c = case(task, dims, dtype=torch.float64)
    before, kept = snapshot(c.victim.network), c.image.clone()
    attack = LowFrequency(INNER[inner](), basis=basis, spacing=4)
    result = attack(c.victim, c.image, c.label)
    assert_untouched(c.victim.network, before)
    assert torch.equal(c.image, kept)
    assert bool((result.perturbation.abs() <= 0.2 + 1e-12).all())
    assert torch.equal(result.damage, c.victim.damage(c.victim.predict(result.adversarial), c.label).to(result.damage))
    alone = [attack(c.victim, c.image[n : n + 1], c.label[n : n + 1]).adversarial for n in range(len(c.image))]
    assert torch.equal(torch.cat(alone), result.adversarial)
    wide = LowFrequency(INNER[inner](clip=None), basis=basis, spacing=4)  # with a range, that cuts it
    perturbation = wide(c.victim, c.image, c.label).perturbation
    matrix = (spline_matrix if basis == "spline" else band_matrix)(8, 4, perturbation)
    onto = matrix @ torch.linalg.pinv(matrix)
    for axis in range(2, 2 + dims):
        again = torch.movedim(torch.movedim(perturbation, axis, -1) @ onto.T, -1, axis)
        assert torch.allclose(again, perturbation, atol=1e-10)


def test_with_as_many_frequencies_as_voxels_it_is_the_attack_itself() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    inner = BIM(eps=0.1, steps=3, clip=None)
    found = LowFrequency(inner, basis="dct", spacing=1)(c.victim, c.image, c.label)
    assert torch.allclose(found.adversarial, inner(c.victim, c.image, c.label).adversarial, atol=1e-12)


def test_smoothing_leaves_more_of_it() -> None:
    torch.manual_seed(0)
    image, victim = torch.rand(1, 1, 32, 32), linear_victim(torch.randn(1, 1, 32, 32))
    smooth, shares = Smooth(1.0), []
    for attack in (BIM(eps=0.05, steps=6), LowFrequency(BIM(eps=0.05, steps=6), spacing=8)):
        eta = attack(victim, image, torch.tensor([0])).perturbation
        shares.append(float(smooth(eta).norm() / eta.norm()))
    assert shares[0] < 0.4
    assert shares[1] > 0.95


def test_behind_a_degradation_a_preprocessing_and_a_mask() -> None:
    c = case("segmentation", 2)
    scaled = ScaleIntensityRange(0, 100, 0, 1)
    victim = SegmentationVictim(c.victim.network, preprocessing=Compose([scaled]))
    attack = LowFrequency(PGD(eps=20.0, steps=3, clip=(0.0, 100.0)), spacing=4)
    found = attack(victim, c.image * 100, c.label)
    plain = LowFrequency(PGD(eps=0.2, steps=3), spacing=4)(c.victim, c.image, c.label)
    assert torch.allclose(found.adversarial / 100, plain.adversarial, atol=1e-4)
    behind = degraded(c.victim, Smooth(1.0))
    result = LowFrequency(PGD(eps=0.2, steps=3), spacing=4)(behind, c.image, c.label)
    again = behind.damage(behind.predict(result.adversarial), c.label)
    assert torch.equal(result.damage, again)
    mask = torch.zeros(8, 8)
    mask[:, :4] = 1
    result = LowFrequency(PGD(eps=0.2, steps=3), spacing=4)(c.victim, c.image, c.label, mask=mask)
    assert not bool(result.perturbation[..., 4:].any())
    assert bool(result.perturbation[..., :4].any())


def test_as_a_transfer_and_by_name() -> None:
    c, other = case("segmentation", 2), case("segmentation", 2, seed=1)
    attack = LowFrequency(PGD(eps=0.1, steps=2), basis="dct")
    assert attack.name == "LowFrequency(PGD, dct)"
    assert (attack.eps, attack.planned_gradients) == (0.1, 2)
    found = Transfer(attack, surrogate=other.victim)(c.victim, c.image, c.label)
    assert torch.equal(found.adversarial, attack(other.victim, c.image, c.label).adversarial)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"basis": "fourier"}, "basis must be one of"),
        ({"spacing": 0.5}, "spacing must be a finite number of voxels >= 1"),
        ({"spacing": float("inf")}, "spacing must be"),
        ({"attack": BIM(eps=1.0, norm="l2")}, "attack must have norm='linf'"),
        ({"attack": LowFrequency(PGD(eps=0.1))}, "attack must be made of no other attacks"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        LowFrequency(**{"attack": VAFA(eps=0.1), **arguments})
