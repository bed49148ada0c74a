"""The plan of attacks in the frequency domain, beside one that is free and one that is made to survive."""

from __future__ import annotations

from typing import Any

from monai_smia.attacks import VAFA, Attack, LowFrequency, Noise, SurvivalSMIA
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.records.rows import EQUAL_RADIUS

SPACING = 8.0  # voxels or pixels between coefficients


def frequency_rows(
    free: Attack,
    radius: float,
    *,
    gradients: int,
    loss: str | None = None,
    clip: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
) -> list[PlannedAttack]:
    """Rows at one radius: noise, a free attack, the same on low frequencies and on a B-spline, SurvivalSMIA and VAFA.

    With degradations after every attack (``--survival``) they show what a smooth perturbation keeps of its damage.

    Args:
        free: the attack without a band, whose radius is in the unit of the images.
        radius: in network units.
        gradients: of SurvivalSMIA and VAFA.
        loss: of both; None for the victim's.
        clip: valid range of the images, or None.
        seed: of all attacks.

    Example:
        >>> from monai_smia.attacks import PGD
        >>> [row.name for row in frequency_rows(PGD(eps=0.1), 0.1, gradients=20)][2:4]
        ['LowFrequency(PGD, dct)', 'LowFrequency(PGD, spline)']
    """
    shared: dict[str, Any] = {"eps": free.eps, "clip": clip, "seed": seed, "progress": True}
    attacks: list[Attack] = [
        Noise(**shared),
        free,
        *[LowFrequency(free, basis=basis, spacing=SPACING) for basis in ("dct", "spline")],
        SurvivalSMIA(steps=gradients, loss=loss, **shared),
        VAFA(steps=gradients, loss=loss, **shared),
    ]
    return [PlannedAttack(attack, radius, EQUAL_RADIUS) for attack in attacks]
