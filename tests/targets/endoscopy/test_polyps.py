"""Polyps that are drawn: their boxes are exact, and a detector of real ones finds them (tests/bundles)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from monai_smia.targets.endoscopy import (
    EAD_CLASSES,
    RandArtefactsd,
    add_polyps,
    endoscopy_datalist,
    mucosa,
    tissue_field,
    write_artefact_frames,
    write_polyp_frames,
)


@pytest.mark.parametrize("seed", range(30))
def test_what_changes_is_the_polyp_and_its_shade(seed: int) -> None:
    """One or two, apart; nearly all of the change is inside of their boxes, which are tight."""
    frame = mucosa((160, 128), seed=seed)
    image, boxes = add_polyps(frame, seed=seed)
    assert 1 <= len(boxes) <= 2
    assert image.dtype == np.float32
    change, inside = np.abs(image - frame).max(2), np.zeros(frame.shape[:2], bool)
    for x1, y1, x2, y2 in boxes.astype(int):
        assert 0 <= x1 < x2 <= 160
        assert 0 <= y1 < y2 <= 128
        assert not inside[y1:y2, x1:x2].any()
        inside[y1:y2, x1:x2] = True
        part = change[y1:y2, x1:x2] > 0.02
        assert part.any(0).mean() > 0.9
        assert part.any(1).mean() > 0.9
    assert change[inside].sum() > 0.8 * change.sum()
    assert change[frame.max(2) == 0].max() == 0  # what is no picture stays black


def test_the_same_seed_draws_the_same() -> None:
    frame = mucosa((96, 80), seed=1)
    (first, boxes), (again, same), (other, _) = (add_polyps(frame, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert np.array_equal(boxes, same)
    assert not np.array_equal(first, other)


def test_nothing_is_drawn_where_there_is_no_tissue() -> None:
    image, boxes = add_polyps(np.zeros((64, 96, 3), np.float32), seed=0)
    assert boxes.shape == (0, 4)
    assert image.max() == 0


@pytest.mark.parametrize("frame", [np.zeros((64, 64)), np.zeros((32, 96, 3)), np.full((64, 64, 3), 255.0)])
def test_a_frame_is_a_picture(frame: Any) -> None:
    with pytest.raises(ValueError, match="frame must"):
        add_polyps(frame)


def test_frames_come_back_as_they_were_drawn(tmp_path: Path) -> None:
    folder = write_polyp_frames(tmp_path / "frames", 2, size=(96, 80), seed=5)
    items = endoscopy_datalist(folder, classes=["polyp"])
    assert len(items) == 2
    for number, item in enumerate(items):
        _, boxes = add_polyps(mucosa((96, 80), seed=5 + number), seed=5 + number)
        assert item["label"]["labels"] == [0] * len(boxes)
        assert np.allclose(item["label"]["boxes"], boxes, atol=1e-3)
    times = [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]
    write_polyp_frames(folder, 2, size=(96, 80), seed=5)
    assert [path.stat().st_mtime_ns for path in sorted(folder.iterdir())] == times
    write_polyp_frames(folder, 1, size=(128, 80), seed=6)
    (item,) = endoscopy_datalist(folder, classes=["polyp"])  # none of the frames before
    assert Image.open(item["image"]).size == (128, 80)


def test_other_frames_of_the_same_name_are_drawn_on_anew(tmp_path: Path) -> None:
    made = []
    for gray, name in ((90, "one"), (200, "other")):
        (tmp_path / name).mkdir()
        Image.new("RGB", (96, 80), (gray, gray, gray)).save(tmp_path / name / "a.png")
        folder = write_artefact_frames(tmp_path / "drawn", 1, frames=[tmp_path / name / "a.png"], size=(96, 80))
        made.append(float(np.median(np.asarray(Image.open(folder / "frame_00000.png")))))
    assert made[1] > made[0] + 50


def test_a_folder_of_the_other_kind_is_left_alone(tmp_path: Path) -> None:
    write_artefact_frames(tmp_path / "frames", 1, size=(96, 80))
    with pytest.raises(FileExistsError, match=r"another dataset \(no polyps.json\)"):
        write_polyp_frames(tmp_path / "frames", 1, size=(96, 80))


def test_data_of_the_other_detector_is_told_where_it_goes(tmp_path: Path) -> None:
    folder = write_artefact_frames(tmp_path / "frames", 3, size=(96, 80), seed=3)
    with pytest.raises(ValueError, match=r"known: polyp; the endoscopy bundle knows it with configs/artefacts\.yaml"):
        endoscopy_datalist(folder, classes=["polyp"])
    folder = write_polyp_frames(tmp_path / "polyps", 1, size=(96, 80))
    with pytest.raises(ValueError, match=r"instrument; the endoscopy bundle knows it without configs/artefacts\.yaml"):
        endoscopy_datalist(folder, classes=EAD_CLASSES)


@pytest.mark.parametrize("prob", [0.0, 0.5, 1.0])
def test_artefacts_are_drawn_as_often_as_asked_for(prob: float) -> None:
    """Boxes stay; the item that is given is not written to."""
    frame = torch.from_numpy(mucosa((96, 80), seed=2).transpose(2, 1, 0).copy())
    item = {"image": frame.clone(), "label": {"boxes": torch.tensor([[4.0, 5, 30, 40]]), "labels": torch.tensor([0])}}
    transform = RandArtefactsd("image", prob=prob).set_random_state(0)
    drawn = [transform(item) for _ in range(12)]
    changed = [not torch.equal(one["image"], frame) for one in drawn]
    assert 12 * prob - 5 <= sum(changed) <= 12 * prob + 5
    assert any(changed) == bool(prob)
    assert all(changed) or prob < 1
    assert all(one["label"] is item["label"] for one in drawn)
    assert torch.equal(item["image"], frame)
    assert all(one["image"].shape == frame.shape and one["image"].min() >= 0 for one in drawn)


@pytest.mark.parametrize("prob", [-0.1, 1.5, float("nan")])
def test_a_probability_is_one(prob: float) -> None:
    with pytest.raises(ValueError, match="prob must be a probability"):
        RandArtefactsd("image", prob=prob)


def test_artefacts_lie_on_tissue_of_the_frame_as_it_is_turned() -> None:
    """Width first, as MONAI loads pictures: what lies outside of the tissue stays as it is."""
    frame = mucosa((128, 80), seed=6)
    item = {"image": torch.from_numpy(frame.transpose(2, 1, 0).copy())}
    drawn = RandArtefactsd("image", prob=1.0).set_random_state(1)(item)["image"].numpy().transpose(2, 1, 0)
    change = np.abs(drawn - frame).max(2)
    assert change.max() > 0
    assert change[tissue_field(frame)].sum() > 0.9 * change.sum()
