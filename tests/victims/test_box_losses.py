"""Losses and distances of detectors: by hand, by finite differences, and as mAP counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from detectors import NOTHING, SOMETHING, cell_label, cells, colored, images, small_retina
from torch import Tensor
from torch.nn import functional as F

from monai_smia.victims import box_losses


@pytest.mark.parametrize("loss", ["focal", "bce", "ranking", "found", "invented"])
@pytest.mark.parametrize("label", [SOMETHING, NOTHING], ids=["objects", "none"])
def test_gradient_of_the_loss_is_that_of_finite_differences(
    loss: str, label: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("data.box_utils", "apps.detection.utils.box_coder"):  # MONAI computes boxes in float32
        monkeypatch.setattr(f"monai.{module}.COMPUTE_DTYPE", torch.float64)
    victim, image = small_retina().with_loss(loss), images()
    finite_difference(lambda x: victim.loss(victim.predict(x), [label]), image)


@pytest.mark.parametrize("divergence", ["focal", "bce", "kl", "reverse_kl"])
def test_gradient_of_the_divergence(divergence: str) -> None:
    victim, image = small_retina().with_divergence(divergence), images()
    with torch.no_grad():
        reference = victim.predict(images(seed=1))
    finite_difference(lambda x: victim.divergence(victim.predict(x), reference), image)
    point = image.clone().requires_grad_(True)  # and it goes through the reference as well
    soft = victim.divergence(reference, victim.predict(point))
    assert torch.autograd.grad(soft.sum(), point)[0].abs().max() > 0


def finite_difference(function: Any, image: Tensor, eps: float = 1e-6) -> None:
    point = image.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(function(point).sum(), point)
    for seed in range(4):
        direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed), dtype=image.dtype)
        with torch.no_grad():
            slope = (function(image + eps * direction) - function(image - eps * direction)).sum() / (2 * eps)
        assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-5, abs=1e-7)


def test_the_loss_by_hand() -> None:
    """Two cells, one object exactly on the first: ATSS matches it, the second is background."""
    victim = cells(loss="bce")
    logits = torch.tensor([[2.0, -4, -4], [-4, -4, -4]], dtype=torch.float64)
    image = colored(*(logits / 20 + 0.5).tolist())
    target = torch.zeros_like(logits)
    target[0, 0] = 1
    expected = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    assert float(victim.loss(victim.predict(image), [cell_label(0, None)])) == pytest.approx(float(expected))
    p = logits.sigmoid()
    focal = -(0.25 * (1 - p[0, 0]) ** 2 * p[0, 0].log())
    others = torch.cat([p[0, 1:], p[1]])
    focal = focal - (0.75 * others**2 * (1 - others).log()).sum()
    loss = victim.with_loss("focal").loss(victim.predict(image), [cell_label(0, None)])
    assert float(loss) == pytest.approx(float(focal))


def test_box_loss_is_smooth_l1_of_the_codes_per_matched_anchor() -> None:
    victim = cells(loss="bce")
    image = colored((0.6, 0.3, 0.3))
    exact, wider = cell_label(0), {"boxes": torch.tensor([[0.0, 0, 16, 8]]).double(), "labels": torch.tensor([0])}
    prediction = victim.predict(image)
    gap = float(victim.loss(prediction, [wider]) - victim.loss(prediction, [exact]))
    shift, stretch = 0.5, float(torch.tensor(2.0).log())  # centre by half a cell, width doubled
    assert gap == pytest.approx(sum(v - 0.5 / 9 for v in (shift, stretch)), abs=1e-6)


def test_ranking_is_average_precision_where_scores_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cells of three classes; the one right guess of an object is its class at its cell."""
    monkeypatch.setattr(box_losses, "IOU_WIDTH", 0.01)
    victim = cells(loss="ranking")

    def precision(first: tuple[float, ...], second: tuple[float, ...], *classes: int | None) -> float:
        return -float(victim.loss(victim.predict(colored(first, second)), [cell_label(*classes)]))

    best, good, low, none = 0.9, 0.7, 0.3, 0.1  # logits 8, 4, -4 and -8
    assert precision((best, none, none), (none, good, none), 0, 1) == pytest.approx(1, abs=1e-6)
    assert precision((low, best, none), (none, good, none), 0, 1) == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-6)
    assert precision((good, best, none), (none,) * 3, 0, None) == pytest.approx(1 / 2, abs=1e-6)
    assert precision((good, good, none), (none,) * 3, 0, None) == pytest.approx(2 / 3, abs=1e-6)  # level: by half
    # without objects: against a guess of the score from which on an object counts as found
    assert precision((none,) * 3, (none,) * 3, None, None) == pytest.approx(1, abs=1e-6)
    assert precision((best, none, none), (none, good, none), None, None) == pytest.approx(1 / 3, abs=1e-6)
    victim = cells(loss="ranking", found_score=0)  # every guess is above it
    assert precision((none,) * 3, (none,) * 3, None, None) == pytest.approx(1 / 7, abs=1e-3)


