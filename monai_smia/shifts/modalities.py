"""The shifts of a modality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai_smia.nearest import nearest
from monai_smia.shifts.base import Shift
from monai_smia.shifts.ct import Dose, HUCalibration, MetalInsert, ReconstructionKernel, SliceThickness
from monai_smia.shifts.frame import Bubbles, FieldOfView
from monai_smia.shifts.geometry import Breathing, RigidMotion, SmoothDeformation, Zoom
from monai_smia.shifts.intensity import Blur, Contrast, Gamma, NoiseLevel
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

PICTURE: tuple[type[Shift], ...] = (
    RigidMotion,
    Zoom,
    Blur,
    Defocus,
    MotionBlur,
    NoiseLevel,
    Gamma,
    Contrast,
    Illumination,
    ColorCast,
    Haze,
    LensDirt,
    SpecularSpots,
    Jpeg,
    Downscale,
)
ANATOMY: tuple[type[Shift], ...] = (RigidMotion, Zoom, SmoothDeformation)
MODALITIES: dict[str, tuple[type[Shift], ...]] = {
    "ct": (
        *ANATOMY,
        Breathing,
        HUCalibration,
        Dose,
        ReconstructionKernel,
        SliceThickness,
        Blur,
        MetalInsert,
        FieldOfView,
    ),
    "mri": (*ANATOMY, Blur, Gamma, BiasField, RicianNoise, KSpaceMotion, Ghosting, Gibbs, Spike, Anisotropy),
    "endoscopy": (*PICTURE, Bubbles),
    "fundus": PICTURE,
    "any": (RigidMotion, Zoom, Blur, NoiseLevel, Gamma, Contrast),
}
PICTURES = ("endoscopy", "fundus")


def shifts_for(
    modality: str,
    dims: int,
    *,
    severity: int = 3,
    span: Sequence[float] | None = None,
    only: Sequence[str] | None = None,
    width_first: bool = False,
    **options: Any,
) -> list[Shift]:
    """The shifts of a modality that an image of this many axes can have.

    Args:
        modality: one of `MODALITIES`; ``"any"`` where it is not known.
        dims: spatial axes of the images, 2 or 3.
        severity: 1 to 5; how far their boxes reach.
        span: black and white of the images; None for each sample's own.
        only: names of classes, to have these alone.
        width_first: whether columns come before rows, which `Jpeg` has to know.
        **options: further arguments of every shift, such as `lengths`; pictures have lengths in %, unless given.

    Raises:
        ValueError: if a name is unknown.

    Example:
        >>> [shift.title for shift in shifts_for("ct", 3)][:4]
        ['rigid motion', 'size', 'smooth deformation', 'breathing']
    """
    if modality not in MODALITIES:
        raise ValueError(
            f"modality must be one of {tuple(MODALITIES)}, got {modality!r}{nearest(modality, MODALITIES)}"
        )
    if modality in PICTURES:
        options = {"lengths": "%", **options}
    kinds = {kind.__name__: kind for kind in MODALITIES[modality] if dims in kind.dimensions}
    if unknown := set(only or ()) - set(kinds):
        name = min(unknown)
        raise ValueError(
            f"shifts must be of {sorted(kinds)} for {modality} in {dims}-D, got {name!r}{nearest(name, kinds)}"
        )
    ends = None if span is None else (float(span[0]), float(span[1]))
    chosen = [kind for name, kind in kinds.items() if only is None or name in only]
    own: dict[type[Shift], dict[str, Any]] = {Jpeg: {"width_first": width_first}}
    return [kind(severity=severity, span=ends, **options, **own.get(kind, {})) for kind in chosen]
