"""Small trees in the layouts that the data sets of the SMIA paper are published in, filled with synthetic images."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
from dicom_picture_files import ES, JPEG, OP, VIDEO, picture, save_picture
from PIL import Image

from monai_smia.targets.ct_lung import write_ct_phantoms
from monai_smia.targets.endoscopy import write_artefact_frames
from monai_smia.targets.fundus import write_fundus_phantoms

CT_FOLDERS = {"ct_scan": "ct_scans", "lung_mask": "lung_mask", "infection_mask": "infection_mask"}


def ct(folder: Path) -> Path:
    """A folder with ``labels.csv`` and splits, as the package writes it."""
    return write_ct_phantoms(folder, 2, size=(40, 36, 32), spacing=(8.4, 8.4, 9.0), seed=78)


def six_ct(folder: Path) -> Path:
    """As many patients as an interval needs."""
    return write_ct_phantoms(folder, 6, size=(32, 32, 32), spacing=(10.0, 10.0, 9.0), seed=79)


def covid19_ct(folder: Path) -> Path:
    """Kaggle's "COVID-19 CT scans": NIfTI that is not compressed, left and right lung told apart, no splits."""
    made = write_ct_phantoms(folder / "made", 3, size=(40, 36, 32), spacing=(8.4, 8.4, 9.0), seed=71)
    rows = []
    for number, path in enumerate(sorted(made.glob("phantom_00[0-9].nii.gz")), start=1):
        stem = path.name.removesuffix(".nii.gz")
        names = {"ct_scan": f"coronacases_org_{number:03d}.nii"}
        names |= dict.fromkeys(("lung_mask", "infection_mask"), f"coronacases_{number:03d}.nii")
        for column, source in zip(names, (stem, f"{stem}_lung", f"{stem}_infection"), strict=True):
            volume = nib.load(made / f"{source}.nii.gz")
            values = np.asarray(volume.dataobj)
            if column == "lung_mask":
                values = values * np.where(np.arange(len(values))[:, None, None] < len(values) // 2, 1, 2)
            (folder / CT_FOLDERS[column]).mkdir(exist_ok=True)
            whole = nib.Nifti1Image(values.astype(np.int16), volume.affine)
            nib.save(whole, folder / CT_FOLDERS[column] / names[column])
        rows.append({c: f"../input/covid19-ct-scans/{CT_FOLDERS[c]}/{name}" for c, name in names.items()})
    _table(folder / "metadata.csv", rows)
    shutil.rmtree(made)
    return folder


def healthy_eyes(folder: Path) -> Path:
    """Two eyes of grade 0, as training paints lesions into them."""
    return write_fundus_phantoms(folder, 2, grades=[0], size=96, seed=69)


def fundus(folder: Path) -> Path:
    """A folder with ``labels.csv`` and splits: every grade to train, two to test."""
    made = write_fundus_phantoms(folder, 2, size=96, seed=70)
    with (made / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    _table(made / "labels.csv", [{**row, "split": "test" if n in (5, 8) else "train"} for n, row in enumerate(rows)])
    return made


def many_eyes(folder: Path) -> Path:
    """As many eyes of every grade as there are folds."""
    made = write_fundus_phantoms(folder, 5, size=64, seed=74)
    with (made / "labels.csv").open(newline="") as file:
        _table(made / "labels.csv", [{**row, "split": "train"} for row in list(csv.DictReader(file))])
    return made


def photographs(folder: Path) -> Path:
    """A folder of photographs and nothing else."""
    return _pictures(folder, (96, 96))


def pictures(folder: Path) -> Path:
    """A folder of frames and nothing else."""
    return _pictures(folder, (128, 96))


def aptos(folder: Path) -> Path:
    """APTOS-2019: ``train.csv`` and ``train_images/*.png``."""
    rows = [{"id_code": f"{n:012x}", "diagnosis": grade} for n, (grade, _) in enumerate(_eyes(folder))]
    for row, (_, path) in zip(rows, _eyes(folder), strict=True):
        _move(path, folder / "train_images" / f"{row['id_code']}.png")
    return _only(folder, "train.csv", rows)


def kaggle_dr(folder: Path) -> Path:
    """Kaggle's of 2015: ``trainLabels.csv`` and ``train/*.jpeg``, two eyes a person."""
    eyes = _eyes(folder)
    rows = [{"image": f"{n // 2 + 10}_{('left', 'right')[n % 2]}", "level": grade} for n, (grade, _) in enumerate(eyes)]
    for row, (_, path) in zip(rows, eyes, strict=True):
        _move(path, folder / "train" / f"{row['image']}.jpeg")
    return _only(folder, "trainLabels.csv", rows)


def ead2019(folder: Path) -> Path:
    """EAD-2019: pictures, a text file of boxes beside each, and a class list."""
    made = write_artefact_frames(folder, 5, size=(128, 96), seed=72)
    assert not list(made.glob("*.csv"))
    return made


def endoscopy(folder: Path) -> Path:
    """A folder with ``labels.csv``, splits, and a polyp a frame."""
    rows = []
    for number in range(4):
        name = f"images/frame_{number}.png"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(60, 190, (96, 128, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / name)
        split = "test" if number == 3 else "train"
        rows.append({"file": name, "class": "polyp", "x1": 20, "y1": 30, "x2": 70, "y2": 80, "split": split})
    _table(folder / "labels.csv", rows)
    return folder


def dicom_eyes(folder: Path) -> Path:
    """Photographs of DICOM without grades: a JPEG, and one of two frames."""
    first, second = (np.array(Image.open(file)) for _, file in _eyes(folder)[:2])
    save_picture(picture(first, OP, look="YBR_FULL_422", syntax=JPEG), folder / "dicom" / "a.dcm")
    save_picture(picture([first, second], OP), folder / "dicom" / "b.dcm")
    return folder / "dicom"


def dicom_frames(folder: Path) -> Path:
    """Frames of DICOM without boxes."""
    made = write_artefact_frames(folder / "made", 2, size=(128, 96))
    first, second = (np.array(Image.open(file)) for file in sorted(made.rglob("*.png"))[:2])
    save_picture(picture(first, ES, look="YBR_FULL_422", syntax=JPEG), folder / "dicom" / "a.dcm")
    save_picture(picture([first, second], VIDEO), folder / "dicom" / "b.dcm")
    return folder / "dicom"


def _pictures(folder: Path, size: tuple[int, int]) -> Path:
    for number in range(2):
        values = np.random.default_rng(number).integers(30, 200, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"picture_{number}.{('png', 'jpg')[number]}")
    return folder


def _eyes(folder: Path) -> list[tuple[int, Path]]:
    made = write_fundus_phantoms(folder / "made", 3, size=96, seed=73)
    return [(int(path.name[len("grade")]), path) for path in sorted(made.glob("*.png"))]


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    Image.open(source).save(target)


def _only(folder: Path, table: str, rows: list[dict[str, object]]) -> Path:
    shutil.rmtree(folder / "made")
    _table(folder / table, rows)
    return folder


def _table(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
