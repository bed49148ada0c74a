from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from detectors import NOTHING, SOMETHING, cell_label, cells, colored, images, small_retina
from helpers import assert_untouched, snapshot, unsettled
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, Resize, ScaleIntensityRange
from torch import Tensor

from monai_smia.attacks import BIM, PGD, SMIA, Noise
from monai_smia.victims import DetectionVictim
from monai_smia.victims.matching import IoUMatcher


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


class TestReplace:
    def test_a_given_detector_stays_with_its_selector(self) -> None:
        ours = small_retina()
        detector = RetinaNetDetector(ours.network, ours.detector.anchor_generator)
        detector.set_box_selector_parameters(score_thresh=0.4, nms_thresh=0.3, detections_per_img=5)
        victim, image = DetectionVictim(detector), images()
        other = replace(victim, loss="ranking")
        assert (other.detector, other.network, other.loss.spec) == (detector, detector.network, "ranking")
        with torch.no_grad():
            (found,), (expected,) = (v.decide(v.predict(image)) for v in (other, victim))
        assert torch.equal(found["boxes"], expected["boxes"])
        assert 0 < len(found["boxes"]) <= 5

    def test_thresholds_of_a_bare_network_are_taken_up(self) -> None:
        victim, image = small_retina(), images()
        picky = replace(victim, score_thresh=0.4, max_boxes=3)
        made = DetectionVictim(victim.network, anchors=victim.anchors, score_thresh=0.4, max_boxes=3)
        with torch.no_grad():
            counts = [len(v.decide(v.predict(image))[0]["boxes"]) for v in (victim, picky, made)]
        assert counts[0] > counts[1] == counts[2] == 3

    def test_found_score_and_matcher_reach_the_loss(self) -> None:
        image, label = colored((0.1, 0.1, 0.1)), [cell_label(None)]
        prediction = cells().predict(image)
        easy = replace(cells(loss="ranking"), found_score=0)
        assert torch.equal(easy.loss(prediction, label), cells(loss="ranking", found_score=0).loss(prediction, label))
        assert not torch.equal(easy.loss(prediction, label), cells(loss="ranking").loss(prediction, label))
        wide = {"boxes": torch.tensor([[0.0, 0, 17, 8]]).double(), "labels": torch.tensor([0])}
        strict = replace(cells(loss="focal"), matcher=IoUMatcher(0.9, 0.9, every_object=False))  # it has no anchor
        assert strict.loss(prediction, [wide]) < cells(loss="focal").loss(prediction, [wide])

    def test_in_lower_precision(self) -> None:
        victim = small_retina().with_autocast(torch.bfloat16)
        other, image = replace(victim, loss="bce"), images()
        with torch.no_grad():
            for got, expected in zip(*(v.predict(image)["classification"] for v in (other, victim)), strict=True):
                assert torch.equal(got, expected)


def test_the_output_layer_answers_for_the_victim() -> None:
    victim, image = small_retina(), images()
    prediction = victim.predict(image)
    logits, codes, anchors = victim.flat(prediction)
    assert logits.shape[1] == codes.shape[1] == len(anchors)
    levels = [level[0, 0].numel() for level in prediction["classification"]]
    assert torch.equal(
        victim.match(SOMETHING["boxes"], anchors, levels), victim.output.match(SOMETHING["boxes"], anchors, levels)
    )
    assert torch.equal(victim.dense_truth(prediction, [SOMETHING]), victim.output.dense_truth(prediction, [SOMETHING]))
    low = victim.dense_truth(prediction, [SOMETHING], iou=0, score=0)
    assert (low >= 0).sum() > (victim.dense_truth(prediction, [SOMETHING]) >= 0).sum()
