"""The CT bundle takes DICOM: a series or a folder of series, with masks or without; its rows are those of NIfTI."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from bundles.shipped import CT
from dicom_files import phantom_series, segmentation

from monai_smia.dicom import read_dicom_series
from monai_smia.evaluation.pipeline import UNSUPERVISED
from monai_smia.storage.dicom import stored_units
from monai_smia.targets.ct_lung import ct_datalist

QUICK: dict[str, Any] = {"gradients": 2, "write_volumes": "all", "eps": 0.05, "preprocess#pixdim": [4.5, 4.5, 6.0]}


@pytest.fixture(scope="module")
def thorax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one series, its lungs as a DICOM segmentation."""
    folder = tmp_path_factory.mktemp("thorax")
    series, label = phantom_series(folder)
    (folder / "dicom").mkdir()
    series = series.rename(folder / "dicom" / "NAME_OF_A_PATIENT")
    for number, plane in enumerate(read_dicom_series(series).slices):  # places that float32 holds, as NIfTI has them
        ds = pydicom.dcmread(plane.path)
        ds.PixelSpacing, ds.ImagePositionPatient = [4.5, 4.5], [-180, -144, 6 * number]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.save_as(plane.path)
    ct = read_dicom_series(series)
    mask = (np.asarray(nib.load(label).dataobj) > 0).astype(np.uint8)
    segmentation([plane.header for plane in ct.slices], mask, folder / "dicom" / "seg" / "lungs.dcm", ["Lung"])
    return folder


def as_nifti(thorax: Path, folder: Path) -> Path:
    """The same image and lungs as NIfTI files with a table."""
    folder.mkdir()
    ct = read_dicom_series(thorax / "dicom" / "NAME_OF_A_PATIENT")
    nib.save(
        nib.Nifti1Image(ct.values().astype(np.int16), ct.affine), folder / f"{ct.name}.nii.gz"
    )  # whose name draws are seeded by
    mask = np.asarray(nib.load(thorax / "label.nii.gz").dataobj) > 0
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), ct.affine), folder / "a_lung.nii.gz")
    (folder / "labels.csv").write_text(f"file,lung_mask,split\n{ct.name}.nii.gz,a_lung.nii.gz,test\n")
    return folder


def rows_of(dataset_dir: Path, output_dir: Path, **options: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    parser = CT.parser("attack_eval", dataset_dir=str(dataset_dir), output_dir=str(output_dir), **{**QUICK, **options})
    for part in ("initialize", "evaluation"):
        content = parser.get_parsed_content(part)
    content.progress, content.figure, content.num_probed_cases = False, None, 0
    content.attacks = [row for row in content.attacks if row.name in ("Clean", "Noise", "CosPGD")]
    return {(r["attack"], r["setting"], r["loss"], r["stage"]): r for r in content.run()["rows"]}


def test_its_rows_are_those_of_the_same_series_as_nifti(thorax: Path, tmp_path: Path) -> None:
    dicom = rows_of(thorax / "dicom", tmp_path / "dicom")
    nifti = rows_of(as_nifti(thorax, tmp_path / "nifti"), tmp_path / "out")
    assert dicom.keys() == nifti.keys()
    assert {stage for *_, stage in dicom} == {"computed", "stored"}
    for key, row in nifti.items():
        for name, value in row.items():
            if name not in ("seconds", "patients", "listed"):
                same = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
                assert dicom[key][name] == same, (key, name)
    assert dicom["Clean", "", None, "computed"]["jaccard"] > 0.5
    for folder in (tmp_path / "dicom" / "volumes").glob("*_adversarial"):
        file = nib.load(tmp_path / "out" / "volumes" / f"{folder.name}.nii.gz")
        ours, theirs = read_dicom_series(folder), np.asarray(file.dataobj)
        assert np.array_equal(ours.values(), theirs)  # stored integers
        assert 0 < np.abs(stored_units(folder, thorax / "dicom" / "NAME_OF_A_PATIENT")).max() <= 70
        assert pydicom.dcmread(next(folder.iterdir())).SeriesDescription.startswith("ADVERSARIAL")
    for file in (tmp_path / "dicom").rglob("*.*"):
        if file.suffix in (".json", ".jsonl", ".html", ".csv"):
            assert "NAME_OF_A_PATIENT" not in file.read_text(), file
            assert "SECRET" not in file.read_text(), file


def test_without_masks_the_clean_decision_is_the_reference_and_the_page_says_so(thorax: Path, tmp_path: Path) -> None:
    series = shutil.copytree(thorax / "dicom" / "NAME_OF_A_PATIENT", tmp_path / "series")
    rows = rows_of(series, tmp_path / "out")  # a series itself
    assert rows["Clean", "", None, "computed"]["jaccard"] == 1.0
    assert min(row["jaccard"] for row in rows.values()) < 0.98
    page = (tmp_path / "out" / "report.html").read_text()
    assert UNSUPERVISED in page
    assert UNSUPERVISED in json.loads((tmp_path / "out" / "spec.json").read_text())["about"]["limitations"]


def test_inference_writes(thorax: Path, tmp_path: Path) -> None:
    CT.workflow("inference", output_dir=str(tmp_path), dataset_dir=str(thorax / "dicom")).run()
    (written,) = tmp_path.glob("*.nii.gz")
    assert written.name == "NAME_OF_A_PATIENT_lung.nii.gz"  # beside its own data, called as its folder
    found, truth = nib.load(written), np.asarray(nib.load(thorax / "label.nii.gz").dataobj) > 0
    assert found.affine == pytest.approx(read_dicom_series(thorax / "dicom" / "NAME_OF_A_PATIENT").affine, abs=1e-3)
    decided = np.asarray(found.dataobj) > 0
    assert (decided & truth).sum() / (decided | truth).sum() > 0.8


def test_evaluate(thorax: Path, tmp_path: Path) -> None:
    flow = CT.workflow("evaluate", output_dir=str(tmp_path), dataset_dir=str(thorax / "dicom"))
    flow.run()
    assert flow.evaluator.state.metrics["val_mean_jaccard"] > 0.8


def test_labels_beside_a_series_are_found_by_its_name(thorax: Path, tmp_path: Path) -> None:
    shutil.copytree(thorax / "dicom" / "NAME_OF_A_PATIENT", tmp_path / "one")
    mask = np.asarray(nib.load(thorax / "label.nii.gz").dataobj) > 0
    ct = read_dicom_series(tmp_path / "one")
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), ct.affine), tmp_path / "one_lung.nii.gz")
    (item,) = ct_datalist(tmp_path)
    assert item == {
        "image": str(tmp_path / "one"),
        "label": str(tmp_path / "one_lung.nii.gz"),
        "case": ct.name,
        "patient": item["patient"],
    }
    assert "SECRET" not in item["patient"]


