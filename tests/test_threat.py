from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from values import changeable

from monai_smia.threat import ThreatModel, per_sample, seeded_generators


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return seeded_generators(list(range(seed, seed + count)), count)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestProject:
    def test_linf_by_hand(self) -> None:
        image = torch.tensor([[[0.5, 0.95, 0.05, 0.5]]], dtype=torch.float64)
        moved = image + torch.tensor([0.3, 0.3, -0.3, -0.05])
        expected = torch.tensor([[[0.6, 1.0, 0.0, 0.45]]], dtype=torch.float64)
        torch.testing.assert_close(ThreatModel(0.1).project(moved, image), expected)

    @pytest.mark.parametrize("length", [0.0, 0.3, 1.0, 7.0])
    def test_l2_keeps_the_direction_and_bounds_the_length(self, length: float) -> None:
        image = rand(2, 3, 4, 5)
        direction = torch.randn(image.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        direction /= direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        got = ThreatModel(1.0, "l2", clip=None).project(image + length * direction, image) - image
        torch.testing.assert_close(got, min(length, 1.0) * direction)

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_per_sample_radii(self, norm: str) -> None:
        image, radii = rand(3, 1, 4, 4), torch.tensor([0.0, 0.1, 0.5], dtype=torch.float64)
        threat = ThreatModel(radii, norm, clip=None).on(image)
        perturbation = (threat.project(image + 5.0, image) - image).flatten(1)
        order = 2 if norm == "l2" else float("inf")
        torch.testing.assert_close(torch.linalg.vector_norm(perturbation, order, 1), radii)

    @pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 4, 5), (4, 5), (2, 1, 4, 5), (1, 3, 1, 1), (3, 1, 1)])
    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_nothing_off_the_mask(self, shape: tuple[int, ...], norm: str) -> None:
        image, mask = rand(2, 3, 4, 5), rand(*shape, seed=3) > 0.5
        image[~mask.broadcast_to(image.shape)] = -7.0  # off the mask the range does not hold
        threat = ThreatModel(0.3, norm, mask=mask).on(image)
        moved = threat.project(image + 0.2, image)
        outside = ~mask.broadcast_to(image.shape)
        assert torch.equal(moved[outside], image[outside])
        assert bool((moved[~outside] != image[~outside]).any())

    def test_zero_perturbation_has_no_nan(self) -> None:
        image = rand(1, 1, 3, 3)
        assert torch.equal(ThreatModel(0.0, "l2").project(image, image), image)


class TestSteepest:
    def test_by_hand(self) -> None:
        gradient = torch.tensor([[[3.0, -4.0, 0.0]], [[0.0, 0.0, 0.0]]])
        assert ThreatModel(1.0).steepest(gradient).tolist() == [[[1, -1, 0]], [[0, 0, 0]]]
        torch.testing.assert_close(
            ThreatModel(1.0, "l2").steepest(gradient), torch.tensor([[[0.6, -0.8, 0.0]], [[0.0, 0.0, 0.0]]])
        )

    def test_l2_is_normalised_on_the_mask(self) -> None:
        threat = ThreatModel(1.0, "l2", mask=torch.tensor([True, False])).on(torch.zeros(1, 1, 2))
        assert threat.steepest(torch.tensor([[[2.0, 5.0]]])).tolist() == [[[1.0, 0.0]]]

    def test_no_gradient_is_too_small(self) -> None:
        tiny = torch.full((1, 1, 4), 1e-35)
        assert bool((ThreatModel(1.0).steepest(tiny) == 1).all())
        torch.testing.assert_close(ThreatModel(1.0, "l2").steepest(tiny), torch.full((1, 1, 4), 0.5))


class TestRandomStart:
    @pytest.mark.parametrize(("norm", "power"), [("linf", 1), ("l2", 3)])
    def test_uniform_in_the_ball(self, norm: str, power: int) -> None:
        """The largest coordinate (or the length) of a uniform point of an n-ball, to the n-th power, is uniform."""
        image = torch.zeros(4000, 1, 1, 3, dtype=torch.float64)
        noise = ThreatModel(2.0, norm, clip=None).random_start(image, generators(4000)).flatten(1) / 2
        radius = noise.norm(dim=1) ** 3 if norm == "l2" else noise.abs().amax(1) ** 3
        uniform = torch.linspace(0, 1, 4000, dtype=torch.float64)
        assert float((radius.sort().values - uniform).abs().max()) < 0.03  # Kolmogorov-Smirnov, p < 0.001 at 0.031
        assert float(noise.mean(0).abs().max()) < 0.03

    def test_stays_in_the_range(self) -> None:
        image = torch.tensor([0.0, 1.0]).repeat(2, 1, 50)
        start = ThreatModel(0.3).random_start(image, generators(2))
        assert 0 <= float(start.min()) < float(start.max()) <= 1

    def test_every_sample_has_its_own_generator(self) -> None:
        image, threat = rand(3, 1, 4, 4), ThreatModel(0.1)
        batch = threat.random_start(image, generators(3))
        alone = [threat.random_start(image[i : i + 1], generators(1, seed=i)) for i in range(3)]
        assert torch.equal(batch, torch.cat(alone))


