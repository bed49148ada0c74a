"""Adversarial images as files: NIfTI, PNG, DICOM."""

from __future__ import annotations

from monai_smia.storage.base import BelowOneUnitError, NotStorableError, Storage
from monai_smia.storage.dicom import DicomStorage
from monai_smia.storage.dicom_pictures import DicomPictureStorage, PhotographStorage
from monai_smia.storage.formats import FormatStorage
from monai_smia.storage.nifti import NiftiStorage
from monai_smia.storage.pictures import PictureStorage
from monai_smia.storage.png import PngStorage
from monai_smia.storage.whole import DamagedFileError, check_whole

__all__ = [
    "BelowOneUnitError",
    "DamagedFileError",
    "DicomPictureStorage",
    "DicomStorage",
    "FormatStorage",
    "NiftiStorage",
    "NotStorableError",
    "PhotographStorage",
    "PictureStorage",
    "PngStorage",
    "Storage",
    "check_whole",
]
