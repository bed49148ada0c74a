"""Rows that drive a structure's volume, beside those of any preset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai_smia.attacks import APGD
from monai_smia.checks import check_number
from monai_smia.evaluation.plan import PlannedAttack, in_input_unit, radii_of
from monai_smia.evaluation.presets import PRESETS
from monai_smia.records.rows import EQUAL_RADIUS
from monai_smia.victims.volume_loss import DIRECTIONS, VolumeLoss


def volume_rows(
    volumes: Sequence[str] | None,
    eps: float | Sequence[float],
    *,
    preset: str = "quick",
    steps: int = 10,
    gradients: int | None = None,
    structure: int | None = None,
    unit_scale: float = 1.0,
    **options: Any,
) -> list[PlannedAttack]:
    """Auto-PGD on the volume of a structure, at every radius.

    Args:
        volumes: ``"down"``, ``"up"`` or both; None for no rows.
        eps: radius in network units, or several.
        preset: whose gradients they take.
        steps: gradients where the preset is ``"paper"``.
        gradients: in the place of both.
        structure: number of the class; None for all foreground together.
        unit_scale: network units per unit of the images.
        **options: further arguments of the attack, such as `clip` and `seed`.

    Raises:
        ValueError: if a direction is none of these, or another argument is outside its range.

    Example:
        >>> [row.key().title for row in volume_rows(["down", "up"], 0.05)]
        ['APGD volume_down', 'APGD volume_up']
    """
    if volumes is None:
        return []
    if not isinstance(volumes, (list, tuple)) or not volumes or set(volumes) - set(DIRECTIONS):
        raise ValueError(f"volumes must be a list of {DIRECTIONS}, or None, got {volumes!r}.")
    count = gradients or PRESETS.get(preset) or steps
    check_number("gradients", count, whole=True, least=1, optional=True)
    return [
        PlannedAttack(
            APGD(
                eps=in_input_unit(radius, unit_scale),
                steps=count,
                loss=f"volume_{direction}" if structure is None else VolumeLoss(direction, structure),
                **options,
            ),
            radius,
            EQUAL_RADIUS,
        )
        for radius in radii_of(eps)
        for direction in dict.fromkeys(volumes)
    ]
