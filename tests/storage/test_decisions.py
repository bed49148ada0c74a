"""Decisions beside stored volumes as NIfTI: what is read back is the decision, voxel by voxel, on the volume's grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from evaluation.test_runner import LOAD, evaluation, write_case
from torch import Tensor

from monai_smia.attacks import BIM
from monai_smia.evaluation import PlannedAttack
from monai_smia.evaluation.overlays import write_overlays
from monai_smia.files import MARK, WriteError
from monai_smia.storage import NiftiStorage
from monai_smia.storage.decisions import write_decision

OBLIQUE = np.array([[0.9, -0.1, 0, 4], [0.1, 0.9, 0, 5], [0, 0, 2.0, 6], [0, 0, 0, 1.0]])
SHAPE = (5, 4, 3)


def volume(path: Path, shape: tuple[int, ...] = SHAPE, affine: np.ndarray = OBLIQUE) -> Path:
    image: Any = nib.Nifti1Image(np.zeros(shape, np.int16), affine)
    image.set_qform(affine, code=2)
    image.set_sform(affine, code=4)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def values(path: Path) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj)


@pytest.mark.parametrize(("classes", "dtype"), [(2, np.uint8), (256, np.uint8), (300, np.int32)])
def test_a_label_map(classes: int, dtype: Any, tmp_path: Path) -> None:
    decision = np.random.default_rng(0).integers(0, classes, (1, *SHAPE))
    decision[0, 0, 0, 0] = classes - 1
    path = write_decision(tmp_path / "d.nii.gz", decision, volume(tmp_path / "v.nii.gz"), "clean")
    found: Any = nib.load(path)
    assert np.array_equal(values(path), decision[0])
    assert found.get_data_dtype() == dtype
    assert np.array_equal(found.affine, nib.load(tmp_path / "v.nii.gz").affine)  # type: ignore[attr-defined]
    assert (int(found.header["qform_code"]), int(found.header["sform_code"])) == (2, 4)
    assert found.header.get_xyzt_units()[0] == "mm"
    assert found.header["descrip"].item().decode() == MARK
    assert found.header.get_intent()[::2] == ("label", "clean")


def test_masks_that_overlap(tmp_path: Path) -> None:
    decision = np.random.default_rng(1).integers(0, 2, (3, *SHAPE))
    path = write_decision(tmp_path / "d.nii.gz", decision, volume(tmp_path / "v.nii.gz"))
    assert np.array_equal(np.moveaxis(values(path), -1, 0), decision)


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (np.zeros((1, 4, 5, 3)), r"on the grid of v\.nii\.gz \(5, 4, 3\), got \(1, 4, 5, 3\)"),
        (np.zeros(SHAPE), "on the grid"),
        (np.zeros((2, 5, 4)), "masks of three dimensions"),
        (np.full((1, *SHAPE), 0.5), "whole numbers from 0 on"),
        (np.full((1, *SHAPE), -1), "whole numbers from 0 on"),
    ],
)
def test_what_is_no_decision_on_it(decision: np.ndarray, text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=text):
        write_decision(tmp_path / "d.nii.gz", decision, volume(tmp_path / "v.nii.gz"))
    assert not (tmp_path / "d.nii.gz").exists()


def test_a_file_that_does_not_hold_it_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    like, save = volume(tmp_path / "v.nii.gz"), nib.save
    monkeypatch.setattr(nib, "save", lambda image, path: save(nib.Nifti1Image(image.dataobj[::-1], image.affine), path))
    decision = np.zeros((1, *SHAPE))
    decision[0, 0] = 1
    with pytest.raises(WriteError, match=r"d\.nii\.gz does not hold the decision"):
        write_decision(tmp_path / "d.nii.gz", decision, like)
    assert not (tmp_path / "d.nii.gz").exists()


def test_an_evaluation_writes_both_on_the_grid_of_the_source(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    attack = BIM(eps=70.0, clip=(-1024.0, 3071.0), steps=2, progress=False)
    plan = [PlannedAttack(), PlannedAttack(attack, 0.05)]
    run = evaluation([case], tmp_path / "out", attacks=plan)
    run.run()
    (stored,) = (tmp_path / "out" / "volumes").glob("*_adversarial.nii.gz")
    stem = stored.name.removesuffix("_adversarial.nii.gz")
    source: Any = nib.load(case["image"])
    differ = []
    for kind, file in (("clean", case["image"]), ("attacked", str(stored))):
        image = LOAD({"image": file, "label": case["label"]})["image"]
        decision = run.victim.decide(run.victim.infer(image[None]))[0, 0].numpy()
        path = stored.with_name(f"{stem}_decision_{kind}.nii.gz")
        assert np.array_equal(values(path), decision)
        assert np.array_equal(nib.load(path).affine, source.affine)  # type: ignore[attr-defined]
        assert 0 < decision.mean() < 1
        differ.append(decision)
    assert (differ[0] != differ[1]).any()
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<a href="volumes">volumes</a> (beside every volume the decision on the clean and on the stored' in page
    named = json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]
    assert {f"volumes/{stem}_decision_{kind}.nii.gz" for kind in ("clean", "attacked")} <= named.keys()


def test_without_volumes_there_are_none_and_the_page_names_none(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    attack = BIM(eps=70.0, clip=(-1024.0, 3071.0), steps=2, progress=False)
    evaluation(
        [case], tmp_path / "out", attacks=[PlannedAttack(), PlannedAttack(attack, 0.05)], write_volumes="none"
    ).run()
    assert not list(tmp_path.rglob("*_decision_*"))
    assert "beside every volume" not in (tmp_path / "out" / "report.html").read_text()


class Turning(NiftiStorage):
    """Of images that have the axes of their files in another order."""

    def in_file_axes(self, image: Tensor, source: Any) -> Tensor:
        return image.flip(1).permute(0, 3, 1, 2)


def test_a_storage_that_turns_axes_turns_decisions(tmp_path: Path) -> None:
    """A cube, whose shape would tell nothing."""
    path = volume(tmp_path / "a_x_adversarial.nii.gz", (4, 4, 4))
    clean = torch.randint(0, 2, (1, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    paths = write_overlays(path, clean, 1 - clean, None, set(), storage=Turning(tmp_path), source="a")
    assert [each.name for each in paths] == ["a_x_decision_clean.nii.gz", "a_x_decision_attacked.nii.gz"]
    expected = clean.flip(1).permute(0, 3, 1, 2)[0].numpy()
    assert np.array_equal(values(paths[0]), expected)
    assert np.array_equal(values(paths[1]), 1 - expected)


def test_of_several_files_they_lie_beside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a_x_adversarial").mkdir()
    volume(tmp_path / "a_x_adversarial" / "t1.nii.gz")
    clean = torch.ones(1, *SHAPE)
    paths = write_overlays(tmp_path / "a_x_adversarial", clean, clean, None, set())
    assert sorted(tmp_path.glob("*.nii.gz")) == sorted(paths)
    assert len(paths) == 2


def test_where_there_is_no_decision_on_the_grid(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, told = volume(tmp_path / "a_adversarial.nii.gz"), set[str]()
    with caplog.at_level("INFO", logger="monai_smia"):
        for _ in range(2):
            other = torch.zeros(1, 4, 5, 3)
            assert write_overlays(path, other, other, None, told) == []
    assert caplog.text.count("no decisions beside stored volumes: the decision is not on their grid (5, 4, 3)") == 1
    nothing: list[Any] = [None, [{"boxes": 1}], torch.tensor(2), torch.tensor([1, 0])]
    assert all(write_overlays(path, each, each, None, told) == [] for each in nothing)  # no segmentation
    assert write_overlays(tmp_path / "gone_adversarial.nii.gz", torch.ones(1, *SHAPE), 1, None, told) == []
