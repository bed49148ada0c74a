"""Attacks on a volume: the loss and its damage by hand, and how far they drive what a clinician reads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import network
from torch import Tensor, nn

from monai_smia.attacks import APGD, PGD, Ensemble
from monai_smia.evaluation import PlannedAttack
from monai_smia.victims import SegmentationVictim, VolumeLoss


def drawn(seed: int, activation: str) -> tuple[Tensor, Tensor]:
    """Logits ``(2, 3, 6, 5)`` and a label with ignored voxels (9)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 3, 6, 5, generator=generator, dtype=torch.float64)
    softmax = activation == "softmax"
    label = torch.randint(0, 3 if softmax else 2, (2, 1 if softmax else 3, 6, 5), generator=generator)
    label[torch.rand(label.shape, generator=generator) < 0.2] = 9
    return logits, label


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("structure", [None, 1, 2])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_soft_and_decided_volume_are_those_of_what_counts(activation: str, structure: int | None, seed: int) -> None:
    logits, label = drawn(seed, activation)
    softmax = activation == "softmax"
    probability = logits.softmax(1) if softmax else logits.sigmoid()
    classes = [structure] if structure is not None else [1, 2] if softmax else [0, 1, 2]
    soft, decided, truth, total = torch.zeros(4, 2, dtype=torch.float64)
    for k in classes:
        counted = (label[:, 0] if softmax else label[:, k]) != 9
        soft += (probability[:, k] * counted).sum((1, 2))
        decided += ((logits.argmax(1) == k if softmax else logits[:, k] > 0) & counted).sum((1, 2))
        truth += (((label[:, 0] == k) if softmax else (label[:, k] == 1)) & counted).sum((1, 2))
        total = counted.sum((1, 2)) if softmax else total + counted.sum((1, 2))
    for direction, sign in (("up", 1), ("down", -1)):
        loss = VolumeLoss(direction, structure)
        victim = SegmentationVictim(nn.Identity(), activation=activation, ignore_index=9, loss=loss, allow_empty=True)
        torch.testing.assert_close(victim.loss(logits, label), sign * soft)
        share = (decided - truth) / (total - truth) if direction == "up" else (truth - decided) / truth.clamp_min(1)
        torch.testing.assert_close(victim.damage(logits, label), share.clamp(0, 1))


class ByGrey(nn.Module):
    """Takes the grey level of a voxel's surroundings for its class: 0, 0.5 and 1 for classes 0, 1 and 2."""

    def forward(self, image: Tensor) -> Tensor:
        pool = nn.functional.avg_pool2d if image.ndim == 4 else nn.functional.avg_pool3d
        return torch.cat([-12 * (pool(image, 3, 1, 1) - level).square() for level in (0.0, 0.5, 1.0)], 1)


def phantom(dims: int, seed: int) -> tuple[SegmentationVictim, Tensor, Tensor]:
    """A victim with three noisy images of two nested structures, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*[torch.arange(20 if dims == 2 else 12)] * dims, indexing="ij")
    middle = (len(axes[0]) - 1) / 2 + torch.rand(3, dims, generator=generator)
    far = (torch.stack(axes) - middle.view(3, dims, *[1] * dims)).square().sum(1).sqrt()
    label = ((far < 5).long() + (far < 3))[:, None]
    image = label / 2 + 0.1 * torch.randn(label.shape, generator=generator)
    return SegmentationVictim(ByGrey()), image, label


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_pgd_moves_the_volume_further_than_on_the_cross_entropy(dims: int, seed: int) -> None:
    """Soft and decided, down and up, at one radius; and that of one class further than the volume of all does."""
    victim, image, label = phantom(dims, seed)

    def volumes(loss: Any) -> tuple[Tensor, Tensor]:
        attack = PGD(eps=0.15, steps=10, loss=loss, clip=None, progress=False)
        prediction = victim.infer(attack(victim, image, label).adversarial)
        soft, decided = prediction.softmax(1), prediction.argmax(1, keepdim=True)
        hard = torch.cat([decided == k for k in range(3)], 1)
        return tuple(each[:, 1:].flatten(2).sum(2).double() for each in (soft, hard))  # type: ignore[return-value]

    found = {loss: volumes(loss) for loss in ("cross_entropy", "volume_down", "volume_up")}
    one = volumes(VolumeLoss("down", 1))
    for kind in (0, 1):
        down, plain, up = (found[loss][kind].sum(1) for loss in ("volume_down", "cross_entropy", "volume_up"))
        assert bool((down < plain).all())
        assert bool((plain < up).all())
        assert bool((one[kind][:, 0] < found["volume_down"][kind][:, 0]).all())


def test_the_iterate_returned_is_the_one_of_the_furthest_decided_volume() -> None:
    """Not the one of most damage to the overlap, which an attack on the volume may pass on its way."""
    victim = SegmentationVictim(network("segmentation", 2, size=12, seed=3), allow_empty=True)
    image = torch.rand(4, 2, 12, 12, generator=torch.Generator().manual_seed(1))
    label = victim.decide(victim.infer(image))
    options: dict[str, Any] = {"eps": 0.3, "step_size": 0.2, "loss": "volume_up", "progress": False}
    best = PGD(steps=6, **options)(victim, image, label)
    expected = victim.with_loss("volume_up").damage(victim.infer(best.adversarial), label)
    torch.testing.assert_close(best.damage.double(), expected, atol=1e-6, rtol=0)
    for steps in range(1, 7):  # every iterate, by attacks that end with it
        last = PGD(steps=steps, keep="last", **options)(victim, image, label).adversarial
        assert bool((victim.with_loss("volume_up").damage(victim.infer(last), label) <= expected).all())


def test_an_ensemble_judges_by_its_own_victim() -> None:
    """The worst case over overlap and volume is one of the overlap."""
    victim = SegmentationVictim(network("segmentation", 2, size=12), allow_empty=True)
    image = torch.rand(3, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    label = victim.decide(victim.infer(image))
    members = [APGD(eps=0.1, steps=5, loss=loss, progress=False) for loss in ("soft_jaccard", "volume_down")]
    worst = Ensemble(members, progress=False)(victim, image, label)
    damages = [victim.damage(victim.infer(member(victim, image, label).adversarial), label) for member in members]
    torch.testing.assert_close(worst.damage.double(), torch.maximum(*damages))


def test_names_in_plans_and_refusals() -> None:
    names = [PlannedAttack(PGD(eps=0.1, loss=loss), 0.1).loss for loss in ("volume_down", VolumeLoss("up", 2))]
    assert names == ["volume_down", "volume_up_2"]
    with pytest.raises(ValueError, match=r"direction must be one of \('down', 'up'\), got 'left'"):
        VolumeLoss("left")
    logits, label = drawn(0, "softmax")
    for structure in (0, 3):
        victim = SegmentationVictim(nn.Identity(), ignore_index=9, loss=VolumeLoss("down", structure))
        with pytest.raises(ValueError, match=f"structure must lie from 1 to 2, got {structure}"):
            victim.loss(logits, label)
