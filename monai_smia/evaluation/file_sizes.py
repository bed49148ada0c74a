"""Sizes of a perturbation in the unit of the files, where the images attacked are in units of each case's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_smia.records.record import EPS_FILE, LINF_FILE
from monai_smia.records.rows import RowKey


def sizes_in_files(units: Sequence[float] | None, perturbation: Tensor, row: RowKey) -> dict[str, float]:
    """Radius and largest change in the unit of the files, of every channel with a number where there are several.

    Args:
        units: of the files per unit of the image, one per channel; None where they are one.
        perturbation: ``(C, *spatial)`` in units of the image.
        row: says the radius; one of L2 over several channels has none in the unit of a file.

    Example:
        >>> row = RowKey("PGD", eps=0.5, eps_input=0.5, norm="linf")
        >>> sizes_in_files([100.0], torch.full((1, 2, 2), 0.25), row)
        {'eps_file': 50.0, 'linf_file': 25.0}
    """
    if units is None:
        return {}
    found = {}
    largest = (perturbation.flatten(1).abs().amax(1).double().cpu() * torch.tensor(units, dtype=torch.double)).tolist()
    one = len(units) == 1
    for number, (unit, size) in enumerate(zip(units, largest, strict=True)):
        name = "" if one else f"_{number}"
        if row.eps_input is not None and (one or row.norm in (None, "linf")):
            found[f"{EPS_FILE}{name}"] = row.eps_input * unit
        found[f"{LINF_FILE}{name}"] = size
    return found
