"""Searches over a shift's parameters: on victims whose worst parameters are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import case, snapshot
from monai.data import MetaTensor
from monai.transforms import Compose, ScaleIntensityRange
from torch import Tensor, nn

from monai_smia.attacks import ShiftAttack, TryAll
from monai_smia.shifts import (
    Contrast,
    Flip,
    Gamma,
    HUOffset,
    Jpeg,
    NoiseLevel,
    RigidMotion,
    Shift,
    ShiftChain,
    SmoothDeformation,
    Zoom,
)
from monai_smia.victims import ClassificationVictim, SegmentationVictim

SHIFTS: dict[str, Shift] = {
    "contrast": Contrast(severity=3),
    "rigid": RigidMotion(severity=5, lengths="%"),
    "chain": ShiftChain(shifts=(Gamma(), NoiseLevel())),
}


class Threshold(nn.Module):
    """Decides a voxel as foreground where it is above a level: an offset moves the border as everybody can reckon."""

    def __init__(self, level: float = -500.0) -> None:
        super().__init__()
        self.level = level

    def forward(self, image: Tensor) -> Tensor:
        score = (image - self.level) / 100
        return torch.cat([-score, score], 1)


def ramp() -> tuple[Tensor, Tensor]:
    """Whole numbers from -600 to -401, and what the threshold makes of them."""
    image = (torch.arange(200.0) - 600).view(1, 1, 20, 10)
    return image, (image > -500).long()


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize(("task", "dims"), [("classification", 2), ("segmentation", 2), ("segmentation", 3)])
@pytest.mark.parametrize("options", [{}, {"optimizer": "adam"}, {"method": "random"}, {"eps": 0.05}], ids=str)
def test_never_less_bad_than_the_worst_draw(name: str, task: str, dims: int, options: dict[str, Any]) -> None:
    c = case(task, dims, batch=2)
    before, image = snapshot(c.victim.network), c.image.clone()
    attack = ShiftAttack(SHIFTS[name], draws=6, steps=3, progress=False, **options)
    result = attack(c.victim, c.image, c.label, seed=[3, 4])
    assert result.tried.shape[:2] == (6, 2)
    assert bool((result.damage >= result.tried_damage.max(0).values).all())
    assert bool((result.damage >= result.clean_damage).all())
    assert bool((result.gradients <= len(result.tried)).all())
    assert (int(result.gradients[0]) > 0) == (options.get("method") != "random")
    low, high = (end.to(result.values) for end in SHIFTS[name].box(dims))
    assert bool(((result.values >= low - 1e-6) & (result.values <= high + 1e-6)).all())
    assert bool(((result.adversarial >= 0) & (result.adversarial <= 1)).all())
    assert torch.equal(c.image, image)
    after = snapshot(c.victim.network)
    assert str(after) == str(before)


@pytest.mark.parametrize("name", SHIFTS)
def test_what_is_returned_is_the_image_at_the_values_that_are_told(name: str) -> None:
    c = case("segmentation", 2, batch=2)
    shift = SHIFTS[name]
    result = ShiftAttack(shift, draws=4, steps=2, progress=False)(c.victim, c.image, c.label)
    torch.testing.assert_close(result.adversarial, shift(c.image, result.values).clamp(0, 1), atol=1e-6, rtol=0)
    damage = c.victim.damage(c.victim.infer(result.adversarial), result.label)
    torch.testing.assert_close(damage.to(result.damage), result.damage, atol=1e-5, rtol=0)


def test_a_batch_is_attacked_as_its_samples_one_by_one() -> None:
    c = case("segmentation", 2, batch=2, dtype=torch.float64)
    attack = ShiftAttack(SHIFTS["contrast"], draws=5, steps=2, progress=False)
    both = attack(c.victim, c.image, c.label, seed=[1, 2])
    for place in range(2):
        part = slice(place, place + 1)
        alone = attack(c.victim, c.image[part], c.label[part], seed=[place + 1])
        torch.testing.assert_close(alone.values, both.values[part])
        assert torch.equal(alone.damage, both.damage[part])


def test_the_worst_offset_is_found_where_it_is_known() -> None:
    """Of the box of 40 HU the upper end turns the most voxels: 40 of 99 become foreground."""
    image, label = ramp()
    result = ShiftAttack(HUOffset(), clip=None, draws=10, steps=5)(SegmentationVictim(Threshold()), image, label)
    assert abs(float(result.values[0, 0])) == pytest.approx(40.0)
    assert float(result.damage[0]) == pytest.approx(40 / 139 if result.values[0, 0] > 0 else 40 / 99, abs=0.01)


def test_an_l_inf_perturbation_on_top_adds_to_it_within_its_radius() -> None:
    image, label = ramp()
    victim = SegmentationVictim(Threshold())
    plain = ShiftAttack(HUOffset(), clip=None, draws=10, steps=5)(victim, image, label)
    more = ShiftAttack(HUOffset(), eps=10.0, clip=None, draws=10, steps=5)(victim, image, label)
    assert float(more.damage) > float(plain.damage)
    rest = more.adversarial - HUOffset()(image, more.values)
    assert 9.9 < float(rest.abs().max()) <= 10.001


def test_labels_move_with_the_anatomy() -> None:
    """A network that sees all voxels alike is not hurt by moving what it sees: damage is that of the moved anatomy."""
    image = torch.full((1, 1, 24, 24), -1000.0)
    image[..., 6:14, 8:16] = 0
    label = (image > -500).long()
    victim = SegmentationVictim(Threshold())
    moved = RigidMotion(severity=5)(image, [0.0, 5.0, 0.0], spacing=(1, 1))
    assert float(victim.damage(victim.predict(moved), label)) > 0.6  # of the label that stayed where it was
    picture = MetaTensor(image, affine=torch.eye(4))
    result = ShiftAttack(RigidMotion(severity=5), clip=None, draws=10, steps=3)(victim, picture, label)
    assert float(result.damage) < 0.15
    assert float(result.values[0, 1:].norm()) > 0.5


def test_a_victim_with_preprocessing_gets_the_moved_label_on_its_own_grid() -> None:
    image = torch.full((1, 1, 16, 16), -1000.0)
    image[..., 3:9, 4:11] = 0
    label = (image > -500).long()
    window = Compose([ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
    victim = SegmentationVictim(Threshold(0.36), preprocessing=window)
    picture = MetaTensor(image, affine=torch.eye(4))
    result = ShiftAttack(Zoom(), clip=(-1024, 3071), draws=4, steps=2)(victim, picture, label)
    assert isinstance(result.adversarial, MetaTensor)
    assert float(result.damage) < 0.2
    assert result.label.shape == label.shape


def test_a_shift_without_gradient_is_searched_at_random() -> None:
    c = case("classification", 2)
    picture = c.image[:, :1].repeat(1, 3, 1, 1)
    network = nn.Sequential(nn.Conv2d(3, 2, 1), c.victim.network)
    victim = ClassificationVictim(network)
    attack = ShiftAttack(Jpeg(span=(0.0, 1.0)), draws=4, steps=2, progress=False)
    result = attack(victim, picture, c.label)
    assert (attack.knowledge, attack.planned_gradients, result.gradients.tolist()) == ("black box", 0, [0, 0, 0])
    with pytest.raises(ValueError, match="method must be 'random' for JPEG"):
        ShiftAttack(Jpeg(), method="gradient")


def test_a_judge_has_the_last_word_on_every_draw() -> None:
    image, label = ramp()
    seen: list[float] = []

    def judge(image: Tensor, label: Any, values: Tensor) -> float:
        seen.append(float(values[0]))
        return 1.0 if 5 < float(values[0]) < 15 else 0.0

    attack = ShiftAttack(HUOffset(), clip=None, draws=12, steps=0, judge=judge)
    result = attack(SegmentationVictim(Threshold()), image, label)
    assert seen == result.tried[:, 0, 0].tolist()
    assert 5 < float(result.values[0, 0]) < 15
    assert float(result.damage) == 1.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"draws": 5, "steps": 3, "starts": 2}, "draws must be at least starts"),
        ({"draws": 0, "steps": 0}, "draws must be a whole number"),
        ({"draws": 2.5}, "draws must be a whole number"),
        ({"step_size": 0.0}, "step_size must"),
        ({"step_size": float("nan")}, "step_size must"),
        ({"optimizer": "sgd"}, "optimizer must"),
        ({"method": "grid"}, "method must"),
        ({"norm": "l2"}, "norm must"),
        ({"targeted": True}, "targeted must"),
        ({"keep": "last"}, "keep must"),
        ({"eps": -1.0}, "eps must"),
        ({"shift": "rigid"}, "shift must"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        ShiftAttack(**{"shift": HUOffset(), **arguments})


def test_millimeters_of_an_image_without_spacing_are_refused() -> None:
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match="image must be a MetaTensor with its affine"):
        ShiftAttack(RigidMotion())(c.victim, c.image, c.label)
    with pytest.raises(ValueError, match="may fold"):
        ShiftAttack(SmoothDeformation())(c.victim, MetaTensor(c.image, affine=torch.eye(4)), c.label)


# ---- all of a finite set


def test_all_offsets_are_those_of_a_plain_loop_voxel_for_voxel() -> None:
    image, label = ramp()
    victim = SegmentationVictim(Threshold())
    result = TryAll(HUOffset(), clip=None)(victim, image, label)
    assert result.tried[:, 0, 0].tolist() == list(range(-40, 41))
    images, expected = [], []
    for offset in range(-40, 41):
        shifted = image + offset
        images.append(shifted)
        expected.append(float(victim.damage(victim.predict(shifted), label).float()))
    assert result.tried_damage[:, 0].tolist() == expected
    worst = max(range(81), key=lambda n: (expected[n], float(victim.loss(victim.predict(images[n]), label))))
    assert torch.equal(result.adversarial, images[worst])
    assert float(result.damage) == max(expected)


def test_what_is_proven_holds_against_the_attack() -> None:
    """The attack, its offset rounded to what a file can hold, never does more than the worst of all whole numbers."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(-700, -300, (1, 1, 24, 24), generator=generator).float()
    label = (image > -480).long()  # not what the network says
    victim = SegmentationVictim(Threshold())
    proven = TryAll(HUOffset(severity=4), clip=None)(victim, image, label)
    for seed in range(5):
        attack = ShiftAttack(HUOffset(severity=4), clip=None, draws=10, steps=5, seed=seed)
        found = attack(victim, image, label)
        rounded = image + found.values[0, 0].round()
        assert float(victim.damage(victim.predict(rounded), label).float()) <= float(proven.damage)


def test_flips_are_a_finite_set_and_move_the_label() -> None:
    c = case("segmentation", 3, batch=1)
    result = TryAll(Flip())(c.victim, c.image, c.label)
    assert len(result.tried) == 8
    for values, damage in zip(result.tried[:, 0], result.tried_damage[:, 0], strict=True):
        axes = [n + 2 for n in range(3) if values[n] == 1]
        flipped = c.victim.predict(c.image.flip(axes))
        assert float(damage) == pytest.approx(float(c.victim.damage(flipped, c.label.flip(axes))), abs=1e-6)


def test_a_lattice_of_two_parameters_and_one_that_is_too_fine() -> None:
    shift = Contrast(severity=1)
    assert TryAll(shift, lattice=(5.0, 1.5)).count(2) == 3 * 5
    with pytest.raises(ValueError, match=r"at most 100000 points"):
        TryAll(shift, lattice=(0.001,)).points(2)
    with pytest.raises(ValueError, match=r"one for each of 2 parameters"):
        TryAll(shift, lattice=(1.0, 1.0, 1.0)).count(2)
    for wrong in ((), (0.0,), (float("inf"),)):
        with pytest.raises(ValueError, match=r"^lattice must"):
            TryAll(shift, lattice=wrong)
