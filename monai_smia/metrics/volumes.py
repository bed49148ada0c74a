"""Volumes of structures in the clinician's unit: of one case, their change under attack, and its spread over cases."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor

CHANGE = "volume_change_"
SPACING = "spacing_mm"  # of a record
SPREAD = "cv_"  # coefficient of variation


def spacing_of(image: Tensor) -> list[float] | None:
    """Size of a voxel of a batch along each axis; None where it is not known."""
    if not isinstance(image, MetaTensor):
        return None
    pixdim = image.pixdim[0] if image.is_batch else image.pixdim
    return [float(p) for p in pixdim][: image.ndim - 2]


def voxel_ml(image: Tensor) -> float | None:
    """Volume of a voxel of a batch ``(1, C, *spatial)`` in milliliters; None of pictures and where it is not known.

    It is the determinant of the affine, right too where axes are not at right angles (a tilted gantry).

    Example:
        >>> affine = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0]))
        >>> voxel_ml(MetaTensor(torch.zeros(1, 1, 4, 4, 4), affine=affine)), voxel_ml(torch.zeros(1, 1, 4, 4, 4))
        (0.02, None)
    """
    if not isinstance(image, MetaTensor) or image.ndim != 5:
        return None
    affine = image.affine[0] if image.affine.ndim == 3 else image.affine
    return abs(float(torch.linalg.det(affine[:3, :3].double()))) / 1000


def as_recorded(
    values: Mapping[str, Any], spacing: Sequence[float] | None, size: float | None, tolerance: float
) -> dict[str, Any]:
    """Values of a case under the names of a record, which say their unit; None where undefined.

    Args:
        values: in voxels, NaN where undefined.
        spacing: size of a voxel along each axis in mm; None where it is not known.
        size: of a voxel in milliliters; None where it has none.
        tolerance: of the surface Dice.

    Example:
        >>> as_recorded({"jaccard": 0.5, "volume": 300.0, "volume_reference": 200.0}, [1, 2, 5], 0.01, 2.0)
        {'jaccard': 0.5, 'volume_ml': 3.0, 'volume_reference_ml': 2.0, 'volume_error_ml': 1.0}
    """
    unit, factor = ("voxels", 1.0) if size is None else ("ml", size)
    found: dict[str, Any] = {}
    for name, value in values.items():
        known = value if not isinstance(value, float) or math.isfinite(value) else None
        if name in ("invented", "volume", "volume_reference"):
            found[f"{name}_{unit}"] = None if known is None else known * factor
        elif name == "surface_dice":
            found[surface_dice_name(tolerance, "voxels" if spacing is None else "mm")] = known
        else:
            found[name] = known
    if "volume" in values:
        found[f"volume_error_{unit}"] = (values["volume"] - values["volume_reference"]) * factor
    return found


def surface_dice_name(tolerance: float, unit: str) -> str:
    """Name of the surface Dice in records, which says its tolerance.

    Example:
        >>> surface_dice_name(2.0, "mm")
        'surface_dice_2mm'
    """
    return f"surface_dice_{tolerance:g}{unit}"


def over_threshold(values: Mapping[str, Any], name: str, threshold: float) -> dict[str, float]:
    """What hangs on a structure's volume being above a threshold: whether it is, and whether the label's is not alike.

    Args:
        values: of the structure, as `as_recorded` names them, in ml.
        name: of the structure.
        threshold: in ml.

    Example:
        >>> over_threshold({"volume_ml": 4100.0, "volume_reference_ml": 3900.0}, "lung", 4000)
        {'over_4000ml_lung': 1.0, 'over_4000ml_wrong_lung': 1.0}
    """
    over, truth = (values[f"volume{of}_ml"] > threshold for of in ("", "_reference"))
    return {f"over_{threshold:g}ml_{name}": float(over), f"over_{threshold:g}ml_wrong_{name}": float(over != truth)}


def volume_changes(
    values: Mapping[str, Any], clean: Mapping[str, Any], names: Iterable[str], thresholds: Mapping[str, float]
) -> dict[str, float | None]:
    """What an attack has changed of the volumes of a case.

    Args:
        values: of the case under attack, as in a record.
        clean: of the clean case.
        names: of the structures.
        thresholds: in ml, by name, that a decision hangs on.

    Returns:
        The change in ml (or voxels) and in per cent of the clean volume, None where that is 0, and whether the volume
        has crossed the threshold.

    Example:
        >>> volume_changes({"volume_ml_lung": 30.0}, {"volume_ml_lung": 40.0}, ["lung"], {})
        {'volume_change_ml_lung': -10.0, 'volume_change_percent_lung': -25.0}
    """
    found: dict[str, float | None] = {}
    for name in names:
        unit = "ml" if f"volume_ml_{name}" in values else "voxels"
        here, before = (each[f"volume_{unit}_{name}"] for each in (values, clean))
        found[f"{CHANGE}{unit}_{name}"] = here - before
        found[f"{CHANGE}percent_{name}"] = 100 * (here - before) / before if before else None
        if name in thresholds:
            over = f"over_{thresholds[name]:g}ml"
            found[f"{over}_changed_{name}"] = float(values[f"{over}_{name}"] != clean[f"{over}_{name}"])
    return found


def coefficients_of_variation(records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Coefficient of variation over cases of every change of volume: standard deviation over the size of the mean.

    None of fewer than two cases that define it, and where the mean is 0.

    Example:
        >>> coefficients_of_variation([{"volume_change_ml_lung": -10.0}, {"volume_change_ml_lung": -30.0}])
        {'cv_volume_change_ml_lung': 0.7071067811865476}
    """
    found: dict[str, float | None] = {}
    for name in dict.fromkeys(n for record in records for n in record if n.startswith(CHANGE)):
        values = [record[name] for record in records if record.get(name) is not None]
        mean = math.fsum(values) / len(values) if values else 0.0
        found[SPREAD + name] = statistics.stdev(values) / abs(mean) if len(values) > 1 and mean else None
    return found