def test_files_of_a_series_that_lie_beside_others(thorax: Path, tmp_path: Path) -> None:
    shutil.copytree(thorax / "dicom" / "NAME_OF_A_PATIENT", tmp_path / "all")
    shutil.copy(thorax / "dicom" / "seg" / "lungs.dcm", tmp_path / "all")
    (item,) = ct_datalist(tmp_path / "all")
    assert len(item["image"]) == read_dicom_series(thorax / "dicom" / "NAME_OF_A_PATIENT").shape[2]
    assert item["label"] == str(tmp_path / "all" / "lungs.dcm")
    loaded = CT.parser("attack_eval", dataset_dir=str(tmp_path / "all")).get_parsed_content("evaluation").loading(item)
    assert float(loaded["label"].mean()) > 0.01
    assert loaded["label"].shape == loaded["image"].shape


def _other_segment(folder: Path) -> None:
    ds = pydicom.dcmread(folder / "seg" / "lungs.dcm")
    ds.SegmentSequence[0].SegmentLabel = "Heart"
    ds.save_as(folder / "seg" / "lungs.dcm")


def _second(folder: Path) -> None:
    shutil.copy(folder / "seg" / "lungs.dcm", folder / "seg" / "again.dcm")


def _one_more(folder: Path) -> None:
    other = shutil.copytree(folder / "NAME_OF_A_PATIENT", folder / "other")
    for file in other.iterdir():
        ds = pydicom.dcmread(file)
        ds.SeriesInstanceUID, ds.SOPInstanceUID = f"{ds.SeriesInstanceUID[:-2]}.7", f"{ds.SOPInstanceUID[:-2]}.7"
        ds.save_as(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_second, "must have one mask of its lung, got again.dcm, lungs.dcm"),
        (_one_more, r"series_\w{12} has no mask of it, and others have"),
    ],
)
def test_what_cannot_be_told_is_refused(thorax: Path, change: Any, said: str, tmp_path: Path) -> None:
    folder = shutil.copytree(thorax / "dicom", tmp_path / "dicom")
    change(folder)
    with pytest.raises(ValueError, match=said):
        ct_datalist(folder)


def test_a_segmentation_of_something_else_is_no_label(thorax: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(thorax / "dicom", tmp_path / "dicom")
    _other_segment(folder)
    (item,) = ct_datalist(folder)
    assert "label" not in item
    (folder / "labels.csv").write_text("file,lung_mask\nNAME_OF_A_PATIENT,seg/lungs.dcm\n")
    (item,) = ct_datalist(folder, split="all")  # a table that says so all the same
    loading = CT.parser("attack_eval", dataset_dir=str(folder), split="all").get_parsed_content("evaluation").loading
    with pytest.raises(RuntimeError) as caught:
        loading(item)
    assert "lungs.dcm has no segment of the lung, by label or code: heart." in str(caught.value.__cause__)


def test_a_series_of_fewer_values_keeps_the_attack_within_them(thorax: Path) -> None:
    evaluation = CT.parser("attack_eval", dataset_dir=str(thorax / "dicom")).get_parsed_content("evaluation")
    case = evaluation.load(evaluation.cases[0])
    assert case.clip == (-1024.0, 3071.0)  # 12 bits from -1024 on
