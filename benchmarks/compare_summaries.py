"""Compares the rows of two ``summary.json``, such as those of two versions: are the figures the same?

python benchmarks/compare_summaries.py BEFORE AFTER [--tolerance 1e-6]

BEFORE and AFTER are files or the folders that hold them. Rows are matched by attack, setting, loss, radius, norm,
steps, alpha and stage; every number of a row and every end of an interval is compared, relative to the number where
that is above 1. Times (``seconds``) are not. Columns and settings that 0.2 renamed are known by their old names;
those that it added are left out where BEFORE lacks them. Prints what was compared and the largest difference; exits
with 1 where a row, or a value by more than the tolerance, differs.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RENAMED = {"still_steps": "zero_gradient_steps", "erased": "below_quantization"}
IDENTITY = ("attack", "setting", "loss", "eps", "norm", "steps", "alpha", "stage")
IGNORED = ("seconds",)
COUNTS = "knowledge|patients|known|listed|wrong_when_clean|unchanged|below_quantization|frozen|agreement"
ADDED = re.compile(rf"{COUNTS}|(interval of )?(clean_|added_)?damage(, low|, high)?|interval of (frozen|agreement), .*")

Row = dict[str, Any]


def rows_of(path: Path) -> dict[tuple[Any, ...], Row]:
    """The rows by their identity, under the names of today.

    Raises:
        ValueError: if two rows have the same identity.
    """
    text = (path / "summary.json" if path.is_dir() else path).read_text(encoding="utf-8")
    found: dict[tuple[Any, ...], Row] = {}
    for old in json.loads(text)["rows"]:
        row = {RENAMED.get(name, name): value for name, value in old.items() if name not in IGNORED}
        row["setting"] = re.sub(r"^\d+ (?=iterations$)|(?<=^alpha) [\d.e+-]+$", "", row["setting"])
        identity = tuple(row.pop(name) for name in IDENTITY)
        if identity in found:
            raise ValueError(f"rows of {path} must differ in one of {IDENTITY}, got twice {identity}.")
        ends = _ends(row.pop("intervals", None) or {})
        found[identity] = {**row, **ends}
    return found


def _ends(intervals: Mapping[str, list[float] | None]) -> Row:
    """Both ends of every interval as values of their own."""
    return {
        f"interval of {name}, {end}": None if interval is None else interval[number]
        for name, interval in intervals.items()
        for number, end in enumerate(("low", "high"))
    }


def compare(before: Mapping[tuple[Any, ...], Row], after: Mapping[tuple[Any, ...], Row], tolerance: float) -> list[str]:
    """Print the sums, and return every difference above the tolerance in words."""
    differences = [f"only in {name}: {_label(key)}" for name, key in _unpaired(before, after)]
    values, largest, where = 0, 0.0, "none"
    pairs = [key for key in before if key in after]
    for key in pairs:
        for name in dict.fromkeys((*before[key], *after[key])):
            old, new = before[key].get(name), after[key].get(name)
            if old is None and (new is None or ADDED.fullmatch(name)):
                continue
            values += 1
            if isinstance(old, (int, float)) and isinstance(new, (int, float)):
                distance = abs(new - old) / max(1.0, abs(old))
                if distance > largest:
                    largest, where = distance, f"{name} of {_label(key)}"
                same = distance <= tolerance
            else:
                same = old == new
            if not same:
                differences.append(f"{_label(key)}: {name} was {old}, is {new}")
    print(f"{len(pairs)} rows compared, {values} values; largest difference {largest:.3g} ({where}).")
    return differences


def _unpaired(before: Mapping[Any, Row], after: Mapping[Any, Row]) -> list[tuple[str, Any]]:
    gone = [("BEFORE", key) for key in before if key not in after]
    return gone + [("AFTER", key) for key in after if key not in before]


def _label(identity: tuple[Any, ...]) -> str:
    return ", ".join(str(part) for part in identity if part not in (None, ""))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-6)
    args = parser.parse_args()
    differences = compare(rows_of(args.before), rows_of(args.after), args.tolerance)
    print(*(differences or [f"The same to {args.tolerance:g}."]), sep="\n")
    return 1 if differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
