"""DICOM series in and out, and color pictures."""

from __future__ import annotations

from monai_smia.dicom.files import DicomSeriesError, looks_like_dicom, stored_range
from monai_smia.dicom.picture_loading import DicomPictureReader, LoadFramed, LoadPictured
from monai_smia.dicom.picture_writer import write_dicom_picture
from monai_smia.dicom.pictures import DicomPicture, read_dicom_picture
from monai_smia.dicom.reader import DicomSeriesReader, scanned_voxels
from monai_smia.dicom.series import DicomSeries, Paths, find_dicom_series, read_dicom_series
from monai_smia.dicom.writer import write_dicom_series

__all__ = [
    "DicomPicture",
    "DicomPictureReader",
    "DicomSeries",
    "DicomSeriesError",
    "DicomSeriesReader",
    "LoadFramed",
    "LoadPictured",
    "Paths",
    "find_dicom_series",
    "looks_like_dicom",
    "read_dicom_picture",
    "read_dicom_series",
    "scanned_voxels",
    "stored_range",
    "write_dicom_picture",
    "write_dicom_series",
]
