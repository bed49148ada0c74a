"""Attacks on linear networks, whose best perturbation is known, and arguments at their edges."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Lambda
from torch import Tensor, nn

from monai_smia.attacks import (
    APGD,
    DAG,
    FMN,
    PGD,
    Attack,
    CoarseToFine,
    DeepFool,
    NetworkSpaceAttack,
    Noise,
    SurvivalSMIA,
)
from monai_smia.attacks.dag import wrong_classes
from monai_smia.degradations import Identity
from monai_smia.victims import ClassificationVictim


class Signed(nn.Module):
    """Logits 0 and the sum of w times the image."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, image: Tensor) -> Tensor:
        score = (image * self.weight).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)


WEIGHT = torch.tensor([[[1.0, -2.0], [3.0, -0.5]]])
UP = WEIGHT.sign()


@pytest.mark.parametrize("factor", [0.1, -0.1, 5.0])
@pytest.mark.parametrize("clip", [None, (-9.0, 11.0)])
def test_in_network_space_a_linear_optimum_is_that_of_the_image(factor: float, clip: Any) -> None:
    """Whichever way the preprocessing scales: class 0 is left for a higher sum of what the network sees."""
    image = MetaTensor(torch.linspace(0, 10, 4).view(1, 1, 2, 2))
    victim = ClassificationVictim(Signed(WEIGHT), preprocessing=Compose([Lambda(lambda i: i * factor)]), loss="margin")
    result = NetworkSpaceAttack(PGD(eps=2.0, steps=4, clip=clip))(victim, image, torch.tensor([0]))
    expected = 2 * UP * (1 if factor > 0 else -1)
    if clip is not None:
        expected = (image.as_tensor() + expected).clamp(*clip) - image.as_tensor()
    torch.testing.assert_close(result.perturbation.as_tensor(), expected[None] if expected.ndim == 3 else expected)
    assert float(result.linf[-1]) == pytest.approx(float(expected.abs().max()))
    assert float(result.variance[-1]) == pytest.approx(float(expected.var(unbiased=False)))
    assert result.loss.tolist() == pytest.approx(
        victim.loss(victim.infer(result.adversarial), torch.tensor([0])).tolist()
    )
    assert result.clean_damage.tolist() == [float(factor * float((image.as_tensor() * WEIGHT).sum()) > 0)]


@pytest.mark.parametrize(
    ("schedule", "fits"),
    [
        (((1.0, 1.0),), True),
        (((2, 0.5), (1, 0.5)), True),
        (((1.0, 0.5), (1.0, 0.5 + 0.9e-6)), True),
        (((1.0, 0.5), (1.0, 0.5 + 1.2e-6)), False),
        (((1.0, 0.5), (1.0, 0.5 - 1.2e-6)), False),
        (((0.9, 0.5), (1.0, 0.5)), False),
        (((1.0, 0.5), (1.1, 0.5)), False),
        (((1.0, -0.1), (1.0, 1.1)), False),
        (((2.0, 0.0), (1.0, 1.0)), True),
        ((), False),
        ((1.0,), False),
    ],
)
def test_schedules(schedule: Any, fits: bool) -> None:
    if fits:
        assert len(APGD(eps=0.1, schedule=schedule).schedule) == len(schedule)
    else:
        with pytest.raises(ValueError, match="schedule must have radii >= 1 that end at 1"):
            APGD(eps=0.1, schedule=schedule)


@pytest.mark.parametrize(
    ("attack", "name", "good", "bad"),
    [
        (FMN, "success", (1e-9, 1.0), (0.0, 1.01)),
        (FMN, "gamma", (1e-9, 0.99), (0.0, 1.0)),
        (FMN, "steps", (1,), (0,)),
        (DeepFool, "overshoot", (0.0, 9.0), (-0.01, float("inf"))),
        (DeepFool, "candidates", (2,), (1,)),
        (DeepFool, "steps", (0,), (-1,)),
        (PGD, "step_size", (1e-9,), (0.0, float("inf"))),
        (PGD, "stop_at", (1e-9, 1.0), (0.0, 1.01)),
        (PGD, "steps", (0,), (-1,)),
        (PGD, "restarts", (1, 2), (0,)),
        (PGD, "autocast", (None, "bfloat16", "float16"), ("float32", "int8")),
        (PGD, "keep", ("best", "last"), ("first", "")),
    ],
)
def test_arguments_at_their_edges(attack: Any, name: str, good: tuple[Any, ...], bad: tuple[Any, ...]) -> None:
    for value in good:
        random = {"random_start": True} if name == "restarts" else {}
        assert getattr(attack(eps=0.1, **{name: value}, **random), name) == value
    for value in bad:
        with pytest.raises(ValueError, match=name):
            attack(eps=0.1, **{name: value})


