"""DICOM segmentations: on the grid of their series, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import planes, save, segmentation

from monai_smia.dicom import DicomSeriesError, read_dicom_series
from monai_smia.dicom.segmentation import read_dicom_segmentation


@pytest.fixture
def series(tmp_path: Path) -> tuple[Path, list[Any], np.ndarray]:
    """Files of a series, their data sets, and a mask of two labels ``(columns, rows, planes)``."""
    datasets = planes()
    save(datasets, tmp_path / "ct")
    mask = np.zeros((10, 8, 6), np.uint8)
    mask[1:4, 2:7, 1:4], mask[6:9, 1:5, 2:6] = 1, 2
    return tmp_path / "ct", datasets, mask


def test_masks_lie_where_they_are_drawn(series: Any, tmp_path: Path) -> None:
    folder, datasets, mask = series
    path = segmentation(datasets, mask, tmp_path / "seg.dcm", ["Left lung", "Heart"])
    found, ct = read_dicom_segmentation(path), read_dicom_series(folder)
    assert found.series_uid == ct.uid
    assert found.segments == {1: frozenset({"left lung"}), 2: frozenset({"heart"})}
    assert np.array_equal(found.mask(ct, [1]), mask == 1)
    assert np.array_equal(found.mask(ct, [2]), mask == 2)
    assert np.array_equal(found.mask(ct, [1, 2]), mask > 0)


def test_a_code_is_a_name(series: Any, tmp_path: Path) -> None:
    path = segmentation(series[1], series[2], tmp_path / "seg.dcm", ["A_b-C", "B"])
    ds = pydicom.dcmread(path)
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "39607008", "SCT", "Lung"
    ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence = [code]
    ds.save_as(path)
    assert read_dicom_segmentation(path).segments[1] == {"a b c", "39607008", "lung"}


def _away(ds: Any) -> None:
    first = ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    first.ImagePositionPatient = [first.ImagePositionPatient[0], first.ImagePositionPatient[1], 41.2]


def _turned(ds: Any) -> None:
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]


def _wider(ds: Any) -> None:
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.6, 1.4]


def _outside(ds: Any) -> None:
    first = ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    first.ImagePositionPatient = [first.ImagePositionPatient[0], first.ImagePositionPatient[1], 40.0 - 2.5]


def _without(name: str) -> Callable[[Any], None]:
    return lambda ds: delattr(ds.SharedFunctionalGroupsSequence[0], name)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_away, "frame 1 of seg.dcm lies in no plane of the series"),
        (_turned, "frame 1 of seg.dcm lies in no plane of the series"),
        (_wider, "frame 1 of seg.dcm lies in no plane of the series"),
        (_outside, "frame 1 of seg.dcm lies in no plane of the series"),
        (_without("PlaneOrientationSequence"), "must have ImageOrientationPatient in PlaneOrientationSequence"),
        (lambda ds: setattr(ds, "SegmentationType", "FRACTIONAL"), "must be a BINARY segmentation, got FRACTIONAL"),
        (lambda ds: delattr(ds, "ReferencedSeriesSequence"), "must be of one series .*got 0"),
        (lambda ds: delattr(ds, "SegmentSequence"), "unreadable ReferencedSeriesSequence or SegmentSequence"),
        (lambda ds: setattr(ds, "PixelData", ds.PixelData[:4]), "unreadable PixelData"),
    ],
)
def test_what_is_none_of_the_series_is_refused(
    series: Any, spoil: Callable[[Any], None], said: str, tmp_path: Path
) -> None:
    path = segmentation(series[1], series[2], tmp_path / "seg.dcm", ["Lung", "Heart"])
    ds = pydicom.dcmread(path)
    spoil(ds)
    ds.save_as(path)
    with pytest.raises(DicomSeriesError, match=said):
        read_dicom_segmentation(path).mask(read_dicom_series(series[0]), [1, 2])


def test_an_image_is_no_segmentation(series: Any) -> None:
    with pytest.raises(DicomSeriesError, match=r"^\d+\.dcm is no DICOM segmentation"):
        read_dicom_segmentation(next(series[0].iterdir()))
