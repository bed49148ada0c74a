from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from monai_smia.targets.ct_lung import ThoraxPhantom, ct_datalist, thorax_phantom, write_ct_phantoms

SMALL = {"size": (32, 32, 32), "spacing": (10.0, 10.0, 9.0)}


def real_data(name: str) -> Path:
    root = Path(os.environ.get("MONAI_SMIA_DATA", Path(__file__).parents[3] / "shared" / "data")) / name
    if not root.is_dir():
        pytest.skip(f"needs the real data in {root}: set MONAI_SMIA_DATA")
    return root


@pytest.fixture(scope="module")
def quiet() -> ThoraxPhantom:
    return thorax_phantom(seed=3, noise_hu=0.0)


def litres(phantom: ThoraxPhantom, mask: np.ndarray) -> float:
    return float(mask.sum() * abs(np.linalg.det(phantom.affine)) / 1e6)


def test_types_and_geometry(quiet: ThoraxPhantom) -> None:
    assert (quiet.image.dtype, quiet.lung_mask.dtype, quiet.infection_mask.dtype) == (np.int16, np.uint8, np.uint8)
    assert quiet.image.shape == quiet.lung_mask.shape == quiet.infection_mask.shape == (128, 128, 96)
    assert nib.aff2axcodes(quiet.affine) == ("R", "A", "S")
    center = quiet.affine @ [63.5, 63.5, 47.5, 1]
    np.testing.assert_allclose(center[:3], 0, atol=1e-4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        quiet.image = quiet.image  # type: ignore[misc]


def test_seed_decides_the_patient() -> None:
    first, again, other = (thorax_phantom((40, 40, 40), (9.0, 9.0, 8.0), seed=s) for s in (5, 5, 6))
    for field in dataclasses.fields(ThoraxPhantom):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    assert not np.array_equal(first.image, other.image)
    assert not np.array_equal(first.lung_mask, other.lung_mask)


def test_same_patient_on_every_grid() -> None:
    coarse = thorax_phantom((56, 56, 48), (7.0, 7.0, 7.0), seed=2)
    fine = thorax_phantom((112, 112, 96), (3.5, 3.5, 3.5), seed=2)
    assert litres(coarse, coarse.lung_mask) == pytest.approx(litres(fine, fine.lung_mask), rel=0.02)
    blocks = fine.lung_mask.reshape(56, 2, 56, 2, 48, 2).mean((1, 3, 5)) > 0.5
    dice = 2 * (blocks & (coarse.lung_mask > 0)).sum() / (blocks.sum() + coarse.lung_mask.sum())
    assert dice > 0.97


def test_opacities_do_not_change_the_patient() -> None:
    ill, well = (thorax_phantom(**SMALL, seed=4, opacities=o) for o in (True, False))
    assert ill.infection_mask.any()
    assert not well.infection_mask.any()
    np.testing.assert_array_equal(ill.lung_mask, well.lung_mask)
    far = ndimage.distance_transform_edt(ill.infection_mask == 0) > 4  # voxels: beyond the soft edge
    np.testing.assert_array_equal(ill.image[far], well.image[far])


@pytest.mark.parametrize("seed", range(6))
def test_human_lungs(seed: int) -> None:
    phantom = thorax_phantom((72, 72, 56), (5.2, 5.2, 5.5), seed=seed)
    lung = phantom.lung_mask > 0
    right, left = (litres(phantom, part) for part in np.array_split(lung, [36])[::-1])  # x grows to the right
    assert 3.0 < right + left < 7.0
    assert right > left
    parts, count = ndimage.label(lung)
    sizes = np.sort(np.bincount(parts.ravel())[1:])
    assert count >= 2
    assert sizes[-2:].sum() > 0.99 * lung.sum()
    assert sizes[-2] > 0.3 * lung.sum()
    infected = phantom.infection_mask > 0
    assert 0.001 < infected.sum() / lung.sum() < 0.5
    assert not (infected & ~lung).any()


def test_hu_by_organ(quiet: ThoraxPhantom) -> None:
    image, lung = quiet.image, quiet.lung_mask > 0
    aerated = ndimage.binary_erosion(lung & (quiet.infection_mask == 0), iterations=2)
    assert -910 < np.median(image[aerated]) < -800
    assert image.min() >= -1024
    assert 500 < image.max() <= 1500
    assert image[:, -1].max() <= -990  # room air in front of the patient
    opacity = ndimage.binary_erosion(quiet.infection_mask > 0)
    assert -720 < np.median(image[opacity]) < 60
    body = ndimage.binary_fill_holes(ndimage.binary_opening(image > -200, iterations=2) | lung)
    shares = [
        float(((image > a) & (image < b) & body & ~lung).sum() / (body & ~lung).sum())
        for a, b in ((-130, -80), (20, 90), (150, 1500))
    ]
    fat, soft, bone = shares
    assert fat > 0.05
    assert soft > 0.4
    assert 0.02 < bone < 0.2


def test_lung_holds_vessels(quiet: ThoraxPhantom) -> None:
    inside = ndimage.binary_erosion(quiet.lung_mask > 0, iterations=3) & (quiet.infection_mask == 0)
    assert 0.003 < (quiet.image[inside] > -200).mean() < 0.08


def test_airways_are_not_lung(quiet: ThoraxPhantom) -> None:
    parts, _ = ndimage.label((quiet.image < -900) & (quiet.lung_mask == 0))
    carina_level = parts[64 - 8 : 64 + 8, 64 - 15 : 64 + 8, 60]
    trachea = parts == np.bincount(carina_level[carina_level > 0]).argmax()
    assert trachea[:, :, 60].any()
    assert trachea[:, :, 90].any()
    assert 20 < 1000 * litres(quiet, trachea) < 120  # ml
    assert not trachea[:, 0].any()
    assert not trachea[0].any()


def test_noise_is_scanner_like() -> None:
    arguments = {"size": (64, 64, 64), "spacing": (1.5, 1.5, 1.5), "seed": 1}
    noise = thorax_phantom(**arguments).image - thorax_phantom(**arguments, noise_hu=0.0).image.astype(np.float32)
    tissue = noise[thorax_phantom(**arguments, noise_hu=0.0).image > -900]
    assert tissue.std() == pytest.approx(20, rel=0.05)
    assert abs(tissue.mean()) < 0.5
    assert 0.3 < np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1] < 0.8


