"""Predicted numbers and landmarks: errors by hand, gradients that are exact, and a way out of the clean image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bundles.landmarks import Landmarks, spots
from torch import Tensor, nn

from monai_smia.attacks import FGSM, PGD, SMIA, Noise, ShiftAttack
from monai_smia.evaluation.blackbox_plan import blackbox_plan
from monai_smia.evaluation.presets import preset_plan, standard_attack
from monai_smia.metrics import RegressionMetrics
from monai_smia.shifts import RigidMotion
from monai_smia.victims import RegressionVictim

NAN = float("nan")


def victim(axis: int | None = 1, within: float = 1.0, **options: Any) -> RegressionVictim:
    return RegressionVictim(Landmarks().double(), within=within, point_axis=axis, **options)


def batch() -> tuple[Tensor, Tensor]:
    pairs = [spots(seed, shift=seed) for seed in range(2)]
    image = torch.stack([torch.from_numpy(image).double()[None] / 255 for image, _ in pairs])
    return image, torch.stack([torch.from_numpy(label) for _, label in pairs])


@pytest.mark.parametrize(
    ("axis", "errors", "damage", "mean"), [(1, [5.0, 1.0], 0.5, 3.0), (None, [3.0, 1.0, 4.0, 0.0], 0.5, 2.0)]
)
def test_errors_by_hand(axis: int | None, errors: list[float], damage: float, mean: float) -> None:
    found, truth = torch.tensor([[[3.0, 1.0], [4.0, 0.0]]]), torch.zeros(1, 2, 2)
    judge = RegressionVictim(nn.Identity(), within=1.0, point_axis=axis)
    assert judge.errors(found, truth)[0].flatten().tolist() == errors
    assert judge.damage(found, truth).tolist() == [damage]
    assert judge.loss(found, truth).tolist() == [mean]
    values = RegressionMetrics().case(judge, found, truth, torch.zeros(1, 1, 4, 4))
    assert values == {"share_right": 1 - damage, "error_mean": mean, "error_max": max(errors)}


def test_what_is_not_known_does_not_count() -> None:
    """A point is known where both of its coordinates are."""
    found, truth = torch.tensor([[[3.0, 1.0], [4.0, 0.0]]]), torch.tensor([[[0.0, NAN], [0.0, 0.0]]])
    judge = RegressionVictim(nn.Identity(), within=1.0, point_axis=1)
    assert (judge.damage(found, truth).tolist(), judge.loss(found, truth).tolist()) == ([1.0], [5.0])
    found.requires_grad_(True)
    judge.loss(found, truth).sum().backward()
    assert found.grad is not None
    assert found.grad[0, :, 1].tolist() == [0, 0]
    assert found.grad[0, :, 0].tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("loss", ["mean_error", "squared_error", "soft_beyond"])
def test_gradients_are_autograds_of_the_plain_formula(loss: str) -> None:
    image, label = batch()
    image.requires_grad_(True)
    model = victim(loss=loss, within=2.0)
    ours = torch.autograd.grad(model.loss(model.predict(image), label).sum(), image)[0]
    distance = (model.network(image) - label).norm(dim=1)
    plain = {"mean_error": distance, "squared_error": distance**2, "soft_beyond": distance / (distance + 2)}[loss]
    theirs = torch.autograd.grad(plain.mean(1).sum(), image)[0]
    assert float((ours - theirs).abs().max()) <= 1e-12 * float(theirs.abs().max())


@pytest.mark.parametrize("axis", [1, None])
def test_an_attack_leaves_the_clean_image_where_its_own_prediction_is_the_reference(axis: int | None) -> None:
    """The plain distance has no gradient there, and a signed step of nothing is nothing."""
    image, _ = batch()
    model = victim(axis)
    own = model.decide(model.predict(image))
    for attack in (FGSM(eps=0.05), SMIA(eps=0.05, steps=3)):
        assert bool((attack(model, image, own).loss > 0.05).all())


def test_more_than_noise_does() -> None:
    image, label = batch()
    noise, pgd = (attack(victim(within=0.8), image, label) for attack in (Noise(eps=0.08), PGD(eps=0.08, steps=10)))
    assert bool((pgd.loss > 1.9 * noise.loss).all())
    assert bool((pgd.damage > noise.damage).all())


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (torch.zeros(2, 2), r"label must hold numbers of the shape \(2, 2, 3\), got \(2, 2\)"),
        (torch.full((2, 2, 3), NAN), "label must hold a number that is known for every sample, got NaN throughout"),
        (torch.full((2, 2, 3), torch.inf), "got infinite ones"),
    ],
)
def test_a_label_that_does_not_fit_is_refused(label: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FGSM(eps=0.1)(victim(), batch()[0], label.double())


@pytest.mark.parametrize("number", [NAN, torch.inf])
def test_what_was_predicted_is_no_number(number: float) -> None:
    """It was right, with an error of 0."""
    judge, found = RegressionVictim(nn.Identity(), within=1.0), torch.tensor([[0.0, number]])
    for ask in (judge.damage, judge.errors, lambda *both: RegressionMetrics().case(judge, *both, found)):
        with pytest.raises(ValueError, match="prediction is NaN or infinite"):
            ask(found, torch.zeros(1, 2))


def test_one_number_an_image_without_an_axis_of_its_own() -> None:
    judge, found, label = RegressionVictim(nn.Flatten(0), within=1.0), torch.tensor([3.0, 0.5]), torch.tensor([0.0, 0])
    assert (judge.damage(found, label).tolist(), judge.loss(found, label).tolist()) == ([1, 0], [3, 0.5])


def test_half_precision_does_not_round_the_label() -> None:
    found, label = torch.tensor([[1000.5]]).half(), torch.tensor([[1000.3]])
    assert float(RegressionVictim(nn.Identity(), within=0.1).errors(found, label)[0]) == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("within", [0, -1.0, torch.inf, True, None, "2"])
def test_within_must_be_said(within: Any) -> None:
    with pytest.raises(ValueError, match="within must be a number > 0, the error up to which a"):
        RegressionVictim(nn.Identity(), within=within)


@pytest.mark.parametrize("axis", [0, 1.0, True, "1"])
def test_no_axis(axis: Any) -> None:
    with pytest.raises(ValueError, match="point_axis must be a whole number other than 0"):
        RegressionVictim(nn.Identity(), within=1.0, point_axis=axis)


def test_an_axis_that_the_prediction_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"point_axis must be an axis behind the first of .* \(2, 2, 3\), got 3"):
        victim(axis=3).predict(batch()[0])


def test_a_shift_that_moves_anatomy_moves_no_points() -> None:
    with pytest.raises(ValueError, match="RigidMotion moves anatomy, and no points with it"):
        ShiftAttack(RigidMotion(lengths="%"))(victim(), *batch())


def test_what_the_presets_run() -> None:
    image, label = batch()
    strong = standard_attack("regression", eps=0.08, steps=8)
    assert [attack.loss for attack in strong.attacks] == ["soft_beyond", "mean_error", "soft_beyond"]
    assert bool((strong(victim(), image, label).damage > 0.5).all())
    names = [(row.name, row.attack and row.attack.loss) for row in blackbox_plan("regression", 0.1)]
    assert names[2:] == [("Square", "soft_beyond")]
    for preset in ("quick", "radius", "frequency", "shifts", "paper"):
        assert len(preset_plan(preset, "regression", 0.1)) > 2
