from __future__ import annotations

import pytest
import torch

from monai_smia.targets.endoscopy import FitFramed, RandFramed, collate_frames
from monai_smia.targets.endoscopy.frame_transforms import _toned


def painted(width: int, height: int, box: list[int]) -> dict:
    """A frame that is white in its box and black elsewhere."""
    image = torch.zeros(3, width, height)
    x1, y1, x2, y2 = box
    image[:, x1:x2, y1:y2] = 1
    return {"image": image, "label": {"boxes": torch.tensor([box]).float(), "labels": torch.tensor([1])}}


def white(image: torch.Tensor) -> list[float]:
    columns, rows = ((image[0] > 0.3).any(axis).nonzero().flatten() for axis in (1, 0))
    return [float(v) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


@pytest.mark.parametrize(("width", "height"), [(160, 90), (90, 160), (64, 48), (30, 30)])
def test_boxes_follow_the_frame_into_the_canvas(width: int, height: int) -> None:
    item = FitFramed("image", size=(64, 48))(
        painted(width, height, [width // 5, height // 3, width // 2, height // 3 * 2])
    )
    assert item["image"].shape == (3, 64, 48)
    assert item["label"]["boxes"][0].tolist() == pytest.approx(white(item["image"]), abs=1.01)


def test_frame_without_objects_and_without_label() -> None:
    empty = {"image": torch.rand(3, 20, 30), "label": {"boxes": [], "labels": []}}
    fitted = FitFramed("image", size=(16, 16))(empty)
    assert fitted["label"]["boxes"].shape == (0, 4)
    assert RandFramed("image").set_random_state(0)(fitted)["label"]["boxes"].shape == (0, 4)
    assert "label" not in FitFramed("image", size=(16, 16))({"image": torch.rand(3, 20, 30)})


@pytest.mark.parametrize("seed", range(8))
def test_boxes_follow_the_drawn_change(seed: int) -> None:
    item = painted(120, 90, [40, 30, 70, 65])
    drawn = RandFramed("image", gain=0.1).set_random_state(seed)(item)
    assert drawn["image"].shape == item["image"].shape
    assert drawn["label"]["boxes"][0].tolist() == pytest.approx(white(drawn["image"]), abs=1.5)
    assert torch.equal(item["label"]["boxes"], torch.tensor([[40.0, 30, 70, 65]]))  # the item is untouched


@pytest.mark.parametrize("seed", range(4))
def test_boxes_follow_a_turned_frame(seed: int) -> None:
    """By 90 degrees, into a canvas that is as wide as before."""
    item = painted(120, 90, [40, 30, 70, 45])
    turned = RandFramed("image", gain=0.1, zoom=(1, 1), turn=1.0).set_random_state(seed)(item)
    assert turned["image"].shape == item["image"].shape
    (x1, y1, x2, y2) = turned["label"]["boxes"][0].tolist()
    assert [x1, y1, x2, y2] == pytest.approx(white(turned["image"]), abs=1.5)
    assert y2 - y1 > x2 - x1  # it was wider than high


def test_tone_leaves_gray_gray_and_turns_colors() -> None:
    gray = {**painted(8, 8, [2, 2, 6, 6]), "image": torch.full((3, 8, 8), 0.25)}
    drawn = RandFramed("image", zoom=(1, 1), shift=0.0, gain=0.0, tone=0.3).set_random_state(1)(gray)["image"]
    drawn = drawn[:, 2:6, 2:6]
    assert drawn.std(0).max() < 1e-6
    assert drawn.min() != 0.25  # gamma
    toned = _toned(torch.tensor([0.6, 0.3, 0.3]).view(3, 1, 1), gamma=0.0, saturation=0.0, hue=2 * torch.pi / 3)
    assert toned.flatten().tolist() == pytest.approx([0.3, 0.6, 0.3], abs=1e-6)  # red has become green
    toned = _toned(torch.tensor([0.6, 0.3, 0.3]).view(3, 1, 1), gamma=0.0, saturation=-100.0, hue=0.0)
    assert toned.flatten().tolist() == pytest.approx([0.4] * 3, abs=1e-6)
    toned = _toned(torch.full((3, 1, 1), 0.5), gamma=float(torch.tensor(2.0).log()), saturation=0.0, hue=0.0)
    assert toned.flatten().tolist() == pytest.approx([0.25] * 3, abs=1e-6)


def test_what_is_drawn_without_turn_and_tone_is_what_it_was() -> None:
    """They are drawn last, so that the weights trained before they were there can be trained again."""
    plain, both = (RandFramed("image", **given) for given in ({}, {"turn": 0.5, "tone": 0.2}))
    for change in (plain, both):
        change.set_random_state(5)
        change.randomize()
    assert (plain.flips == both.flips).all()
    assert (plain.gains == both.gains).all()


def test_a_box_that_leaves_the_frame_is_dropped() -> None:
    item = painted(100, 100, [0, 0, 10, 10])
    zoomed = RandFramed("image", zoom=(2.0, 2.0), shift=0.0, gain=0.0)
    assert len(zoomed.set_random_state(0)(item)["label"]["boxes"]) == 0


def test_same_seed_same_frame() -> None:
    item = painted(60, 40, [10, 10, 40, 30])
    first, second, other = (RandFramed("image").set_random_state(s)(item)["image"] for s in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_mixed_sizes_do_not_make_a_batch() -> None:
    frames = [painted(64, 48, [1, 1, 9, 9]), painted(48, 64, [1, 1, 9, 9])]
    with pytest.raises(ValueError, match=r"one size in a batch.*FitFramed"):
        collate_frames(frames)
    batch = collate_frames(frames[:1] * 2)
    assert batch["image"].shape == (2, 3, 64, 48)
    assert len(batch["label"]) == 2


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="size must be two positive"):
        FitFramed("image", size=(16,))
    with pytest.raises(ValueError, match="must be a picture"):
        FitFramed("image", size=(16, 16))({"image": torch.rand(3, 4, 4, 4)})
    with pytest.raises(ValueError, match="zoom"):
        RandFramed("image", zoom=(2, 1))
    with pytest.raises(ValueError, match=r"turn must be a probability in \[0, 1\], got 2"):
        RandFramed("image", turn=2)
    with pytest.raises(ValueError, match="tone must be >= 0, got -1"):
        RandFramed("image", tone=-1)
