"""Real artefacts are found by their brightness, and the committed boxes are of what was found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from monai_smia.data import endoscopy_datalist


@pytest.fixture(scope="module")
def script() -> Any:
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import real_artefacts
    finally:
        sys.path.remove(folder)
    return real_artefacts


@pytest.fixture
def tissue() -> np.ndarray:
    frame = np.zeros((192, 256, 3), np.float32)
    frame[8:184, 8:248] = (0.6, 0.35, 0.3)
    return frame


def test_plain_tissue_has_no_candidate(script: Any, tissue: np.ndarray) -> None:
    assert list(script.candidates(tissue)) == []


def test_a_highlight_and_an_overexposed_region(script: Any, tissue: np.ndarray) -> None:
    tissue[40:47, 60:72] = 0.95
    tissue[100:130, 150:190] = 1.0
    assert list(script.candidates(tissue)) == [("saturation", 150, 100, 190, 130), ("specularity", 60, 40, 72, 47)]


def test_flecks_near_each_other_are_one_and_small_ones_none(script: Any, tissue: np.ndarray) -> None:
    tissue[40:46, 60:66] = tissue[40:46, 69:75] = 0.95  # three pixels between them
    tissue[80:86, 60:66] = tissue[80:86, 72:78] = 0.95  # six
    tissue[120:123, 60:66] = 0.95  # three high
    found = [box for _, *box in script.candidates(tissue)]
    assert found == [[60, 40, 75, 46], [60, 80, 66, 86], [72, 80, 78, 86]]


def test_text_on_black_is_none(script: Any, tissue: np.ndarray) -> None:
    tissue[60:120, 40:120] = 0
    tissue[80:90, 60:75] = 1.0
    assert list(script.candidates(tissue)) == []


def test_an_object_is_covered_by_a_box_that_holds_its_center(script: Any) -> None:
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    assert script.within(truth, torch.tensor([[4.0, 4, 40, 12], [26, 20, 30, 30]])).tolist() == [True, False]
    assert script.within(truth, torch.zeros(0, 4)).tolist() == [False, False]


def test_the_committed_boxes_are_candidates_of_frames_not_trained_on(
    script: Any, shared_data: Callable[[str], Path]
) -> None:
    frames, folder = script.boxed_frames(), shared_data("endoscopy")
    assert 60 <= len(frames) <= 100
    held = {Path(item["image"]).name for item in endoscopy_datalist(folder, classes=["polyp"], split="val")}
    assert {Path(name).name for name in frames} <= held
    for name in list(frames)[::6]:
        found = [[str(value) for value in box] for box in script.find(folder / name)]
        assert all(box in found for box in frames[name]), name