def test_ranking_counts_a_box_by_its_overlap() -> None:
    victim = cells(loss="ranking")
    prediction = victim.predict(colored((0.9, 0.1, 0.1)))
    for width in (8, 12, 16, 20):
        label = {"boxes": torch.tensor([[0.0, 0, width, 8]]).double(), "labels": torch.tensor([0])}
        right = 1 / (1 + math.exp(-(8 / width - 0.5) / 0.1))  # the only guess: as right, and of as much precision
        assert -float(victim.loss(prediction, [label])) == pytest.approx(right**2, abs=1e-6)


def test_a_found_object_counts_by_its_logit_above_the_threshold_and_a_lost_one_no_more() -> None:
    victim = cells(loss="found", found_score=0.5)  # of the logit 0; a cell's logits are 20 * (color - .5)
    least = math.log1p(math.exp(-5))  # what an exact box still lacks: an IoU of 1 is 5 widths above the least

    def loss(*colors: tuple[float, ...]) -> float:
        return float(victim.loss(victim.predict(colored(*colors)), [cell_label(0, 1)]))

    assert loss((0.9, 0.1, 0.1), (0.1, 0.7, 0.1)) == pytest.approx(-(8 + 4 - 2 * least), abs=1e-6)
    assert loss((0.9, 0.1, 0.9), (0.1, 0.7, 0.9)) == pytest.approx(-(8 + 4 - 2 * least), abs=1e-6)  # not the wrong ones
    assert loss((0.1, 0.1, 0.1), (0.1, 0.7, 0.1)) == pytest.approx(0.5 - 4 + least, abs=1e-6)  # the hinge
    point = colored((0.1, 0.1, 0.1), (0.1, 0.7, 0.1)).requires_grad_(True)
    victim.loss(victim.predict(point), [cell_label(0, 1)]).sum().backward()
    assert point.grad is not None
    lost, held = (point.grad[..., part, :].abs().max() for part in (slice(8), slice(8, None)))
    assert lost < 1e-9 < 0.1 < held


@pytest.mark.parametrize("found_score", [0.3, 0.05])
def test_a_found_object_counts_from_the_score_that_counts(found_score: float) -> None:
    victim, threshold = cells(loss="found", found_score=found_score), math.log(found_score / (1 - found_score))
    least = math.log1p(math.exp(-5))
    value = float(victim.loss(victim.predict(colored((0.9, 0.1, 0.1))), [cell_label(0, None)]))
    assert value == pytest.approx(-(8 - threshold - least), abs=1e-6)
    invented = cells(loss="invented", found_score=found_score)
    wrong = invented.loss(invented.predict(colored((0.1, 0.6, 0.1))), [cell_label(0, None)])
    assert float(wrong) == pytest.approx(1 / (1 + math.exp(-(2 - threshold) / 0.25)), abs=1e-3)
    assert victim.loss(victim.predict(colored((0.9, 0.1, 0.1))), [NOTHING_THERE]).tolist() == [0.0]


NOTHING_THERE = {"boxes": torch.zeros(0, 4, dtype=torch.float64), "labels": torch.zeros(0, dtype=torch.long)}


