"""How far planes and headers may be off before a series is refused, and what a header comes to: by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import planes, save
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset
from pydicom.uid import EnhancedCTImageStorage, MRImageStorage

from monai_smia.dicom import DicomSeriesError, read_dicom_series
from monai_smia.dicom.files import image_files, slices_of, stored_range
from monai_smia.dicom.kept import _of_legal_length
from monai_smia.dicom.kinds import kinds_of, map_of
from monai_smia.dicom.series import _as_stored

FILE = Path("a.dcm")


def verdict(folder: Path, change: Callable[[int, FileDataset], Any]) -> str:
    """What is said of six planes, each changed; nothing where they are read."""
    datasets = planes()
    for index, ds in enumerate(datasets):
        change(index, ds)
    number = len(list(folder.iterdir())) if folder.exists() else 0
    save(datasets, folder / f"{number}")
    try:
        read_dicom_series(folder / f"{number}")
    except DicomSeriesError as error:
        return str(error)
    return ""


def at(positions: list[float]) -> Callable[[int, FileDataset], None]:
    """Planes at these places along their normal."""

    def change(index: int, ds: FileDataset) -> None:
        ds.ImagePositionPatient = [-3.5, -2.5, round(positions[index], 9)]

    return change


@pytest.mark.parametrize(("gap", "said"), [(0.02, "same position"), (0.0255, "same position"), (0.0265, "uneven")])
def test_planes_at_one_position(gap: float, said: str, tmp_path: Path) -> None:
    """Nearer to each other than a hundredth of the usual gap of 2.5 mm and a thousandth of one."""
    assert said in verdict(tmp_path, at([0, 2.5, 5, 5 + gap, 7.5 + gap, 10 + gap]))


@pytest.mark.parametrize(("usual", "slack"), [(2.5, 0.06), (5.0, 0.1), (0.1, 0.01), (0.6, 0.06), (0.5, 0.05)])
def test_positions_may_be_rounded(usual: float, slack: float, tmp_path: Path) -> None:
    """To 0.06 mm of an even line, a tenth of thin gaps at most; of thick ones to a fiftieth."""
    bend, places = np.array([0, 0, 1, 0, 0, 0.0]), np.arange(6)
    bend /= np.abs(bend - np.polyval(np.polyfit(places, bend, 1), places)).max()
    for share, good in ((0.98, True), (1.02, False)):
        said = verdict(tmp_path, at(list(usual * places + share * slack * bend)))
        assert said == "" if good else said.startswith(("uneven planes", "1 plane")), said


@pytest.mark.parametrize(
    ("gaps", "said"),
    [
        ([2.5, 2.5, 5.2, 2.5, 2.5], "1 plane(s) missing"),
        ([2.5, 2.5, 5.3, 2.5, 2.5], "uneven planes: 5.300 mm between"),
        ([2.5, 2.5, 7.5, 2.5, 2.5], "2 plane(s) missing"),
        ([2.5, 2.5, 3.9, 2.5, 2.5], "uneven planes: 3.900 mm between"),
        ([2.5, 2.5, 1.0, 2.5, 2.5], "uneven planes: 1.000 mm between"),
    ],
)
def test_gaps_that_are_whole_numbers_of_planes(gaps: list[float], said: str, tmp_path: Path) -> None:
    assert said in verdict(tmp_path, at([0.0, *np.cumsum(gaps)]))


@pytest.mark.parametrize(("index", "slack"), [(1, 0.0625), (5, 0.0725)])
def test_planes_may_lie_beside_the_axis(index: int, slack: float, tmp_path: Path) -> None:
    """A tenth of a voxel, and a thousandth of the way from the first plane."""
    for shift, good in ((0.99 * slack, True), (1.01 * slack, False)):

        def change(number: int, ds: FileDataset, shift: float = shift) -> None:
            ds.ImagePositionPatient = [-3.5, -2.5 + shift * (number == index), 2.5 * number]

        said = verdict(tmp_path, change)
        assert said == "" if good else "mm beside the axis of the first plane" in said


@pytest.mark.parametrize(
    ("name", "usual", "place", "slack"),
    [("ImageOrientationPatient", [1, 0, 0, 0, 1, 0], 1, 1e-4), ("PixelSpacing", [0.6, 0.7], 0, 1e-4)],
)
def test_planes_may_differ_by_rounding(name: str, usual: list[float], place: int, slack: float, tmp_path: Path) -> None:
    for share, good in ((0.9, True), (1.1, False)):

        def change(number: int, ds: FileDataset, share: float = share) -> None:
            value = list(map(float, usual))
            value[place] += share * slack * (number == 3)
            setattr(ds, name, value)

        said = verdict(tmp_path, change)
        assert said == "" if good else "has another" in said


@pytest.mark.parametrize("part", ["row", "column", "angle"])
def test_directions_may_be_rounded(part: str) -> None:
    for share, good in ((0.9, True), (1.1, False)):
        off = share * 1e-3
        long = (1 + off) ** 0.5
        row, column = np.array([long if part == "row" else 1, 0, 0]), np.array([0, long if part == "column" else 1, 0])
        if part == "angle":
            row = np.array([1.0, off, 0])
        ds = changed(ImageOrientationPatient=[round(float(v), 9) for v in (*row, *column)])
        if good:
            assert len(slices_of(FILE, ds)) == 1
        else:
            with pytest.raises(DicomSeriesError, match="orthogonal unit vectors"):
                slices_of(FILE, ds)


def changed(**values: Any) -> FileDataset:
    ds = planes()[0]
    for name, value in values.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    return ds


@pytest.mark.parametrize(
    ("allocated", "stored", "high", "good"),
    [
        (8, 8, 7, True),
        (16, 16, 15, True),
        (32, 31, 30, True),
        (16, 1, 0, True),
        (32, 32, 31, False),
        (24, 12, 11, False),
        (16, 0, -1, False),
        (16, 17, 16, False),
        (16, 12, 12, False),
        (16, 12, 10, False),
    ],
)
def test_bits(allocated: int, stored: int, high: int, good: bool) -> None:
    ds = changed(BitsAllocated=allocated, BitsStored=stored)
    ds.add_new("HighBit", "SS", high)
    if good:
        assert len(slices_of(FILE, ds)) == 1
    else:
        with pytest.raises(DicomSeriesError, match=r"bits that contradict each other|whole numbers of at most 31 bits"):
            slices_of(FILE, ds)


def test_what_bits_can_hold() -> None:
    assert stored_range(changed()) == (0, 4095)
    assert stored_range(changed(PixelRepresentation=1)) == (-2048, 2047)
    assert stored_range(changed(BitsStored=1)) == (0, 1)


def test_padding_without_its_sign() -> None:
    signed, unsigned = changed(PixelRepresentation=1), changed()
    assert [_as_stored(value, signed) for value in (32767, 32768, 63536, -5)] == [32767, -32768, -2000, -5]
    assert [_as_stored(value, unsigned) for value in (32767, 32768, 63536)] == [32767, 32768, 63536]


@pytest.mark.parametrize(
    ("value", "limit", "padding"), [(None, None, None), (5, None, (5, 5)), (5, 9, (5, 9)), (9, 5, (5, 9))]
)
def test_a_range_of_padding(value: int | None, limit: int | None, padding: Any, tmp_path: Path) -> None:
    datasets = planes()
    for ds in datasets:
        for name, given in (("PixelPaddingValue", value), ("PixelPaddingRangeLimit", limit)):
            if given is not None:
                ds.add_new(name, "US", given)
    save(datasets, tmp_path)
    series = read_dicom_series(tmp_path)
    assert series.padding == padding
    assert series.shape == (10, 8, 6)
    assert series.range == (-1024.0, 3071.0)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, (1.0, -1024.0)),
        ({"RescaleSlope": 0.5, "RescaleIntercept": 7}, (0.5, 7.0)),
        ({"RescaleType": "HU"}, (1.0, -1024.0)),
        ({"RescaleType": "US"}, (1.0, -1024.0)),
        ({"Modality": "MR", "SOPClassUID": MRImageStorage, "RescaleSlope": None, "RescaleIntercept": None}, (1.0, 0.0)),
        ({"Modality": "MR", "SOPClassUID": MRImageStorage, "RescaleType": "OD"}, (1.0, -1024.0)),
        ({"Modality": "MR", "SOPClassUID": MRImageStorage, "RescaleIntercept": None}, (1.0, 0.0)),
        ({"Modality": "MR", "RescaleSlope": None}, "its HU are not known"),
        ({"SOPClassUID": EnhancedCTImageStorage, "Modality": "OT", "RescaleSlope": None}, "its HU are not known"),
        ({"SOPClassUID": MRImageStorage, "RescaleIntercept": None}, "its HU are not known"),
        ({"ImageType": ["DERIVED", "PRIMARY", "CBV"], "RescaleType": "US"}, "values in HU, got RescaleType 'US'"),
        ({"ImageType": ["DERIVED", "PRIMARY", "CBV"], "RescaleType": "HU"}, (1.0, -1024.0)),
        ({"RescaleSlope": -1}, "finite RescaleSlope > 0"),
        ({"RescaleSlope": 0}, "finite RescaleSlope > 0"),
        ({"PixelSpacing": [0.6, -0.7]}, "PixelSpacing > 0"),
        ({"PixelSpacing": [0.6, 0.0]}, "PixelSpacing > 0"),
        ({"PixelSpacing": [0.6]}, "PixelSpacing with 2 values"),
        ({"ImagePositionPatient": [0, 0]}, "ImagePositionPatient with 3 values"),
        ({"Columns": None}, "must have one Columns"),
        ({"SamplesPerPixel": None}, "SamplesPerPixel"),
    ],
)
def test_the_unit_of_a_plane(values: dict[str, Any], found: Any) -> None:
    ds = changed(**values)
    if isinstance(found, str):
        with pytest.raises(DicomSeriesError, match=found):
            slices_of(FILE, ds)
    else:
        (plane,) = slices_of(FILE, ds)
        assert (plane.slope, plane.intercept, plane.frame, plane.name) == (*found, 0, "a.dcm")


def test_kinds_of_an_image() -> None:
    assert kinds_of(changed(ImageType="axial")) == ["AXIAL"]
    assert kinds_of(changed(ImageType=None)) == []
    assert map_of(changed(ImageType=["DERIVED", " mtt "])) == "MTT"
    assert map_of(changed()) is None
    with pytest.raises(DicomSeriesError, match=r"a\.dcm is a map made to be shown in colors"):
        slices_of(FILE, changed(PixelPresentation="color"))
    assert len(slices_of(FILE, changed(PixelPresentation="MONOCHROME"))) == 1


def test_which_files_of_a_folder_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in (
        "a.dcm",
        "IM0001",
        "1.2.840.113",
        "deep/b.IMA",
        "deep/c",
        ".d.dcm",
        "readme.txt",
        ".hidden/e.dcm",
        "f.1a",
    ):
        (folder / name).write_bytes(b"\0x")
    (folder / "README").write_text("text")
    (folder / "empty").touch()
    (folder / "g.raw").write_bytes(bytes(128) + b"DICM")
    os.symlink(folder, folder / "deep" / "circle")
    found = [str(path.relative_to(folder)) for path in image_files([folder])]
    assert found == ["1.2.840.113", "IM0001", "a.dcm", "empty", "g.raw", "deep/b.IMA", "deep/c"]
    assert image_files([folder / "readme.txt", folder / "a.dcm"]) == [folder / "readme.txt", folder / "a.dcm"]
    (tmp_path / "x.part").mkdir()
    (tmp_path / "x.part" / "a.dcm").touch()
    for path in (tmp_path / "x.part", tmp_path / "x.part" / "a.dcm"):
        with pytest.raises(DicomSeriesError, match=r"folder x\.part is a series whose writing was interrupted"):
            image_files([path])
    with pytest.raises(DicomSeriesError, match="found no DICOM file"):
        image_files([])


def test_decimal_strings_of_sixteen_characters_stay() -> None:
    """Longer ones, which the standard does not know, are written anew as near as sixteen characters come."""
    for text, expected in (("1.50000000000000", "1.50000000000000"), ("-123456.123456789", "-123456.12345679")):
        element = _of_legal_length(DataElement("SliceThickness", "DS", text, validation_mode=0))
        assert str(element.value) == expected
    several = _of_legal_length(DataElement("PixelSpacing", "DS", ["0.5", "0.12345678901234567"], validation_mode=0))
    assert [len(str(value)) <= 16 for value in several.value] == [True, True]
    assert [float(value) for value in several.value] == pytest.approx([0.5, 0.12345678901234567])
    assert _of_legal_length(DataElement("SliceThickness", "DS", "")).is_empty
