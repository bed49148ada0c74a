"""Criteria as they are written: numbers, radii and what stands between them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from monai_smia.records import RowKey
from monai_smia.units import in_unit

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
RADIUS = re.compile(rf"(?P<eps>eps\s+)?(?P<number>{NUMBER})\s*(?P<unit>.*?)(?:\s*\bin\s+(?P<norm>L2|L-?inf))?", re.I)


@dataclass(frozen=True)
class Criterion:
    """One criterion, known to fit the plan.

    Args:
        text: as its user wrote it.
        metric: of every case, or `monai_smia.records.rows.CRITICAL_RADIUS`.
        end: ``"lower end"`` or ``"upper end"`` of the figure's interval; empty for the figure itself.
        sign: ``">="``, ``">"``, ``"<="`` or ``"<"``.
        threshold: what the figure is compared with.
        row: any row of its radius and norm; of a critical radius one of the largest radius.
        in_network_units: whether the threshold of a critical radius is.
    """

    text: str
    metric: str
    end: str
    sign: str
    threshold: float
    row: RowKey
    in_network_units: bool = False

    @property
    def higher_is_better(self) -> bool:
        """Whether the figure is to be high."""
        return self.sign.startswith(">")


@dataclass(frozen=True)
class RadiusText:
    """A radius as it is written.

    Args:
        value: the number.
        in_network_units: else it is in the unit of the images.
        norm: ``"linf"`` or ``"l2"``.
    """

    value: float
    in_network_units: bool
    norm: str

    def of(self, row: RowKey) -> float | None:
        """The radius of a row in the same unit; None in another norm."""
        return (row.eps if self.in_network_units else row.eps_input) if (row.norm or "linf") == self.norm else None


def read_number(told: str, text: str) -> float:
    """A plain number.

    Raises:
        ValueError: if it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{told} must hold plain numbers, got {text!r}.")
    return value


def read_radius(told: str, text: str, unit: str, planned: str) -> RadiusText:
    """A radius in the unit of the images (``28 HU``) or in network units (``eps 0.02``).

    Args:
        told: the criterion, for errors.
        text: the radius.
        unit: of the images.
        planned: the radii of the plan, for errors.

    Raises:
        ValueError: if it is none, or in another unit.

    Example:
        >>> read_radius("accept ''", "0.5 HU in L2", "HU", "")
        RadiusText(value=0.5, in_network_units=False, norm='l2')
    """
    found = RADIUS.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{told} must name a radius of the plan, {planned}, got {text!r}.")
    value, said = read_number(told, found["number"]), found["unit"].strip()
    norm = (found["norm"] or "linf").lower().replace("-", "")
    in_network_units = bool(found["eps"]) or not (unit or said)
    if not in_network_units and not said:
        raise ValueError(f"{told} must say the radius' unit, as in {value:g} {unit} or eps {value:g}.")
    if said and (found["eps"] or said.lower().rstrip("s") != unit.lower().rstrip("s")):
        raise ValueError(
            f"{told} must be in the unit of the images, {unit or 'which has no name here'}, or in network "
            f"units, as in eps 0.02; got {said!r}."
        )
    return RadiusText(value, in_network_units, norm)


def radius_text(row: RowKey, unit: str) -> str:
    """The radius of a row as a criterion names it, in both units."""
    norm = "" if row.norm in (None, "linf") else f" in {row.norm.replace('l', 'L')}"
    network = f"eps {row.eps:g}" if row.eps is not None else ""
    return (f"{in_unit(row.eps_input, unit)} ({network})" if unit and row.eps_input is not None else network) + norm
