"""Artefact and polyp detection in endoscopy."""

from __future__ import annotations

from monai_smia.targets.endoscopy.artefacts import EAD_CLASSES, ArtefactFrame, add_artefacts
from monai_smia.targets.endoscopy.challenge import ArtefactMetrics
from monai_smia.targets.endoscopy.clean import suppress_highlights, tissue_field
from monai_smia.targets.endoscopy.drawn import write_artefact_frames, write_polyp_frames
from monai_smia.targets.endoscopy.efficient_pyramid import EfficientPyramid
from monai_smia.targets.endoscopy.frame_transforms import (
    BoxTensorsd,
    FitFramed,
    RandArtefactsd,
    RandFramed,
    collate_frames,
)
from monai_smia.targets.endoscopy.frames import fitted_frames, mucosa
from monai_smia.targets.endoscopy.layouts import endoscopy_datalist
from monai_smia.targets.endoscopy.multi_scale_booster import BoosterPyramid, MultiScaleBooster
from monai_smia.targets.endoscopy.one_map import OneMapRetinaNet
from monai_smia.targets.endoscopy.polyps import add_polyps

__all__ = [
    "EAD_CLASSES",
    "ArtefactFrame",
    "ArtefactMetrics",
    "BoosterPyramid",
    "BoxTensorsd",
    "EfficientPyramid",
    "FitFramed",
    "MultiScaleBooster",
    "OneMapRetinaNet",
    "RandArtefactsd",
    "RandFramed",
    "add_artefacts",
    "add_polyps",
    "collate_frames",
    "endoscopy_datalist",
    "fitted_frames",
    "mucosa",
    "suppress_highlights",
    "tissue_field",
    "write_artefact_frames",
    "write_polyp_frames",
]
