"""Names that configs know: layouts and synthetic data of the three targets, DICOM and photographs."""

from __future__ import annotations

from monai_smia._moved import moved

_CT, _ENDOSCOPY, _FUNDUS = (f"monai_smia.targets.{target}" for target in ("ct_lung", "endoscopy", "fundus"))
_HOMES = {
    "DropFreeAird": f"{_CT}.labels",
    "RandBowelGasd": f"{_CT}.gas",
    "ThoraxPhantom": f"{_CT}.phantom",
    "ct_datalist": f"{_CT}.layouts",
    "ct_files": f"{_CT}.series",
    "thorax_phantom": f"{_CT}.phantom",
    "write_ct_phantoms": f"{_CT}.phantom",
    "ArtefactFrame": f"{_ENDOSCOPY}.artefacts",
    "EAD_CLASSES": f"{_ENDOSCOPY}.artefacts",
    "add_artefacts": f"{_ENDOSCOPY}.artefacts",
    "add_polyps": f"{_ENDOSCOPY}.polyps",
    "endoscopy_datalist": f"{_ENDOSCOPY}.layouts",
    "fitted_frames": f"{_ENDOSCOPY}.frames",
    "mucosa": f"{_ENDOSCOPY}.frames",
    "suppress_highlights": f"{_ENDOSCOPY}.clean",
    "tissue_field": f"{_ENDOSCOPY}.clean",
    "write_artefact_frames": f"{_ENDOSCOPY}.drawn",
    "write_polyp_frames": f"{_ENDOSCOPY}.drawn",
    "FundusPhantom": f"{_FUNDUS}.phantom",
    "GradeSampler": f"{_FUNDUS}.sampler",
    "draw_lesions": f"{_FUNDUS}.lesions",
    "fundus_datalist": f"{_FUNDUS}.layouts",
    "fundus_phantom": f"{_FUNDUS}.phantom",
    "grade_weights": f"{_FUNDUS}.sampler",
    "write_fundus_phantoms": f"{_FUNDUS}.phantom",
    "DicomPicture": "monai_smia.dicom",
    "DicomPictureReader": "monai_smia.dicom",
    "DicomSeries": "monai_smia.dicom",
    "DicomSeriesError": "monai_smia.dicom",
    "DicomSeriesReader": "monai_smia.dicom",
    "LoadFramed": "monai_smia.dicom",
    "LoadPictured": "monai_smia.dicom",
    "find_dicom_series": "monai_smia.dicom",
    "picture_items": "monai_smia.targets.dicom_pictures",
    "read_dicom_picture": "monai_smia.dicom",
    "read_dicom_series": "monai_smia.dicom",
    "scanned_voxels": "monai_smia.dicom",
    "write_dicom_picture": "monai_smia.dicom",
    "write_dicom_series": "monai_smia.dicom",
    "LoadPhotograph": "monai_smia.transforms",
    "LoadPhotographd": "monai_smia.transforms",
    "MARK": "monai_smia.files",
}

__all__ = sorted(_HOMES)
__getattr__ = moved(__name__, _HOMES, deprecated=False)
