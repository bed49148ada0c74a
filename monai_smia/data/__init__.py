"""Where data comes from: layouts of datasets on disk, and phantoms when there is none."""

from __future__ import annotations

from monai_smia.data.ct_layouts import ct_datalist
from monai_smia.data.ct_phantom import ThoraxPhantom, thorax_phantom, write_ct_phantoms
from monai_smia.data.dicom_files import DicomSeriesError
from monai_smia.data.dicom_reader import DicomSeriesReader
from monai_smia.data.dicom_series import DicomSeries, find_dicom_series, read_dicom_series
from monai_smia.data.dicom_writer import write_dicom_series
from monai_smia.data.marks import MARK

__all__ = [
    "MARK",
    "DicomSeries",
    "DicomSeriesError",
    "DicomSeriesReader",
    "ThoraxPhantom",
    "ct_datalist",
    "find_dicom_series",
    "read_dicom_series",
    "thorax_phantom",
    "write_ct_phantoms",
    "write_dicom_series",
]