def test_guesses_less_right_than_a_tenth_have_no_precision() -> None:
    """An overlap of .28 is right by 1 / (1 + e^2.2), .0998; one of .2805 by .1002."""
    victim = cells(loss="ranking")
    prediction = victim.predict(colored((0.9, 0.1, 0.1)))
    for overlap, counts in ((0.2795, False), (0.2812, True)):
        label = {"boxes": torch.tensor([[0.0, 0, 8 / overlap, 8]]).double(), "labels": torch.tensor([0])}
        right = 1 / (1 + math.exp((0.5 - overlap) / 0.1))
        value = -float(victim.loss(prediction, [label]))
        assert (right > 0.1) is counts
        assert value == pytest.approx(right**2, abs=1e-5) if counts else value > 0.3


def test_invented_is_the_number_of_wrong_guesses_at_the_threshold_and_their_share_the_damage() -> None:
    victim = cells(loss="invented", found_score=0.5)
    label, best, none = [cell_label(0, None)], 1.9, -0.9  # logits 28 and -28
    for colors, count, share in (
        (((best, none, none), (none,) * 3), 0, 0),
        (((best, best, none), (none,) * 3), 1, 1 / 2),
        (((none, best, none), (none, best, best)), 3, 1),
        (((none,) * 3, (none,) * 3), 0, 0),
    ):
        prediction = victim.predict(colored(*colors))
        assert float(victim.loss(prediction, label)) == pytest.approx(count, abs=0.01)
        assert victim.damage(prediction, label).tolist() == pytest.approx([share])


def test_a_distance_from_itself_is_none_and_grows() -> None:
    victim, image = small_retina(), images()
    with torch.no_grad():
        here, near, far = (victim.predict(image + d) for d in (0.0, 0.01, 0.2))
        assert float(victim.divergence(here, here)) == 0
        assert 0 < float(victim.divergence(near, here)) < float(victim.divergence(far, here))


def test_how_much_the_reference_sees_is_a_weight_and_not_pushed() -> None:
    """The distance of two cells, whose boxes agree: sum of -(t log p + (1 - t) log(1 - p)) over the objects seen.

    By a reference logit its slope is -z t (1 - t) over the number of objects seen, as if that were a constant.
    """
    victim = cells(divergence="bce")
    with torch.no_grad():
        prediction = victim.predict(colored((0.7, 0.45, 0.3), (0.6, 0.4, 0.55)))
    reference = victim.predict(colored((0.55, 0.52, 0.3), (0.6, 0.3, 0.58)))
    logits = reference["classification"][0].detach().requires_grad_(True)
    distance = victim.divergence(prediction, {**reference, "classification": [logits]})
    (gradient,) = torch.autograd.grad(distance.sum(), logits)
    target = logits.detach().sigmoid()
    seen = target.amax(1).sum()
    assert float(seen) > 1.2
    expected = -prediction["classification"][0] * target * (1 - target) / seen
    torch.testing.assert_close(gradient, expected)


def test_kl_of_two_predictions_is_that_of_torch() -> None:
    """KL of independent classes at every anchor, and the boxes' distance as for the other distances."""
    victim = small_retina()
    first, second = victim.predict(images(1)), victim.predict(images(1, seed=1))
    of_classes = []
    for one, other in ((first, second), (second, first)):
        p, q = (torch.distributions.Bernoulli(logits=victim.flat(each)[0]) for each in (one, other))
        of_classes.append(torch.distributions.kl_divergence(p, q).sum((1, 2)))
    seen = victim.flat(second)[0].sigmoid().amax(2).sum(1)
    boxes = victim.with_divergence("bce").divergence(first, second)
    soft = torch.nn.functional.binary_cross_entropy_with_logits(
        victim.flat(first)[0], victim.flat(second)[0].sigmoid(), reduction="none"
    ).sum((1, 2))
    boxes = boxes - soft / seen
    for name, expected in zip(("kl", "reverse_kl"), of_classes, strict=True):
        found = victim.with_divergence(name).divergence(first, second)
        torch.testing.assert_close(found, expected / seen + boxes)
        assert victim.with_divergence(name).divergence(first, first).abs().max() < 1e-9
