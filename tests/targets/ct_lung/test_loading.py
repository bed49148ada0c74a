"""Labels that are none are refused where they are loaded, in every config that has one."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bundles.shipped import CT

from monai_smia.targets.ct_lung import LoadHounsfieldd

WRONG = {
    "the CT": (np.where(np.eye(6)[..., None] > 0, -850, 40), "got -850"),
    "NaN": (np.where(np.eye(6)[..., None] > 0, np.nan, 1.0), "got nan"),
    "halves": (np.where(np.eye(6)[..., None] > 0, 0.5, 0.0), "got 0.5"),
    "infinite": (np.where(np.eye(6)[..., None] > 0, np.inf, 0.0), "got inf"),
}


def item(folder: Path, label: np.ndarray) -> dict[Hashable, Any]:
    label = np.broadcast_to(label, (6, 6, 6))
    kind = np.int16 if np.isfinite(label).all() and (label == label.round()).all() else np.float32
    nib.save(nib.Nifti1Image(np.full((6, 6, 6), -850, np.int16), np.eye(4)), folder / "a.nii.gz")
    nib.save(nib.Nifti1Image(label.astype(kind), np.eye(4)), folder / "a_lung.nii.gz")
    return {"image": str(folder / "a.nii.gz"), "label": str(folder / "a_lung.nii.gz")}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_label(name: str, tmp_path: Path) -> None:
    label, message = WRONG[name]
    with pytest.raises(ValueError, match=rf"^label a_lung\.nii\.gz must hold whole numbers >= 0, .* {message}[,.]"):
        LoadHounsfieldd(["image", "label"], image_only=True)(item(tmp_path, label))


@pytest.mark.parametrize("values", [(0, 1), (0, 1, 2), (0, 255), (1,), (0,)])
def test_whole_numbers_stay(values: tuple[int, ...], tmp_path: Path) -> None:
    label = np.resize(np.array(values), (6, 6, 6))
    loaded = LoadHounsfieldd(["image", "label"], image_only=True)(item(tmp_path, label))
    assert set(loaded["label"].unique().tolist()) == set(values)


def test_rounding_of_a_file_with_a_slope_is_no_fault(tmp_path: Path) -> None:
    label = np.resize(np.array([-1e-6, 1 + 1e-5, 2 - 1e-5]), (6, 6, 6))
    loaded = LoadHounsfieldd(["image", "label"], image_only=True)(item(tmp_path, label))
    assert loaded["label"].round().unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("config", ["attack_eval", "evaluate", "train"])
def test_every_config_of_the_bundle_that_loads_a_label(config: str, tmp_path: Path) -> None:
    parser = CT.parser(config)
    load: list[Any] = parser.get_parsed_content("load")
    with pytest.raises(ValueError, match="label a_lung"):
        load[0](item(tmp_path, WRONG["halves"][0]))
