"""The rows called "paper" are what the paper's text says: a plain loop that follows it ends at the same images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import detectors
import pytest
import torch
from helpers import network
from monai.inferers import SlidingWindowInferer
from torch import Tensor
from torch.nn import functional as F

from monai_smia.attacks import DAG, DeepFool
from monai_smia.evaluation import PlannedAttack, paper_comparison, preset_plan
from monai_smia.records.rows import PAPER
from monai_smia.victims import ClassificationVictim, SegmentationVictim
from monai_smia.victims.base import Victim

EPS, STEPS, SEED = 0.01, 10, 3
Loss = Callable[[Any, Any], Tensor]  # of a prediction and a label, or another prediction


def smooth(eta: Tensor) -> Tensor:
    """W * eta: a Gaussian of five taps and sigma 1 along every axis."""
    taps = torch.exp(-0.5 * torch.arange(-2, 3, dtype=eta.dtype) ** 2)
    for axis in range(2, eta.ndim):
        kernel = (taps / taps.sum()).view([-1 if a == axis else 1 for a in range(eta.ndim)])
        pad = [n // 2 for n in kernel.shape[2:]]
        convolve = {4: F.conv2d, 5: F.conv3d}[eta.ndim]
        eta = torch.cat([convolve(channel, kernel, padding=pad) for channel in eta.split(1, 1)], 1)
    return eta


def loop(
    predict: Any, x: Tensor, y: Any, dev: Loss, sta: Loss, *, alpha: float = 0, start: Tensor | None = None
) -> Tensor:
    """Section 3.1: Eq. 1 and 2 at first, then Eq. 4; eta = eps * sign(r) is added to the last adversarial example."""
    adversarial = x if start is None else start
    for iteration in range(STEPS):
        adversarial = adversarial.detach().requires_grad_()
        prediction = predict(adversarial)
        objective = dev(prediction, y)
        if alpha and iteration:
            objective = objective - alpha * sta(prediction, predict(x + smooth(adversarial - x)))
        (r,) = torch.autograd.grad(objective.sum(), adversarial)
        adversarial = (adversarial + EPS * r.sign()).clip(0, 1)
    return adversarial.detach()


def dense(predict: Any, x: Tensor, y: Tensor) -> Tensor:
    """DAG (Xie et al., 2017) of two classes: its largest change is eps, its targets the voxels that are still right."""
    adversarial = x
    for _ in range(STEPS):
        adversarial = adversarial.detach().requires_grad_()
        scores = predict(adversarial)
        right = scores.argmax(1, keepdim=True) == y
        gap = scores.gather(1, 1 - y) - scores.gather(1, y)
        (r,) = torch.autograd.grad((gap * right).sum(), adversarial)
        adversarial = (adversarial + EPS * r / r.abs().max()).clip(0, 1)
    return adversarial.detach()


def lungs() -> tuple[Victim, Tensor, Tensor, Any, Loss, Loss]:
    """A volume through a sliding window; Eq. 3 as the sum of voxels' cross entropies."""
    net = network("segmentation", 3, classes=2, channels=1).double().eval()
    inferer = SlidingWindowInferer((8, 8, 8), overlap=0.25, mode="gaussian")
    x = torch.rand(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = (x > 0.6).long()

    def dev(scores: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(scores, label[:, 0], reduction="sum")

    def sta(scores: Tensor, other: Tensor) -> Tensor:
        return -(other.softmax(1) * scores.log_softmax(1)).sum()

    return SegmentationVictim(net, inferer=inferer), x, y, lambda image: inferer(image, net), dev, sta


def eyes() -> tuple[Victim, Tensor, Tensor, Any, Loss, Loss]:
    """Five ordered grades from four thresholds, as the fundus network answers."""
    net = network("classification", 2, classes=4).double().eval()
    for parameter in net.parameters():
        parameter.data *= 4  # far from linear, so that the stabilization counts
    x, y = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64), torch.tensor([2])

    def dev(scores: Tensor, label: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            scores, (label[:, None] > torch.arange(4)).to(scores), reduction="sum"
        )

    def sta(scores: Tensor, other: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores, other.sigmoid(), reduction="sum")

    return ClassificationVictim(net, activation="ordinal"), x, y, net, dev, sta


def frames() -> tuple[Victim, Tensor, Any, Any, Loss, Loss]:
    """A RetinaNet, by the loss that it is trained with; that loss is tested by itself, and is the victim's here."""
    victim, x, y = detectors.small_retina(), detectors.images(1), [detectors.SOMETHING]
    focal = victim.with_loss("focal")
    return victim, x, y, focal.predict, focal.loss, focal.divergence


def rows(**options: Any) -> dict[str, PlannedAttack]:
    plan = paper_comparison(EPS, steps=STEPS, seed=SEED, progress=False, **options)
    return {row.name: row for row in plan if row.setting == PAPER}


@pytest.mark.parametrize("modality", [lungs, eyes, frames])
def test_the_plain_loop_ends_where_the_rows_end(modality: Callable[[], Any]) -> None:
    victim, x, y, predict, dev, sta = modality()
    planned = rows(stop_at=1.0, loss="focal" if modality is frames else None, extra=[DAG] if modality is lungs else [])
    noise = 2 * torch.rand(x.shape[1:], generator=torch.Generator().manual_seed(SEED), dtype=x.dtype) - 1
    expected = {
        "BIM": loop(predict, x, y, dev, sta),
        "PGD": loop(predict, x, y, dev, sta, start=(x + EPS * noise).clip(0, 1)),
        "SMIA": loop(predict, x, y, dev, sta, alpha=1.0),
        **({"DAG": dense(predict, x, y)} if modality is lungs else {}),
    }
    assert planned.keys() == expected.keys()
    for name, image in expected.items():
        attack = planned[name].attack
        assert attack is not None
        found = attack(victim, x, y).adversarial
        assert (found - image).abs().max() <= 1e-6, name
        assert (found - x).abs().max() > EPS, name  # nothing is projected onto epsilon
    assert not torch.equal(expected["BIM"], expected["SMIA"])


def test_deepfool_has_no_ball() -> None:
    """Where the boundary is far beyond epsilon it gets there, as it does without a radius."""
    victim, x, y, *_ = eyes()
    y = victim.decide(victim.predict(x))
    free = DeepFool(norm="linf", candidates=5, eps=None, steps=STEPS, progress=False)(victim, x, y)
    planned = rows(extra=[partial(DeepFool, norm="linf", candidates=5)])["DeepFool"]
    assert planned.attack is not None
    found = planned.attack(victim, x, y)
    assert torch.equal(found.adversarial, free.adversarial)
    assert found.damage.item() == 1


def test_pgd_begins_within_epsilon_and_not_within_what_ten_steps_add_up_to() -> None:
    victim, x, y, *_ = eyes()
    (pgd,) = (
        row.attack for row in paper_comparison(EPS, steps=0, seed=SEED) if (row.name, row.setting) == ("PGD", PAPER)
    )
    start = pgd(victim, x, y).perturbation.abs().max()
    assert 0.5 * EPS < start <= EPS


def test_the_preset_has_them() -> None:
    plan = preset_plan("paper", "segmentation", EPS, extra=[DAG])
    assert [row.name for row in plan if row.setting == PAPER] == ["BIM", "PGD", "DAG", "SMIA"]
