"""Pictures that are there twice, among the cases or on both sides of a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from evaluation.test_runner import evaluation
from PIL import Image
from scipy.ndimage import gaussian_filter

from monai_smia.evaluation import find_duplicates
from monai_smia.evaluation.facts import about_of
from monai_smia.targets.fundus import fundus_datalist, write_fundus_phantoms


def picture(path: Path, seed: int, size: int = 96, **options: Any) -> dict[str, str]:
    """Soft colours, drawn by the seed, at any size."""
    low = gaussian_filter(np.random.default_rng(seed).normal(size=(24, 24, 3)), (2, 2, 0))
    low = (low - low.min()) / np.ptp(low) * 255
    Image.fromarray(low.astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC).save(path, **options)
    return {"case": path.stem, "image": str(path)}


def volume(path: Path, seed: int, shift: float = 0) -> dict[str, str]:
    values = gaussian_filter(np.random.default_rng(seed).normal(size=(40, 36, 20)), 2) * 5000
    nib.save(nib.Nifti1Image((values + shift).astype(np.float32), np.eye(4)), path)
    return {"case": path.name, "image": str(path)}


def test_a_picture_is_found_though_it_was_compressed_or_resized(tmp_path: Path) -> None:
    training = [picture(tmp_path / f"train{k}.png", k) for k in range(4)]
    cases = [
        picture(tmp_path / "same.png", 2),
        picture(tmp_path / "compressed.jpg", 1, quality=70),
        picture(tmp_path / "larger.png", 3, size=160),
        picture(tmp_path / "another.png", 11),
    ]
    found = find_duplicates(cases, training)
    assert found == [("same", "train2"), ("compressed", "train1"), ("larger", "train3")]


def test_cases_are_compared_with_one_another(tmp_path: Path) -> None:
    cases = [picture(tmp_path / f"{k}.png", k % 2) for k in range(3)]
    assert find_duplicates(cases) == [("2", "0")]


def test_volumes(tmp_path: Path) -> None:
    training = [volume(tmp_path / f"t{k}.nii.gz", k) for k in range(2)]
    cases = [volume(tmp_path / "a.nii", 1, shift=3), volume(tmp_path / "b.nii", 5)]
    assert find_duplicates(cases, training) == [("a.nii", "t1.nii.gz")]


def test_what_cannot_be_read_or_is_flat_is_a_duplicate_of_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (40, 40), "black").save(tmp_path / "flat.png")
    items = [{"case": name, "image": str(tmp_path / name)} for name in ("text.png", "flat.png")]
    assert find_duplicates(items, items) == []
    assert "text.png cannot be compared" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_eyes_of_one_kind_are_not_the_same(tmp_path: Path) -> None:
    """Photographs of different eyes look alike: a dark frame, a bright disc."""
    eyes = fundus_datalist(write_fundus_phantoms(tmp_path, 3, size=128))
    assert find_duplicates(eyes) == []


def test_real_photographs_on_both_sides_of_the_split(shared_data: Any) -> None:
    """One of the first ten test photographs' neighbours is known to be the same: IDRiD_064 is IDRiD_118."""
    folder = shared_data("fundus")
    train = [item for item in fundus_datalist(folder, split="train") if item["case"][-1] == "8"]
    test = [item for item in fundus_datalist(folder, split="test") if item["case"][-1] == "4"]
    assert find_duplicates(test, train) == [("test_IDRiD_064", "train_IDRiD_118")]


def test_the_report_says_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = [volume(tmp_path / f"c{k}.nii", k) for k in range(2)]
    told = evaluation(cases, tmp_path / "out", training=[volume(tmp_path / "t.nii", 1)])
    limits = about_of(told)["limitations"]
    assert "1 of the 2 cases, compared with 1 image of the training" in limits[0]
    assert "c1.nii (as t.nii)" in limits[0]
    assert "may be better than those of unseen patients" in caplog.text
    assert "limitations" not in about_of(evaluation(cases, tmp_path / "out"))
