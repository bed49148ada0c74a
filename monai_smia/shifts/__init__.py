"""Acquisition shifts: bounded, differentiable changes of how an image was taken, in physical units."""

from __future__ import annotations

from monai_smia.shifts.base import LEVELS, Parameter, Shift
from monai_smia.shifts.chain import ShiftChain
from monai_smia.shifts.ct import Dose, HUCalibration, HUOffset, MetalInsert, ReconstructionKernel, SliceThickness
from monai_smia.shifts.finite import FINITE, SlicePhase, StoredCalibration, WindowSetting
from monai_smia.shifts.frame import Bubbles, FieldOfView
from monai_smia.shifts.geometry import Breathing, Flip, RigidMotion, SmoothDeformation, Zoom
from monai_smia.shifts.intensity import Blur, Contrast, Gamma, NoiseLevel
from monai_smia.shifts.labels import moved_label, moved_points
from monai_smia.shifts.modalities import MODALITIES, shifts_for
from monai_smia.shifts.mri import Anisotropy, BiasField, Ghosting, Gibbs, KSpaceMotion, RicianNoise, Spike
from monai_smia.shifts.pictures import (
    ColorCast,
    Defocus,
    Downscale,
    Haze,
    Illumination,
    Jpeg,
    LensDirt,
    MotionBlur,
    SpecularSpots,
)

__all__ = [
    "FINITE",
    "LEVELS",
    "MODALITIES",
    "Anisotropy",
    "BiasField",
    "Blur",
    "Breathing",
    "Bubbles",
    "ColorCast",
    "Contrast",
    "Defocus",
    "Dose",
    "Downscale",
    "FieldOfView",
    "Flip",
    "Gamma",
    "Ghosting",
    "Gibbs",
    "HUCalibration",
    "HUOffset",
    "Haze",
    "Illumination",
    "Jpeg",
    "KSpaceMotion",
    "LensDirt",
    "MetalInsert",
    "MotionBlur",
    "NoiseLevel",
    "Parameter",
    "ReconstructionKernel",
    "RicianNoise",
    "RigidMotion",
    "Shift",
    "ShiftChain",
    "SlicePhase",
    "SliceThickness",
    "SmoothDeformation",
    "SpecularSpots",
    "Spike",
    "StoredCalibration",
    "WindowSetting",
    "Zoom",
    "moved_label",
    "moved_points",
    "shifts_for",
]
