"""Numbers with their unit."""

from __future__ import annotations

PLURALS = ("levels", "units")


def in_unit(number: float | str | None, unit: str) -> str:
    """A number with its unit, of one in the singular.

    Args:
        number: or its text, where it is printed in another way than ``:g``; None where it is not known.
        unit: such as ``"HU"`` or ``"grey levels"``; empty for none.

    Example:
        >>> in_unit(1.0, "grey levels"), in_unit("0.5", "grey levels"), in_unit(70, "HU"), in_unit(0.02, "")
        ('1 grey level', '0.5 grey levels', '70 HU', '0.02')
    """
    text = number if isinstance(number, str) else "-" if number is None else f"{number:g}"
    return f"{text} {unit[:-1] if text == '1' and unit.endswith(PLURALS) else unit}".rstrip()
