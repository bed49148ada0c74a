"""Parameters of a shift drawn around any that are asked about: one normal variable a parameter, in units of its box."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from monai_smia.shifts.base import LEVELS, Parameter, Shift


def from_normal(shift: Shift, place: Tensor, dims: int) -> Tensor:
    """Values of points of R^P, of which 0 is where nothing happens and 1 the end of the box at the shift's severity.

    Factors by their logarithm. A parameter that goes one way alone goes it on both sides of 0. Nothing leaves the box
    of the highest severity, where a shift ends to be one: parameters have ends (no dose is below none), and any map
    may be smoothed.

    Args:
        shift: whose parameters.
        place: ``(..., P)``.
        dims: axes of the image.

    Example:
        >>> from monai_smia.shifts import Dose, HUOffset
        >>> from_normal(HUOffset(severity=3), torch.tensor([0.0, 0.5, -1.0, 9.0]).view(-1, 1), 3).flatten().tolist()
        [0.0, 5.0, -10.0, 40.0]
        >>> from_normal(Dose(severity=3), torch.tensor([[-0.5], [0.5]]), 3).flatten().tolist()  # of 100 to 50 %
        [75.0, 75.0]
    """
    columns = []
    for number, (part, parameter) in enumerate(_each(shift, dims)):
        own = place[..., number]
        low, high = parameter.bounds(part.severity)
        far = parameter.severities[part.severity - 1]
        most = parameter.bounds(LEVELS)
        own = own if parameter.signed else own.abs()
        if parameter.factor:
            middle = torch.as_tensor(parameter.neutral).to(own)
            value = middle * torch.as_tensor(far / parameter.neutral).to(own) ** own
        else:
            value = parameter.neutral + own * (far - parameter.neutral)
        columns.append(value.clamp(min(most[0], low), max(most[1], high)))
    return torch.stack(columns, -1)


def _each(shift: Shift, dims: int) -> list[tuple[Shift, Parameter]]:
    """Every parameter by itself, with the shift that it is of."""
    parts = cast("list[Shift]", getattr(shift, "shifts", [shift]))
    return [(part, p) for part in parts for p in part.parameters(dims) for _ in range(p.count)]