def test_coarse_windows_at_their_edges() -> None:
    attacks: list[Attack] = [PGD(eps=0.1), PGD(eps=0.1)]
    for options in ({"overlap": 0.0}, {"overlap": 0.99}, {"roi_size": (1, 4)}):
        CoarseToFine(attacks, **options)  # type: ignore[arg-type]
    for name, value in (("overlap", -0.01), ("overlap", 1.0), ("roi_size", (0, 4)), ("roi_size", (1.5, 4))):
        with pytest.raises(ValueError, match=name):
            CoarseToFine(attacks, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two attacks or more, got 1"):
        CoarseToFine(attacks[:1])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_deepfool_goes_just_beyond_the_boundary(norm: str) -> None:
    """Of a linear classifier: the distance by the dual norm of the weights, and the overshoot, in one step."""
    image = torch.full((1, 1, 2, 2), 1.0)
    victim = ClassificationVictim(Signed(WEIGHT))
    score, dual = float(WEIGHT.sum()), float(WEIGHT.abs().sum() if norm == "linf" else WEIGHT.square().sum().sqrt())
    result = DeepFool(norm=norm, overshoot=0.1, clip=None)(victim, image, torch.tensor([1]))
    size = result.perturbation.abs().max() if norm == "linf" else result.perturbation.norm()
    assert float(size) == pytest.approx(1.1 * score / dual, rel=1e-5)
    assert (result.damage.tolist(), result.gradients.tolist()) == ([1.0], [1])
    near = DeepFool(norm=norm, eps=0.5 * score / dual, clip=None, steps=3)(victim, image, torch.tensor([1]))
    assert near.damage.tolist() == [0.0]
    assert near.gradients.tolist() == [3]


def test_noise_has_the_size_of_its_radius() -> None:
    victim, image = ClassificationVictim(Signed(WEIGHT)), torch.full((1, 1, 2, 2), 0.5)
    for norm, size in (("linf", torch.inf), ("l2", 2)):
        found = Noise(eps=0.3, norm=norm)(victim, image, torch.tensor([0]))
        assert float(torch.linalg.vector_norm(found.perturbation, size)) == pytest.approx(0.3)
        assert (found.gradients.tolist(), Noise(eps=0.3).planned_gradients) == ([0], 0)


@pytest.mark.parametrize(
    ("truth", "classes", "background", "allowed"),
    [
        ([0, 0, 1], 3, None, {0: {2}, 1: {2}}),
        ([0, 1, 2], 3, None, {0: {1, 2}, 1: {0, 2}, 2: {0, 1}}),
        ([0, -1], 2, 1, {0: {1}}),
        ([0, 1], 4, 3, {0: {2}, 1: {2}}),
        ([0, 1], 3, 2, {0: {1}, 1: {0}}),
        ([0], 1, None, {0: {0}}),
    ],
)
def test_wrong_classes_are_such_as_the_image_does_not_hold(
    truth: list[int], classes: int, background: int | None, allowed: dict[int, set[int]]
) -> None:
    seen: dict[int, set[int]] = {true: set() for true in allowed}
    for draw in range(30):
        found = wrong_classes(torch.tensor(truth), classes, draw, background).tolist()
        for true, wrong in zip(truth, found, strict=True):
            if true < 0:
                assert wrong == -1
            else:
                seen[true].add(wrong)
        assert len({(t, w) for t, w in zip(truth, found, strict=True)}) == len(set(truth))  # one for each class
    assert seen == allowed


def test_the_last_image_of_a_survival_attack_is_shown_as_it_is() -> None:
    for steps in (1, 3, 6, 8):
        attack = SurvivalSMIA(eps=0.1, steps=steps)
        shown = [attack.degradation_of(step) for step in range(steps + 1)]
        assert shown == [*(attack.cycle[step % 6] for step in range(steps)), Identity()]


def test_steps_of_dag_by_default() -> None:
    attack = DAG()
    assert attack.default_step_size(None) == 0.5 / 255
    assert attack.default_step_size(0.2) == 2.0
    assert (attack.steps, attack.eps) == (150, None)
