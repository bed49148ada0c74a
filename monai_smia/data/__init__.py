"""Where data comes from: layouts of datasets on disk, and phantoms when there is none."""

from __future__ import annotations

from monai_smia.data.ct_gas import RandBowelGasd
from monai_smia.data.ct_labels import DropFreeAird
from monai_smia.data.ct_layouts import ct_datalist
from monai_smia.data.ct_phantom import ThoraxPhantom, thorax_phantom, write_ct_phantoms
from monai_smia.data.dicom_files import DicomSeriesError
from monai_smia.data.dicom_reader import DicomSeriesReader, scanned_voxels
from monai_smia.data.dicom_series import DicomSeries, find_dicom_series, read_dicom_series
from monai_smia.data.dicom_writer import write_dicom_series
from monai_smia.data.endoscopy_artefacts import EAD_CLASSES, ArtefactFrame, add_artefacts
from monai_smia.data.endoscopy_clean import suppress_highlights, tissue_field
from monai_smia.data.endoscopy_frames import fitted_frames, mucosa, write_artefact_frames
from monai_smia.data.endoscopy_layouts import endoscopy_datalist
from monai_smia.data.fundus_layouts import fundus_datalist
from monai_smia.data.fundus_lesions import draw_lesions
from monai_smia.data.fundus_phantom import FundusPhantom, fundus_phantom, write_fundus_phantoms
from monai_smia.data.fundus_sampler import GradeSampler, grade_weights
from monai_smia.data.marks import MARK
from monai_smia.data.photographs import LoadPhotograph, LoadPhotographd

__all__ = [
    "EAD_CLASSES",
    "MARK",
    "ArtefactFrame",
    "DicomSeries",
    "DicomSeriesError",
    "DicomSeriesReader",
    "DropFreeAird",
    "FundusPhantom",
    "GradeSampler",
    "LoadPhotograph",
    "LoadPhotographd",
    "RandBowelGasd",
    "ThoraxPhantom",
    "add_artefacts",
    "ct_datalist",
    "draw_lesions",
    "endoscopy_datalist",
    "find_dicom_series",
    "fitted_frames",
    "fundus_datalist",
    "fundus_phantom",
    "grade_weights",
    "mucosa",
    "read_dicom_series",
    "scanned_voxels",
    "suppress_highlights",
    "thorax_phantom",
    "tissue_field",
    "write_artefact_frames",
    "write_ct_phantoms",
    "write_dicom_series",
    "write_fundus_phantoms",
]
