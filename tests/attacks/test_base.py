"""What an attack refuses, and what it says about it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ATTACKS, Case, case
from monai.data import MetaTensor
from torch import Tensor, nn

from monai_smia.attacks import BIM, FGSM, MIFGSM, PGD, SMIA, Noise
from monai_smia.victims import ClassificationVictim, SegmentationVictim

NAN = float("nan")


@pytest.mark.parametrize(
    ("attack", "arguments", "message"),
    [
        (BIM, {"eps": -0.1}, "eps must be .* got -0.1"),
        (BIM, {"eps": NAN}, "eps must be .* got nan"),
        (BIM, {"norm": "l1"}, "norm must be one of .* got 'l1'"),
        (BIM, {"clip": (1.0, 1.0)}, "clip must be"),
        (BIM, {"keep": "first"}, "keep must be one of .* got 'first'"),
        (PGD, {"seed": -1}, "seed must be a whole number >= 0.* got -1"),
        (PGD, {"seed": 0.5}, "seed must be a whole number >= 0.* got 0.5"),
        (BIM, {"steps": -1}, "steps must be .* got -1"),
        (BIM, {"steps": 2.5}, "steps must be .* got 2.5"),
        (BIM, {"step_size": 0.0}, "step_size must be .* got 0.0"),
        (BIM, {"step_size": NAN}, "step_size must be .* got nan"),
        (BIM, {"restarts": 0}, "restarts must be .* got 0"),
        (BIM, {"restarts": 2}, "restarts=2 needs random_start=True"),
        (PGD, {"restarts": 2, "keep": "last"}, "restarts=2 needs .* keep='best'"),
        (BIM, {"stop_at": 0.0}, r"stop_at must lie in \(0, 1\].* got 0.0"),
        (BIM, {"stop_at": 1.1}, r"stop_at must lie in \(0, 1\].* got 1.1"),
        (FGSM, {"steps": 2}, "steps must be 1 for FGSM"),
        (Noise, {"steps": 2}, "steps must be 0 for Noise"),
        (MIFGSM, {"decay": -1.0}, "decay must be .* got -1.0"),
        (SMIA, {"alpha": -1.0}, "alpha must be .* got -1.0"),
        (SMIA, {"alpha": NAN}, "alpha must be .* got nan"),
        (SMIA, {"kernel_size": 4}, "kernel_size must be .* got 4"),
        (SMIA, {"kernel_size": -1}, "kernel_size must be .* got -1"),
        (SMIA, {"sigma": 0.0}, "sigma must be .* got 0.0"),
        (SMIA, {"target": "firm"}, "target must be one of .* got 'firm'"),
        (SMIA, {"offset": "half"}, "offset must be one of .* got 'half'"),
    ],
)
def test_bad_constructor_arguments(attack: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack(**{"eps": 0.1, **arguments})


@pytest.mark.parametrize("name", ATTACKS)
def test_constructor_arguments_are_public_attributes(name: str) -> None:
    options = {"clip": (-1.0, 2.0), "targeted": True, "loss": "margin", "seed": 7, "progress": False}
    attack = ATTACKS[name](**options)
    assert {key: getattr(attack, key) for key in options} == options


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(TypeError):
        BIM(0.1)  # type: ignore[misc]


def broken_image(c: Case, value: float) -> Tensor:
    image = c.image.clone()
    image[1, 0, 0, 0] = value
    return image


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (lambda c: broken_image(c, NAN), "image must be finite, got 1 NaN"),
        (lambda c: broken_image(c, float("inf")), "image must be finite"),
        (lambda c: (c.image * 255).to(torch.uint8), "image must be floating point of 32 or 64 bits.* got torch.uint8"),
        (lambda c: c.image.numpy(), "image must be a non-empty tensor .* got ndarray"),
        (lambda c: c.image[:0], "image must be a non-empty tensor"),
        (lambda c: c.image[0, 0], "image must be a non-empty tensor"),
        (lambda c: broken_image(c, 1.1), r"image must lie in clip=\[0, 1\] .* to 1.1"),
        (lambda c: broken_image(c, -0.1), r"image must lie in clip=\[0, 1\] .* from -0.1"),
    ],
)
def test_bad_image(image: Any, message: str) -> None:
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match=message):
        BIM(eps=0.1)(c.victim, image(c), c.label)


def test_values_off_the_mask_may_leave_the_range() -> None:
    c = case("segmentation", 2)
    image, mask = broken_image(c, 5.0), torch.ones_like(c.image)
    mask[1, 0, 0, 0] = 0
    assert float(BIM(eps=0.1)(c.victim, image, c.label, mask=mask).adversarial[1, 0, 0, 0]) == 5.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": -0.1}, "eps must be"),
        ({"eps": NAN}, "eps must be"),
        ({"eps": torch.tensor([0.1, 0.2])}, "3 samples, got 2 radii"),
        ({"mask": torch.ones(5, 5)}, "mask must broadcast"),
        ({"mask": torch.zeros(8, 8)}, "mask must allow at least one voxel"),
        ({"seed": [1, 2, -3]}, "seed must be a whole number >= 0"),
        ({"seed": [1, 2]}, "3 samples, got 2 seeds"),
    ],
)
def test_bad_call_arguments(options: dict[str, Any], message: str) -> None:
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match=message):
        BIM(eps=0.1)(c.victim, c.image, c.label, **options)


@pytest.mark.parametrize("seed", [3, np.int64(3), [3, 3, 3], np.array([3, 3, 3]), torch.tensor([3, 3, 3])])
def test_seeds_of_every_integer_type(seed: Any) -> None:
    c = case("classification", 2)
    expected = PGD(eps=0.1, seed=3)(c.victim, c.image, c.label)
    assert torch.equal(PGD(eps=0.1)(c.victim, c.image, c.label, seed=seed).adversarial, expected.adversarial)


def fill(c: Case, value: float, **to: Any) -> Tensor:
    label = c.label.clone().to(**to)
    label[..., :1] = value
    return label


@pytest.mark.parametrize(
    ("task", "label", "message"),
    [
        ("segmentation", lambda c: c.label[:, 0, 0], r"label must hold classes of shape \(3, 8, 8\)"),
        ("segmentation", lambda c: c.label[..., :4], r"got \(3, 8, 4\)"),
        ("segmentation", lambda c: c.label[:2], r"got \(2, 8, 8\)"),
        ("segmentation", lambda c: fill(c, 3), "label must hold whole numbers from 0 to 2, got values from 1 to 3"),
        ("segmentation", lambda c: fill(c, -1), "got values from -1"),
        ("segmentation", lambda c: fill(c, 0.5, dtype=torch.float32), "label must hold whole numbers"),
        ("segmentation", lambda c: fill(c, NAN, dtype=torch.float32), "label must hold whole numbers"),
        ("segmentation", lambda c: c.label * 0, r"label must hold foreground, samples \[0, 1, 2\] hold none"),
        ("segmentation", lambda c: c.label.numpy(), "label must be a tensor, got ndarray"),
        ("classification", lambda c: c.label[:0], "label must not be empty"),
        ("classification", lambda c: c.label[:, None], r"label must hold classes of shape \(3,\)"),
        ("classification", lambda c: c.label + 3, "label must hold whole numbers from 0 to 2"),
    ],
)
def test_bad_label(task: str, label: Any, message: str) -> None:
    c = case(task, 2)
    with pytest.raises(ValueError, match=message):
        BIM(eps=0.1)(c.victim, c.image, label(c))


def test_empty_label_on_request() -> None:
    c = case("segmentation", 2, allow_empty=True)
    result = BIM(eps=0.1)(c.victim, c.image, c.label * 0)
    assert result.loss_history[-1].gt(result.loss_history[0]).all()


class Sick(nn.Module):
    """A network whose every prediction for some sample is NaN."""

    def forward(self, image: Tensor) -> Tensor:
        logits = image.mean((2, 3)).repeat(1, 2)[:, :3]
        return torch.where(torch.arange(len(image))[:, None] == 1, NAN, logits)


def logits_of(function: Any) -> ClassificationVictim:
    network = nn.Module()
    network.forward = function  # type: ignore[method-assign]
    return ClassificationVictim(network)


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        (ClassificationVictim(Sick()), r"prediction is NaN or infinite for samples \[1\]: 3 of 9 values"),
        (logits_of(lambda x: torch.ones(len(x), 3)), "does not depend on the image"),
        (logits_of(lambda x: torch.ones(len(x), 3, requires_grad=True)), "does not depend on the image"),
        (logits_of(lambda x: x.mean((2, 3))[:, :1]), "needs two channels or more, got 1; use activation='sigmoid'"),
        (logits_of(lambda x: [x]), "must return one tensor of logits, got list"),
        (case("classification", 2, loss=lambda p, y: p.sum()).victim, r"one value per sample, shape \(3,\), got \(\)"),
        (case("classification", 2, loss=lambda p, y: p).victim, r"one value per sample, shape \(3,\), got \(3, 3\)"),
        (case("classification", 2, loss=lambda p, y: 1.0).victim, "one value per sample, .* got float"),
    ],
)
def test_bad_prediction_or_loss(victim: ClassificationVictim, message: str) -> None:
    c = case("classification", 2)
    with pytest.raises(ValueError, match=message):
        BIM(eps=0.1)(victim, c.image, c.label)


@pytest.mark.parametrize("network", [lambda x: x, torch.nn.functional.relu, None])
def test_a_function_is_no_network(network: Any) -> None:
    """Its weights could not be held still."""
    with pytest.raises(ValueError, match=r"network must be a torch\.nn\.Module whose forward does what is wanted, got"):
        ClassificationVictim(network)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_target_that_is_reached_already_is_said(task: str, caplog: pytest.LogCaptureFixture) -> None:
    c = case(task, 2, **({"allow_empty": True} if task == "segmentation" else {}))
    decided = c.victim.decide(c.victim.predict(c.image)).long()
    BIM(eps=0.1, steps=1, targeted=True)(c.victim, c.image, decided)
    assert "is what the clean image decides on already, in samples [0, 1, 2]" in caplog.text
    caplog.clear()
    BIM(eps=0.1, steps=1)(c.victim, c.image, decided)
    assert not caplog.text


def test_an_image_without_its_batch_is_named() -> None:
    victim = SegmentationVictim(nn.Conv2d(1, 2, 3, padding=1))
    with pytest.raises(ValueError, match=r"of an image \(1, 8, 8\), which must be a batch \(B, C, \*spatial\)"):
        BIM(eps=0.1)(victim, torch.rand(1, 8, 8), torch.ones(1, 8, 8).long())


def test_a_zero_gradient_warns() -> None:
    """Saturated: the loss of a very sure prediction is exactly zero in float32, and so is its gradient."""
    c = case("classification", 2)
    linear: Tensor = c.victim.network[-1].weight.data  # type: ignore[index, union-attr, assignment]
    linear *= 1e6
    c.label = c.victim.decide(c.victim.predict(c.image))
    with pytest.warns(RuntimeWarning, match=r"gradient .* exactly zero for samples \[0, 1, 2\]"):
        result = BIM(eps=0.1)(c.victim, c.image, c.label)
    assert torch.equal(result.adversarial, c.image)


def test_a_healthy_gradient_does_not_warn() -> None:
    c = case("classification", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BIM(eps=0.1)(c.victim, c.image, c.label)


def affine(spacing: float) -> Tensor:
    return torch.diag(torch.tensor([spacing, spacing, 2.0, 1.0], dtype=torch.float64))


def test_a_label_of_another_spacing() -> None:
    c = case("segmentation", 3)
    image, label = MetaTensor(c.image, affine=affine(1.0)), MetaTensor(c.label, affine=affine(1.5))
    with pytest.raises(ValueError, match=r"label must lie on the image's grid.*1\.0.*1\.5"):
        BIM(eps=0.1)(c.victim, image, label)


def test_a_later_label_of_another_spacing() -> None:
    c = case("segmentation", 3)
    image, label = MetaTensor(c.image, affine=affine(1.0)), MetaTensor(c.label)
    label.affine = torch.stack([affine(1.0), affine(1.0), affine(1.5)])
    with pytest.raises(ValueError, match="label must lie on the image's grid"):
        BIM(eps=0.1)(c.victim, image, label)


@pytest.mark.parametrize("name", ATTACKS)
def test_metadata_in_metadata_out(name: str) -> None:
    c = case("segmentation", 3)
    image = MetaTensor(c.image, affine=affine(0.7), meta={"filename_or_obj": "case.nii"})
    label = MetaTensor(c.label, affine=affine(0.7))
    result, plain = ATTACKS[name]()(c.victim, image, label), ATTACKS[name]()(c.victim, c.image, c.label)
    for field in ("adversarial", "perturbation"):
        got = getattr(result, field)
        assert isinstance(got, MetaTensor)
        assert torch.equal(got.affine, affine(0.7))
        assert got.meta["filename_or_obj"] == "case.nii"
        assert torch.equal(got.as_tensor(), getattr(plain, field))
    assert not isinstance(plain.adversarial, MetaTensor)


def test_another_loss_for_one_attack() -> None:
    c = case("segmentation", 2)
    strong = PGD(eps=0.05, loss="soft_jaccard")(c.victim, c.image, c.label)
    own = PGD(eps=0.05)(SegmentationVictim(c.victim.network, loss="soft_jaccard"), c.image, c.label)
    assert torch.equal(strong.adversarial, own.adversarial)
    with pytest.raises(ValueError, match=r"loss must be one of .* got 'hinge'"):
        PGD(eps=0.05, loss="hinge")(c.victim, c.image, c.label)


@pytest.mark.parametrize("count", [1, 3])
def test_one_attack_serves_many_calls(count: int) -> None:
    """No state is left behind in the attack or the victim."""
    c, attack = case("segmentation", 2), MIFGSM(eps=0.05)
    before = dict(vars(attack)), dict(vars(c.victim))
    first = attack(c.victim, c.image[:count], c.label[:count])
    attack(c.victim, 1 - c.image, c.label)
    assert (dict(vars(attack)), dict(vars(c.victim))) == before
    assert torch.equal(attack(c.victim, c.image[:count], c.label[:count]).adversarial, first.adversarial)