@pytest.mark.parametrize(
    ("size", "spacing"),
    [((32, 32, 32), (1.0, 1.0, 1.0)), ((33, 47, 32), (10.0, 8.0, 0.7)), ((64, 32, 32), (6, 12, 20))],
)
def test_any_grid(size: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    phantom = thorax_phantom(size, spacing, seed=8)
    assert phantom.image.shape == size
    np.testing.assert_allclose(np.diag(phantom.affine), [*spacing, 1])


def test_short_volume_lies_amid_the_lungs() -> None:
    slab = thorax_phantom((48, 48, 32), (7.0, 7.0, 1.0), seed=0)
    assert slab.lung_mask.any((0, 1)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (128, 31, 96)}, "size"),
        ({"size": (64, 64)}, "size"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing"),
        ({"spacing": (1.0, float("nan"), 1.0)}, "spacing"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"noise_hu": -1.0}, "noise_hu"),
        ({"noise_hu": float("inf")}, "noise_hu"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message} must be"):
        thorax_phantom(**arguments)  # type: ignore[arg-type]


def test_written_folder_reads_back(tmp_path: Path) -> None:
    folder = write_ct_phantoms(tmp_path / "new" / "set", 3, **SMALL, seed=7)
    assert [len(ct_datalist(folder, split=split)) for split in ("train", "test", None)] == [2, 1, 3]
    phantom = thorax_phantom(**SMALL, seed=9)
    (item,) = ct_datalist(folder, target="infection", split="test")
    for path, expected in ((item["image"], phantom.image), (item["label"], phantom.infection_mask)):
        nifti = nib.load(path)
        stored = np.asanyarray(nifti.dataobj)
        assert stored.dtype == expected.dtype
        np.testing.assert_array_equal(stored, expected)
        np.testing.assert_allclose(nifti.affine, phantom.affine, atol=1e-4)
        assert nifti.header.get_xyzt_units()[0] == "mm"
    assert not list(folder.glob(".*"))  # no temporary file left


def test_complete_folder_is_reused_and_a_broken_one_renewed(tmp_path: Path) -> None:
    def stamps() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    write_ct_phantoms(tmp_path, 1, **SMALL)
    first = stamps()
    write_ct_phantoms(tmp_path, 1, **SMALL)
    assert stamps() == first
    (tmp_path / "phantom_000_lung.nii.gz").unlink()
    write_ct_phantoms(tmp_path, 1, **SMALL)
    second = stamps()
    assert second.keys() == first.keys()
    assert second["labels.csv"] > first["labels.csv"]
    write_ct_phantoms(tmp_path, 1, **SMALL, seed=1)
    assert json.loads((tmp_path / "phantoms.json").read_text())["seed"] == 1
    assert stamps()["phantom_000.nii.gz"] > second["phantom_000.nii.gz"]


def test_interrupted_writing_leaves_no_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ct_phantoms(tmp_path, 1, **SMALL)
    monkeypatch.setattr(
        "monai_smia.targets.ct_lung.phantom.nib.save", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        write_ct_phantoms(tmp_path, 1, **SMALL, seed=1)
    assert not (tmp_path / "labels.csv").exists()
    assert not list(tmp_path.glob(".*"))


def test_bad_seed_leaves_the_folder_alone(tmp_path: Path) -> None:
    write_ct_phantoms(tmp_path, 1, **SMALL)
    with pytest.raises(ValueError, match="seed"):
        write_ct_phantoms(tmp_path, 1, **SMALL, seed=-1)
    assert len(ct_datalist(tmp_path)) == 1


def test_foreign_dataset_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,lung_mask\n")
    with pytest.raises(FileExistsError, match="folder"):
        write_ct_phantoms(tmp_path, 1, **SMALL)
    assert (tmp_path / "labels.csv").read_text() == "file,lung_mask\n"


@pytest.mark.parametrize("count", [0, -1, 1.0, True])
def test_bad_count(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match="count"):
        write_ct_phantoms(tmp_path / "out", count)
    assert not (tmp_path / "out").exists()


def test_histogram_of_the_lungs_is_that_of_real_ones(quiet: ThoraxPhantom) -> None:
    item = next(item for item in ct_datalist(real_data("ct")) if "P001" in item["case"])
    real = np.asanyarray(nib.load(item["image"]).dataobj)[np.asanyarray(nib.load(item["label"]).dataobj) > 0]
    ours = thorax_phantom(seed=3).image[quiet.lung_mask > 0]
    for percent, tolerance in ((5, 50), (25, 50), (50, 50), (75, 60), (95, 150)):
        assert np.percentile(ours, percent) == pytest.approx(np.percentile(real, percent), abs=tolerance)
