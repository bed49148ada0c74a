from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from monai_smia.targets.endoscopy import (
    EAD_CLASSES,
    add_artefacts,
    endoscopy_datalist,
    mucosa,
    suppress_highlights,
    tissue_field,
)


@pytest.mark.parametrize("name", EAD_CLASSES)
def test_what_changes_lies_in_the_boxes(name: str) -> None:
    """Most of the change is inside, where shadows, halos and soft edges may reach out a little; and boxes are tight."""
    frame = mucosa((160, 128), seed=4)
    for seed in range(40):
        drawn = add_artefacts(frame, seed=seed, classes=[name])
        change = np.abs(drawn.image - frame).max(2)
        if not len(drawn.boxes):
            assert change.max() == 0
            continue
        inside = np.zeros(frame.shape[:2], bool)
        for x1, y1, x2, y2 in drawn.boxes.astype(int):
            assert 0 <= x1 < x2 <= 160
            assert 0 <= y1 < y2 <= 128
            inside[y1:y2, x1:x2] = True
            box = change[y1:y2, x1:x2] > 0.02
            if name != "blur":  # which leaves even tissue as it is
                assert box.any(0).mean() > 0.6
                assert box.any(1).mean() > 0.6
        assert change[inside].sum() > (0.5 if name in ("blur", "contrast", "saturation") else 0.65) * change.sum()


def test_boxes_of_hard_edges_are_exact() -> None:
    """A fleck is opaque: its box is where the picture is nearly white."""
    frame = np.full((128, 160, 3), 0.4, np.float32)
    for seed in range(60):
        drawn = add_artefacts(frame, seed=seed * 50, classes=["specularity"])
        if len(drawn.boxes) == 1:
            rows, columns = np.nonzero(drawn.image.min(2) > 0.72)
            assert abs(columns.min() - drawn.boxes[0][0]) <= 2
            assert abs(rows.max() + 1 - drawn.boxes[0][3]) <= 2
            return
    raise AssertionError("no frame with one fleck")


def test_same_seed_same_artefacts_and_all_classes_appear() -> None:
    frame = mucosa((128, 96), seed=0)
    a, b, c = (add_artefacts(frame, seed=s) for s in (5, 5, 6))
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.boxes, b.boxes)
    assert not np.array_equal(a.image, c.image)
    labels = np.concatenate([add_artefacts(frame, seed=s).labels for s in range(40)])
    assert set(labels) == set(range(len(EAD_CLASSES)))


def test_black_surroundings_stay_black() -> None:
    frame = mucosa((128, 96), seed=3)
    outside = ~tissue_field(frame) & (frame.max(2) == 0)
    far = ndimage.binary_erosion(outside, iterations=4)
    assert far.any()
    assert max(add_artefacts(frame, seed=s).image[far].max() for s in range(15)) < 0.05
    black = add_artefacts(np.zeros((96, 128, 3), np.float32), seed=1)
    assert len(black.boxes) == 0
    assert black.image.max() == 0


def test_small_highlights_are_filled_from_their_surroundings() -> None:
    frame = np.full((128, 160, 3), (0.6, 0.35, 0.3), np.float32)
    clean = frame.copy()
    frame[60:64, 80:86] = 0.97
    filled = suppress_highlights(frame)
    assert np.abs(filled - clean).max() < 0.02
    assert np.abs(suppress_highlights(clean) - clean).max() == 0


def test_mucosa_is_tissue_of_every_shape() -> None:
    for seed in range(6):
        frame = mucosa((128, 96), seed=seed)
        assert frame.shape == (96, 128, 3)
        assert 0 <= frame.min() <= frame.max() <= 1
        red, green, blue = frame[tissue_field(frame)].mean(0)
        assert red > green > 0.05
        assert red > blue
    assert not np.array_equal(mucosa((128, 96), seed=0), mucosa((128, 96), seed=1))


def test_real_frames_take_artefacts(shared_data: Callable[[str], Path]) -> None:
    items = endoscopy_datalist(shared_data("endoscopy"), classes=["polyp"], split="test")
    counts = []
    for seed, item in enumerate(items[:12]):
        frame = np.asarray(Image.open(item["image"]).convert("RGB"), np.float32) / 255
        field = tissue_field(frame)
        assert 0.1 < field.mean() < 1
        counts.append(len(add_artefacts(suppress_highlights(frame), seed=seed).boxes))
    assert np.mean(counts) > 2


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (np.zeros((96, 96)), {}, r"shape \(H, W, 3\)"),
        (np.zeros((32, 96, 3)), {}, "at least 64"),
        (np.full((96, 96, 3), 2.0), {}, r"lie in \[0, 1\]"),
        (np.full((96, 96, 3), np.nan), {}, r"lie in \[0, 1\]"),
        (np.zeros((96, 96, 3)), {"classes": ["smoke"]}, "got smoke"),
    ],
)
def test_bad_input(frame: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        add_artefacts(frame, **options)
    with pytest.raises(ValueError, match="at least 64"):
        mucosa((32, 96))
