from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from detectors import cell_label, cells, colored, small_retina
from helpers import assert_untouched, snapshot, unsettled
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, Resize, ScaleIntensityRange
from torch import Tensor
from torch.nn import functional as F

from monai_smia.attacks import BIM, PGD, SMIA, Noise
from monai_smia.victims import DetectionVictim, box_losses

NOTHING = {"boxes": torch.zeros(0, 4, dtype=torch.float64), "labels": torch.zeros(0, dtype=torch.long)}
SOMETHING = {
    "boxes": torch.tensor([[3.0, 5, 30, 28], [20, 8, 60, 62]], dtype=torch.float64),
    "labels": torch.tensor([2, 0]),
}


def images(count: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(count, 2, 64, 64, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("loss", ["focal", "bce", "ranking"])
@pytest.mark.parametrize("label", [SOMETHING, NOTHING], ids=["objects", "none"])
def test_gradient_of_the_loss_is_that_of_finite_differences(
    loss: str, label: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("data.box_utils", "apps.detection.utils.box_coder"):  # MONAI computes boxes in float32
        monkeypatch.setattr(f"monai.{module}.COMPUTE_DTYPE", torch.float64)
    victim, image = small_retina().with_loss(loss), images()
    finite_difference(lambda x: victim.loss(victim.predict(x), [label]), image)


@pytest.mark.parametrize("divergence", ["focal", "bce"])
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


def test_a_distance_from_itself_is_none_and_grows() -> None:
    victim, image = small_retina(), images()
    with torch.no_grad():
        here, near, far = (victim.predict(image + d) for d in (0.0, 0.01, 0.2))
        assert float(victim.divergence(here, here)) == 0
        assert 0 < float(victim.divergence(near, here)) < float(victim.divergence(far, here))


@pytest.mark.parametrize("loss", ["focal", "ranking"])
@pytest.mark.parametrize("quantity", ["loss", "damage", "divergence", "attack"])
def test_batch_is_its_images_one_by_one(quantity: str, loss: str) -> None:
    victim, image = small_retina().with_loss(loss), images(3)
    labels = [SOMETHING, NOTHING, {k: v[:1] for k, v in SOMETHING.items()}]

    def value(x: Tensor, y: list[Any], seeds: list[int]) -> Tensor:
        if quantity == "attack":
            return SMIA(eps=0.02, steps=3, seed=seeds)(victim, x, y).adversarial
        with torch.no_grad():
            prediction = victim.predict(x)
            if quantity == "divergence":
                return victim.divergence(prediction, victim.predict(x * 0.9))
            return getattr(victim, quantity)(prediction, y)

    together = value(image, labels, [1, 2, 3])
    alone = torch.cat([value(image[i : i + 1], labels[i : i + 1], [i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, rtol=1e-9, atol=1e-12)


def test_never_train_mode_and_everything_comes_back() -> None:
    victim = small_retina()
    unsettled(victim.network)
    before = snapshot(victim.network)
    modes: list[bool] = []
    handle = victim.network.feature_extractor.register_forward_hook(
        lambda m, *_: modes.append(any(x.training for x in m.modules()))
    )
    PGD(eps=0.02, steps=2)(victim, images(2), [SOMETHING, NOTHING])
    handle.remove()
    assert modes
    assert not any(modes)
    assert_untouched(victim.network, before)


def test_decision_and_damage() -> None:
    victim = cells()
    image = colored((0.7, 0.2, 0.2), (0.2, 0.7, 0.2), (0.2, 0.2, 0.48))  # sigmoid(-0.4) = 0.40; 0.6 -> 0.88
    prediction = victim.predict(image)
    (found,) = victim.decide(prediction)
    assert found["boxes"].tolist() == [[0, 0, 8, 8], [8, 0, 16, 8], [16, 0, 24, 8]]
    assert found["labels"].tolist() == [0, 1, 2]
    assert not found["scores"].requires_grad
    for truth, damage in (
        (cell_label(0, 1, 2), 0),
        (cell_label(0, 0, 2), 1 / 3),  # found, but of another class
        (cell_label(1, None, None), 1),
        (cell_label(None, None, None), 1),  # nothing is there, and something is found
    ):
        assert float(victim.damage(prediction, [truth])) == pytest.approx(damage)
    picky = cells(found_score=0.5)
    assert float(picky.damage(prediction, [cell_label(0, 1, 2)])) == pytest.approx(1 / 3)
    empty = colored((0.2, 0.2, 0.2))
    assert float(victim.damage(victim.predict(empty), [cell_label(None)])) == 0


def test_attacks_make_it_worse_and_noise_stays_in_its_ball() -> None:
    victim = cells()
    image, label = colored((0.52, 0.49, 0.3), (0.3, 0.49, 0.52)), [cell_label(0, 2)]
    assert float(victim.damage(victim.predict(image), label)) == 0
    for attack in (BIM(eps=0.08, steps=5), SMIA(eps=0.08, steps=5)):
        assert float(attack(victim, image, label).damage) == 1
    assert float(Noise(eps=0.08)(victim, image, label).damage) == 0


def test_a_detector_of_monai_is_taken_as_it_is() -> None:
    ours = small_retina()
    detector = RetinaNetDetector(ours.network, ours.detector.anchor_generator)
    detector.set_box_selector_parameters(score_thresh=0.4, nms_thresh=0.3, detections_per_img=5)
    victim, image = DetectionVictim(detector), images()
    with torch.no_grad():
        (ref,) = detector.eval()(image)
        (found,) = victim.decide(victim.predict(image))
    assert torch.equal(ref["boxes"], found["boxes"])
    assert torch.equal(ref["labels_scores"], found["scores"])
    assert 0 < len(found["boxes"]) <= 5


def test_sliding_windows_cover_what_one_window_covers() -> None:
    ours = small_retina()
    windows = DetectionVictim(
        ours.network, anchors=ours.detector.anchor_generator, inferer=SlidingWindowInferer((64, 64), overlap=0.5)
    )
    image = images().requires_grad_(True)
    plain = torch.autograd.grad(ours.loss(ours.predict(image), [SOMETHING]).sum(), image)[0]
    slid = torch.autograd.grad(windows.loss(windows.predict(image), [SOMETHING]).sum(), image)[0]
    assert torch.allclose(plain, slid, rtol=1e-9, atol=1e-12)
    larger = torch.rand(1, 2, 128, 64, dtype=torch.float64).requires_grad_(True)
    (gradient,) = torch.autograd.grad(windows.loss(windows.predict(larger), [SOMETHING]).sum(), larger)
    assert (gradient.abs().amax((0, 1, 3)) > 0).all()


def test_three_dimensions() -> None:
    victim = small_retina(3)
    image = torch.rand(1, 2, 32, 32, 32, dtype=torch.float64)
    label = {"boxes": torch.tensor([[2.0, 4, 6, 28, 30, 24]]).double(), "labels": torch.tensor([1])}
    result = BIM(eps=0.05, steps=2)(victim, image, [label])
    assert result.loss_history[-1] > result.loss_history[0]


def test_preprocessing_of_intensities_is_part_of_it() -> None:
    ours = small_retina()
    options = {"anchors": ours.detector.anchor_generator}
    grey = DetectionVictim(
        ours.network, preprocessing=Compose([ScaleIntensityRange(0, 255, 0, 1, dtype=np.float64)]), **options
    )
    assert grey.intensity_scale() == pytest.approx(1 / 255)
    image = images()
    a, b = (v.predict(x)["classification"][0] for v, x in ((ours, image), (grey, image * 255)))
    assert torch.allclose(a, b)
    smaller = DetectionVictim(ours.network, preprocessing=Compose([Resize((32, 32))]), **options)
    with pytest.raises(ValueError, match="must keep the grid"):
        smaller.predict(image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": torch.tensor([[0.0, 0, 65, 8]])}, r"must lie inside of the image of size \(64, 64\)"),
        ({"boxes": torch.tensor([[-1.0, 0, 6, 8]])}, "must lie inside"),
        ({"boxes": torch.tensor([[4.0, 4, 4, 8]])}, "must have an area"),
        ({"boxes": torch.tensor([[4.0, float("nan"), 8, 8]])}, "must be finite"),
        ({"boxes": torch.tensor([4.0, 4, 8, 8])}, r"of shape \(N, 4\)"),
        ({"labels": torch.tensor([3])}, "class numbers from 0 to 2"),
        ({"labels": torch.tensor([0, 1])}, r"of shape \(N,\)"),
    ],
)
def test_bad_labels(change: dict[str, Tensor], message: str) -> None:
    label = {"boxes": torch.tensor([[4.0, 4, 8, 8]]), "labels": torch.tensor([0]), **change}
    with pytest.raises(ValueError, match=r"label\[0\]") as error:
        BIM(eps=0.1)(small_retina(), images(), [label])
    error.match(message)


def test_bad_arguments() -> None:
    victim = small_retina()
    with pytest.raises(ValueError, match="one dictionary for each of 2 images, got 1 items"):
        BIM(eps=0.1)(victim, images(2), [SOMETHING])
    with pytest.raises(ValueError, match="anchors must be given"):
        DetectionVictim(victim.network)
    anchors = AnchorGenerator(sizes=((8,),), aspect_ratios=((1.0,),))
    with pytest.raises(ValueError, match=r"found_score must lie in \[0, 1\], got 2"):
        DetectionVictim(victim.network, anchors=anchors, found_score=2)
    with pytest.raises(ValueError, match="loss must be one of"):
        victim.with_loss("dice")
