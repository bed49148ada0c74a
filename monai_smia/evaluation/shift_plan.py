"""Rows of a plan for acquisition shifts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from monai_smia.attacks import ShiftAttack, SmoothedShift, TryAll
from monai_smia.checks import check_number
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.nearest import nearest
from monai_smia.records.rows import CERTIFIED, EVERY_VALUE, SHIFT
from monai_smia.shifts import FINITE, LEVELS, MODALITIES, Shift, SlicePhase, WindowSetting, shifts_for
from monai_smia.shifts.finite import OF_CT

# those that a preset runs where none are named: what happens most, and what takes little time
USUAL: dict[str, tuple[str, ...]] = {
    "ct": ("RigidMotion", "Breathing", "HUCalibration", "Dose", "ReconstructionKernel", "MetalInsert"),
    "mri": ("RigidMotion", "BiasField", "RicianNoise", "KSpaceMotion", "Ghosting", "Gibbs"),
    "endoscopy": ("RigidMotion", "Defocus", "MotionBlur", "Illumination", "ColorCast", "LensDirt", "SpecularSpots"),
    "fundus": ("RigidMotion", "Defocus", "Gamma", "Illumination", "ColorCast", "Haze", "Jpeg"),
    "any": ("RigidMotion", "Zoom", "Blur", "NoiseLevel", "Gamma", "Contrast"),
}
ALL = "all"


def shift_rows(
    *,
    modality: str = "any",
    dims: int = 3,
    severity: int | Sequence[int] = 3,
    only: str | Sequence[str] | None = None,
    draws: int | None = None,
    gradients: int = 8,
    span: Sequence[float] | None = None,
    geometric: bool = True,
    proofs: str | Sequence[str] | None = None,
    lattices: Mapping[str, Sequence[float]] | None = None,
    window: Sequence[float] | None = None,
    certify: str | Sequence[str] | None = None,
    certificate_draws: int = 60,
    clip: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
    loss: str | None = None,
    **options: Any,
) -> list[PlannedAttack]:
    """Every shift of a modality on average and at its worst within its box; proofs of finite sets, and certificates.

    Args:
        modality: one of `monai_smia.shifts.MODALITIES`; ``"any"`` where it is not known.
        dims: spatial axes of the images.
        severity: 1 to 5, or several: how far the boxes reach.
        only: names of shifts, or ``"all"`` of the modality; None for the usual ones.
        draws: random draws of a case and shift; None for 20, or as many as gradients.
        gradients: of a case and shift, in two ascents.
        span: black and white of the images; None for each image's own.
        geometric: whether shifts that move anatomy are among them, which need a label that moves with it.
        proofs: finite sets of which all are tried, by the names of `monai_smia.shifts.FINITE`, or ``"all"``; None for
            all whole HU offsets of CT, where no shifts are named either.
        lattices: distance of neighboring values of a finite set's parameters by its name, where another is wanted.
        window: lowest and highest HU that gray levels are read by, for ``"WindowSetting"``.
        certify: shifts that get a certificate beside, by their names, or ``"all"`` that are planned.
        certificate_draws: of a certificate.
        clip: valid range of the images, or None.
        seed: of the draws.
        loss: that is ascended; None for the victim's.
        **options: further arguments of the shifts, such as `lengths`.

    Raises:
        ValueError: if a name is unknown, or an argument is outside its range.

    Example:
        >>> rows = shift_rows(modality="ct", only=["Dose"], severity=[1, 3])
        >>> [(row.name, row.setting) for row in rows][:2]
        [('Dose', 'shift, severity 1'), ('Dose', 'shift, severity 3')]
    """
    check_number("gradients", gradients, whole=True, least=1)
    starts = 2 if gradients >= 2 else 1
    steps = max(gradients // starts, 1)
    count = max(20, starts * steps) if draws is None else draws
    check_number("draws", count, whole=True, least=1)
    levels = [severity] if isinstance(severity, int) else list(severity)
    if not levels or not all(level in range(1, LEVELS + 1) for level in levels):
        raise ValueError(f"severity must be a whole number from 1 to {LEVELS}, or several, got {severity!r}.")
    if modality not in MODALITIES:
        shifts_for(modality, dims)  # which says what there is
    wanted = USUAL[modality] if only is None else None if only in (ALL, [ALL]) else _names(only)
    there = [kind.__name__ for kind in MODALITIES[modality] if dims in kind.dimensions]
    names = [name for name in wanted if name in there] if only is None and wanted is not None else wanted
    shared: dict[str, Any] = {"clip": clip, "seed": seed, "loss": loss, "progress": True}
    if proofs is None:
        proofs = ["HUOffset"] if modality == "ct" and (names is None or only is None) else []
    finite = _finite_of(modality, dims, proofs, geometric, window)
    asked = [] if certify is None else _names(certify)
    rows = []
    for level in levels:
        found = shifts_for(modality, dims, severity=level, span=span, only=names, **options)
        found = found if geometric else [shift for shift in found if not shift.geometric]
        planned = {type(shift).__name__: shift for shift in found}
        if unknown := set(asked) - {*planned, ALL}:
            name = min(unknown)
            raise ValueError(f"certify must name shifts of {list(planned)}, got {name!r}{nearest(name, planned)}")
        for shift in found:
            attack = ShiftAttack(shift, draws=count, steps=steps, starts=starts, **shared)
            rows.append(PlannedAttack(attack, None, setting_of(shift, SHIFT)))
        still: dict[str, Any] = {**shared, "loss": None}
        for name, make in finite.items():
            sizes = tuple(float(size) for size in (lattices or {}).get(name, FINITE[name][1]))
            proof = TryAll(make(severity=level), lattice=sizes, **still)
            rows.append(PlannedAttack(proof, None, setting_of(proof.shift, EVERY_VALUE)))
        for name, shift in planned.items():
            if name in asked or ALL in asked:
                smoothed = SmoothedShift(shift, draws=certificate_draws, **still)
                rows.append(PlannedAttack(smoothed, None, setting_of(shift, CERTIFIED)))
    return rows


def _finite_of(
    modality: str, dims: int, proofs: str | Sequence[str], geometric: bool, window: Sequence[float] | None
) -> dict[str, Callable[..., Shift]]:
    """The finite sets of a modality that are wanted, each ready to be made at a severity."""
    of_ct = modality == "ct"
    made: dict[str, Callable[..., Shift]] = {name: kind for name, (kind, _) in FINITE.items()}
    made["SlicePhase"] = partial(SlicePhase, whole=of_ct)
    if window is not None:
        low, high = window
        made["WindowSetting"] = partial(WindowSetting, window=(float(low), float(high)))
    there = [
        name
        for name, (kind, _) in FINITE.items()
        if dims in kind.dimensions and (of_ct or name not in OF_CT) and (geometric or not kind.geometric)
    ]
    wanted = _names(proofs) if proofs else []
    if unknown := set(wanted) - {*there, ALL}:
        name = min(unknown)
        raise ValueError(f"proofs must be of {there} for {modality} in {dims}-D, got {name!r}{nearest(name, there)}")
    return {name: made[name] for name in there if name in wanted or ALL in wanted}


def setting_of(shift: Shift, how: str) -> str:
    """The setting of a shift's row: how it was searched, and how far its box reaches."""
    return f"{how}, severity {shift.severity}"


def _names(only: str | Sequence[str]) -> list[str]:
    names = [only] if isinstance(only, str) else list(only)
    if not names:
        raise ValueError("shifts must hold at least one name, or be 'all' or None, got none.")
    return names
