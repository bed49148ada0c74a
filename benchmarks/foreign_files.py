"""Files of other packages, read by ours: equal to what their own package makes of them, or refused and the cause named.

Looked up where they are installed, never downloaded: pydicom and pydicom-data, NiBabel, highdicom; pictures of Pillow,
scikit-image, scikit-learn and Matplotlib. DICOM is compared with pydicom's pixels and rescaling, NIfTI with NiBabel,
pictures with Pillow. Wrong is: other values, an error that is no sentence of ours, or "truncated" behind a file that
its own package reads whole.

    python benchmarks/foreign_files.py
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from measured import Claims, Row, Table, add_save, save
from monai.transforms import LoadImage
from PIL import Image
from pydicom.pixels import apply_rescale, pixel_array

from monai_smia.dicom import DicomSeriesError
from monai_smia.dicom.files import decode, read_header, slices_of
from monai_smia.evaluation.cases import check_input_files
from monai_smia.storage.whole import DamagedFileError
from monai_smia.transforms import LoadPhotograph

PACKAGES = {
    "pydicom": ("data/test_files", "data/charset_files"),
    "data_store": ("",),  # pydicom-data
    "highdicom": ("",),
    "nibabel": ("tests/data", "nicom/tests/data"),
    "PIL": ("",),
    "skimage": ("data",),
    "sklearn": ("datasets/images",),
    "matplotlib": ("mpl-data",),
}
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".webp")
VOLUMES = (".nii", ".nii.gz")
LOADED, WRONG = "loaded", "wrong"
REFUSALS = (DicomSeriesError, DamagedFileError, ValueError)


def files_of(package: str) -> list[Path]:
    """The files of a package, none where it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return []
    root = Path(next(iter(spec.submodule_search_locations)))
    found = {file for part in PACKAGES[package] for file in (root / part).rglob("*") if file.is_file()}
    return sorted(file for file in found if file.suffix not in (".py", ".pyc", ".pyi", ".so", ".txt", ".md", ".rst"))


def reader_of(path: Path) -> Callable[[Path], str] | None:
    """How a file is compared; None for what is none of ours to read."""
    name = path.name.lower()
    if name.endswith(VOLUMES):
        return volume
    if name.endswith(PICTURES):
        return picture
    head = path.open("rb").read(132)
    return series if head[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".ima", ".img_dcm") else None


def series(path: Path) -> str:
    """A DICOM file: all of its planes in their unit."""
    try:
        header = read_header(path)
        if header is None:
            return "a DICOMDIR"
        planes = slices_of(path, header)
        stored = decode(path)
    except DicomSeriesError as error:
        return _refused(str(error), path)
    theirs = pydicom.dcmread(path)
    frames = stored if stored.ndim == 3 else stored[None]
    expected = pixel_array(theirs, raw=True)
    expected = expected if expected.ndim == 3 else expected[None]
    ours = np.stack([frames[p.frame] * p.slope + p.intercept for p in planes])
    if "PerFrameFunctionalGroupsSequence" not in theirs:
        expected = np.stack([apply_rescale(frame, theirs) for frame in expected])
        return LOADED if np.array_equal(ours, expected) else WRONG
    return LOADED if np.array_equal(frames, expected) else WRONG


def volume(path: Path) -> str:
    """A NIfTI file."""
    try:
        check_input_files({"image": str(path)})
    except REFUSALS as error:
        return _refused(str(error), path)
    image = LoadImage(reader="NibabelReader", image_only=True)(path)
    return LOADED if np.allclose(image, nib.load(path).get_fdata(), rtol=1e-6, equal_nan=True) else WRONG


def picture(path: Path) -> str:
    """A picture."""
    try:
        check_input_files({"image": str(path)})
        image = LoadPhotograph(min_size=1)(path)
    except REFUSALS as error:
        return _refused(str(error), path)
    return LOADED if np.array_equal(image, np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)) else WRONG


def _refused(text: str, path: Path) -> str:
    """The reason without names and numbers, or that it is not true, for its own package reads the file."""
    if re.search("truncated|damaged|do not decode", text) and _is_whole(path):
        return f"{WRONG}: {text}"
    words = text.replace(str(path), "it").replace(path.name, "it")
    return re.sub(r"'[^']*'|\[[^\]]*\]|-?\d[\d.e+-]*", "N", words).split("; ")[0].strip(" .")[:110]


def _is_whole(path: Path) -> bool:
    try:
        if path.name.lower().endswith(VOLUMES):
            nib.load(path).get_fdata()
        elif path.name.lower().endswith(PICTURES):
            Image.open(path).load()
        else:
            pixel_array(pydicom.dcmread(path))
    except Exception:  # each library has its own
        return False
    return True


def sweep(package: str) -> Row:
    """How many files of a package are loaded, refused by which reason, and wrong."""
    found: Counter[str] = Counter()
    wrong = []
    for path in files_of(package):
        read = reader_of(path)
        if read is None:
            continue
        try:
            outcome = read(path)
        except Exception as error:  # somebody else's words
            outcome = f"{WRONG}: {type(error).__name__}: {error}"
        found[WRONG if outcome.startswith(WRONG) else outcome] += 1
        wrong += [f"{path.name}: {outcome}"] if outcome.startswith(WRONG) else []
    loaded, bad = found.pop(LOADED, 0), found.pop(WRONG, 0)
    return {
        "package": package,
        "files": loaded + bad + sum(found.values()),
        "loaded": loaded,
        "refused": sum(found.values()),
        "wrong": bad,
        "reasons": dict(found.most_common()),
        "wrongs": wrong,
    }


def claims(rows: list[Row]) -> Claims:
    """None is wrong."""
    files, loaded, refused, wrong = (sum(row[name] for row in rows) for name in ("files", "loaded", "refused", "wrong"))
    yield f"Of {files} files {loaded} are loaded and equal, {refused} refused and {wrong} wrong.", wrong == 0


COLUMNS = {name: f"{{{name}}}" for name in ("package", "files", "loaded", "refused", "wrong")}
TABLES = {"table": Table(COLUMNS, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_save(parser)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = [row for row in map(sweep, PACKAGES) if row["files"]]
    for row in rows:
        print({name: row[name] for name in COLUMNS})
        for reason, count in row["reasons"].items():
            print(f"  {count:4d}  {reason}")
        for text in row["wrongs"]:
            print(f"  WRONG {text[:300]}")
    save(args.save, rows, seeds=[])


if __name__ == "__main__":
    main()
