"""Boxes as labels and as decisions: matched one to one, classes of any type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from detectors import NOTHING, SOMETHING, cells, colored, images, small_retina
from torch import Tensor

from monai_smia.attacks import BIM, PGD
from monai_smia.victims import DetectionVictim
from monai_smia.victims.boxes import check_boxes


class TestOneToOne:
    def test_one_box_over_two_objects_finds_one(self) -> None:
        victim = cells()
        prediction = victim.predict(colored((0.9, 0.1, 0.1)))
        boxes = torch.tensor([[0.0, 0, 8, 8], [0, 1, 8, 8], [0, 0, 8, 7]], dtype=torch.float64)
        label = [{"boxes": boxes, "labels": torch.zeros(3, dtype=torch.long)}]
        assert float(victim.damage(prediction, label)) == pytest.approx(2 / 3)

    @pytest.mark.parametrize("seed", range(30))
    def test_a_decision_finds_itself(self, seed: int) -> None:
        """Boxes count from `score_thresh` in a decision, from `found_score` in the damage: it was .875."""
        victim = small_retina(seed=seed % 3)
        with torch.no_grad():
            prediction = victim.predict(images(2, seed=seed))
        decided = victim.decide(prediction)
        middle = float(torch.cat([image["scores"] for image in decided]).median())
        victim = replace(victim, found_score=middle)
        assert victim.damage(prediction, decided).tolist() == [0, 0]
        bound, label = victim.bind(images(2, seed=seed), decided)
        assert sum(len(y["boxes"]) for y in label) < sum(len(y["boxes"]) for y in decided)
        assert [len(y["boxes"]) for y in label] == [int((d["scores"] >= middle).sum()) for d in decided]
        assert bound.damage(prediction, label).tolist() == [0, 0]


TYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.float32, torch.float64)
CLASSES = {str(dtype)[6:]: dtype for dtype in TYPES}


class TestClassNumbers:
    """They are one type, whatever they were given in."""

    @pytest.mark.parametrize("loss", DetectionVictim.losses)
    @pytest.mark.parametrize("kind", [*CLASSES, "list"])
    def test_of_any_type(self, kind: str, loss: str) -> None:
        victim = small_retina().with_loss(loss)
        prediction = victim.predict(images())
        classes = SOMETHING["labels"]
        label = [{**SOMETHING, "labels": classes.tolist() if kind == "list" else classes.to(CLASSES[kind])}]
        for quantity in ("loss", "damage", "dense_truth"):
            got, expected = (getattr(victim, quantity)(prediction, y) for y in (label, [SOMETHING]))
            assert torch.equal(got, expected), quantity
        attack = PGD(eps=0.02, steps=2)
        got, expected = (attack(victim, images(), y).adversarial for y in (label, [SOMETHING]))
        assert torch.equal(got, expected)

    def test_the_figure_of_the_entry(self) -> None:
        """One class, one match: with uint8 the class was a mask, and the focal loss another one."""
        victim = cells(1, loss="focal")
        prediction = victim.predict(colored((0.6,), (0.3,), (0.45,)))
        label = {"boxes": torch.tensor([[8.0, 0, 16, 8]], dtype=torch.float64), "labels": torch.tensor([0])}
        whole, byte = (
            float(victim.loss(prediction, [{**label, "labels": label["labels"].to(t)}]))
            for t in (torch.long, torch.uint8)
        )
        assert whole == byte

    @pytest.mark.parametrize("labels", [torch.tensor([]), torch.zeros(0, dtype=torch.uint8), []])
    @pytest.mark.parametrize("boxes", [torch.tensor([]), torch.zeros(0, 4)])
    def test_of_no_object(self, labels: Any, boxes: Tensor) -> None:
        victim = small_retina()
        prediction, label = victim.predict(images()), [{"boxes": boxes, "labels": labels}]
        assert torch.equal(victim.loss(prediction, label), victim.loss(prediction, [NOTHING]))
        assert torch.equal(victim.damage(prediction, label), victim.damage(prediction, [NOTHING]))
        assert BIM(eps=0.02, steps=2)(victim, images(), label).adversarial.shape == images().shape

    @pytest.mark.parametrize(
        "labels", [torch.tensor([0.5, 1.0]), torch.tensor([0.0, float("nan")]), [0, -1], torch.tensor([0, 300])]
    )
    def test_that_are_none_are_refused(self, labels: Any) -> None:
        victim = small_retina()
        label = [{"boxes": SOMETHING["boxes"], "labels": labels}]
        for use in (
            lambda: BIM(eps=0.1)(victim, images(), label),
            lambda: victim.damage(victim.predict(images()), label),
        ):
            with pytest.raises(ValueError, match=r'label\[0\]\["labels"\] must be class numbers from 0 to 2'):
                use()


def test_the_default_loss_is_the_strongest() -> None:
    """Focal, the default once, takes fewer of the objects that the clean decision finds."""
    lost = {"default": 0.0, "focal": 0.0}
    for seed in range(6):
        victim, image = small_retina(seed=seed), images(seed=seed)
        decided = victim.decide(victim.predict(image))
        victim = replace(victim, found_score=float(decided[0]["scores"].quantile(0.9)))
        for loss, attacked in (("default", victim), ("focal", victim.with_loss("focal"))):
            lost[loss] += float(PGD(eps=0.01, steps=8)(attacked, image, decided).damage) / 6
    assert lost["default"] > lost["focal"] + 0.05
    assert small_retina().loss.spec == "ranking"


SHARES = [[0.1, 0.2, 0.5, 0.9], [0.0, 0.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    "boxes", [SHARES, SHARES[1:], [[0.3, 0.4, 0.1, 0.1]]], ids=["corners", "whole", "center, size"]
)
def test_boxes_in_shares_of_the_image_are_refused(boxes: list[list[float]]) -> None:
    """Taken as pixels they are objects smaller than one, which no box finds: damage 1 before any attack."""
    label = [{"boxes": torch.tensor(boxes), "labels": torch.zeros(len(boxes), dtype=torch.long)}]
    with pytest.raises(
        ValueError, match=r"must be in pixels of the image of size \(\d+, \d+\); all corners lie in \[0, 1\]"
    ):
        PGD(eps=0.02, steps=1)(small_retina(), images(), label)


def test_a_box_of_one_pixel_beside_a_larger_one_is_in_pixels() -> None:
    boxes = torch.tensor([[0.0, 0, 1, 1], [2, 2, 7, 7]])
    label = [{"boxes": boxes, "labels": torch.zeros(2, dtype=torch.long)}]
    assert float(PGD(eps=0.02, steps=0)(small_retina(), images(), label).damage) <= 1


ONE = torch.tensor([0])
WHOLE = torch.tensor([[0.0, 0, 8, 16]])


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (3, 'label must be a dictionary with the tensors "boxes" and "labels", got 3'),
        ([WHOLE, ONE], "must be a dictionary"),
        ({"boxes": WHOLE.tolist(), "labels": ONE}, "must be a dictionary"),
        ({"boxes": WHOLE}, "must be a dictionary"),
        ({"labels": ONE}, "must be a dictionary"),
        ({"boxes": WHOLE[0], "labels": ONE}, r"\(N, 4\) .* got \(4,\) and \(1,\)"),
        ({"boxes": WHOLE[:, :3], "labels": ONE}, r"got \(1, 3\) and \(1,\)"),
        ({"boxes": WHOLE, "labels": torch.tensor([0, 0])}, r"got \(1, 4\) and \(2,\)"),
        ({"boxes": WHOLE, "labels": ONE[None]}, r"got \(1, 4\) and \(1, 1\)"),
        ({"boxes": torch.tensor([[0.0, 0, 1, 1]]), "labels": ONE}, "must be in pixels"),
        ({"boxes": torch.tensor([[0.0, 0, 8, 16], [0, 0, torch.nan, 9]]), "labels": ONE.repeat(2)}, r"\[1\] .* finite"),
        ({"boxes": torch.tensor([[-0.5, 0, 1, 1]]), "labels": ONE}, r"\[0\] .* must lie inside of the image"),
        ({"boxes": torch.tensor([[0.0, 0, 8, 16.5]]), "labels": ONE}, "must lie inside"),
        ({"boxes": torch.tensor([[0.0, 0, 8.5, 16]]), "labels": ONE}, "must lie inside"),
        ({"boxes": torch.tensor([[0.0, -0.1, 8, 16]]), "labels": ONE}, "must lie inside"),
        ({"boxes": torch.tensor([[0.0, 0, 8, 16], [5, 1, 5, 9]]), "labels": ONE.repeat(2)}, r"\[1\] .* have an area"),
        ({"boxes": torch.tensor([[0.0, 9, 8, 9]]), "labels": ONE}, "must have an area"),
        ({"boxes": WHOLE, "labels": torch.tensor([2])}, "must be class numbers from 0 to 1"),
        ({"boxes": WHOLE, "labels": torch.tensor([-1])}, "must be class numbers"),
        ({"boxes": WHOLE, "labels": torch.tensor([0.5])}, "must be class numbers"),
    ],
)
def test_what_is_no_box_of_an_image_is_refused(truth: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_boxes(truth, (8, 16), 2)


def test_boxes_up_to_the_edge_of_an_image() -> None:
    check_boxes({"boxes": WHOLE, "labels": torch.tensor([1.0])}, (8, 16), 2)
    check_boxes({"boxes": torch.zeros(0, 4), "labels": []}, (8, 16), 2)
    check_boxes({"boxes": torch.tensor([[0.0, 0, 1, 1]]), "labels": ONE}, (1, 16), 2)  # an image of one row
    check_boxes({"boxes": torch.tensor([[0.0, 0, 0, 1, 9, 9.0]]), "labels": ONE}, (8, 9, 9), 1)
    with pytest.raises(ValueError, match="in pixels"):
        check_boxes({"boxes": torch.tensor([[0.0, 0, 1, 1]]), "labels": ONE}, (2, 16), 2)