class TestOn:
    def test_subset_takes_radii_and_masks(self) -> None:
        image, keep = rand(3, 1, 2, 2), torch.tensor([True, False, True])
        mask = torch.tensor([1, 1, 0]).view(3, 1, 1, 1)
        part = ThreatModel(torch.tensor([0.1, 0.2, 0.3]), mask=mask).on(image).subset(keep)
        torch.testing.assert_close(part.eps, torch.tensor([0.1, 0.3], dtype=torch.float64))
        assert part.mask.flatten(1).all(1).tolist() == [True, False]

    @pytest.mark.parametrize("excess", [-1e-6, 1e-6])
    def test_rounding_is_no_violation(self, excess: float) -> None:
        image = torch.tensor([[[0.0, 200.0, 100.0]]], dtype=torch.float64)
        image += excess * 200 * 0.99
        threat = ThreatModel(1.0, clip=(0.0, 200.0)).on(image)
        projected = threat.project(image, image)
        assert float(projected.min()) >= 0
        assert float(projected.max()) <= 200

    @pytest.mark.parametrize("excess", [-2e-6, 2e-6])
    def test_more_is_one(self, excess: float) -> None:
        image = torch.tensor([[[0.0, 200.0, 100.0]]], dtype=torch.float64) + excess * 200
        with pytest.raises(ValueError, match=r"clip=\[0, 200\]"):
            ThreatModel(1.0, clip=(0.0, 200.0)).on(image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eps": "a"}, "eps must be a number, .* got 'a'"),
        ({"eps": -0.1}, "eps must be .* got -0.1"),
        ({"eps": True}, "eps must be a number, .* got True"),
        ({"eps": torch.tensor([True, False])}, "eps must be a number, .* got tensor"),
        ({"eps": float("nan")}, "eps must be .* got nan"),
        ({"eps": float("inf")}, "eps must be .* got inf"),
        ({"eps": torch.tensor([0.1, -0.1])}, "eps must be"),
        ({"eps": torch.zeros(2, 2)}, "eps must be"),
        ({"eps": 0.1, "norm": "l1"}, "norm must be one of .* got 'l1'"),
        ({"eps": 0.1, "clip": (1.0, 0.0)}, r"clip must be .* got \(1.0, 0.0\)"),
        ({"eps": 0.1, "clip": (0.0, float("nan"))}, "clip must be"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThreatModel(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eps": torch.tensor([0.1, 0.2])}, "3 samples, got 2 radii"),
        ({"eps": 0.1, "mask": torch.ones(5, 5)}, r"mask must broadcast .*\(3, 1, 4, 4\), got \(5, 5\)"),
        ({"eps": 0.1, "mask": torch.ones(2, 3, 1, 4, 4)}, "mask must broadcast"),
        ({"eps": 0.1, "mask": torch.zeros(4, 4)}, "mask must allow at least one voxel"),
        ({"eps": 0.1, "mask": torch.full((4, 4), 255)}, r"mask must hold values in \[0, 1\], .* got 255"),
        ({"eps": 0.1, "mask": torch.full((4, 4), -1.0)}, "mask must hold values .* got -1"),
        ({"eps": 0.1, "mask": torch.full((4, 4), float("nan"))}, "mask must hold values .* got nan"),
        ({"eps": 0.1, "mask": "lung"}, "mask must be a tensor, or None, got 'lung'"),
        ({"eps": 0.1, "clip": (0.0, 0.5)}, r"image must lie in clip=\[0, 0.5\]"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThreatModel(**arguments).on(rand(3, 1, 4, 4))


def test_wrong_number_of_seeds() -> None:
    with pytest.raises(ValueError, match="3 samples, got 2 seeds"):
        seeded_generators([1, 2], 3)


def test_an_l2_ball_of_many_voxels() -> None:
    """In float32 the radius holds for millions of voxels too, where squares are many and equal."""
    image = torch.zeros(1, 1, 5_000_000)
    projected = ThreatModel(eps=1.0, norm="l2", clip=None).project(image + 0.03, image)
    assert float(projected.double().norm()) == pytest.approx(1.0, rel=1e-5)


def test_a_radius_that_is_a_tensor_stays_one() -> None:
    """Its gradient and its precision with it; one per sample is shaped for the image."""
    image = torch.zeros(2, 1, 3, 3, dtype=torch.float64)
    one, several = torch.tensor(0.1, dtype=torch.float64), torch.tensor([0.1, 0.2])
    assert per_sample(one, image) is one
    assert per_sample(several, image).shape == (2, 1, 1, 1)
    assert per_sample(several.view(2, 1, 1, 1), image).shape == (2, 1, 1, 1)
    assert per_sample(3, image) == 3.0
    assert isinstance(per_sample(3, image), float)


def test_a_threat_model_is_a_value() -> None:
    assert changeable("monai_smia.threat") == set()
