"""DICOM series in and out."""

from __future__ import annotations

from monai_smia.dicom.files import DicomSeriesError, looks_like_dicom, stored_range
from monai_smia.dicom.reader import DicomSeriesReader, scanned_voxels
from monai_smia.dicom.series import DicomSeries, Paths, find_dicom_series, read_dicom_series
from monai_smia.dicom.writer import write_dicom_series

__all__ = [
    "DicomSeries",
    "DicomSeriesError",
    "DicomSeriesReader",
    "Paths",
    "find_dicom_series",
    "looks_like_dicom",
    "read_dicom_series",
    "scanned_voxels",
    "stored_range",
    "write_dicom_series",
]
