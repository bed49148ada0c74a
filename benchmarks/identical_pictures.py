"""Pictures of a dataset that are the same pixel for pixel, and the parts and labels that they stand under.

python benchmarks/identical_pictures.py --fundus FUNDUS
python benchmarks/identical_pictures.py --endoscopy ENDOSCOPY
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from measured import Claims, Row, Table, add_save, cells, save
from PIL import Image

from monai_smia.data import endoscopy_datalist, fundus_datalist


def pixels(path: str) -> str:
    """Hash of the decoded picture."""
    with Image.open(path) as picture:
        values = np.asarray(picture)
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()


def groups_of(rows: list[Row]) -> list[dict[str, str]]:
    """The pictures of every group, without the counts."""
    return cells(rows[1:], {name: f"{{{name}}}" for name in rows[1]})


def claims(rows: list[Row]) -> Claims:
    """How many there are, and how many have a twin in another part."""
    counts, groups = rows[0], rows[1:]
    across = sum(len(set(row["parts"].split(", "))) > 1 for row in groups)
    names = ", ".join(f"{count} in {part}" for part, count in counts.items())
    yield (
        f"{len(groups)} groups of identical pictures among {names}; {across} of them on both sides of the split.",
        True,
    )
    grades = [row["grades"].split(", ") for row in groups if "grades" in row]
    if differing := [group for group in grades if len(set(group)) > 1]:
        most = max(int(max(group)) - int(min(group)) for group in differing)
        yield f"{len(differing)} of the {len(grades)} groups carry different grades, up to {most} apart.", True


TABLES = {"table": Table(groups_of, claims=claims)}


def main() -> None:
    """Print every group of identical pictures, then their number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--fundus", type=Path)
    source.add_argument("--endoscopy", type=Path)
    add_save(parser)
    args = parser.parse_args()
    parts: dict[str, list[dict[str, Any]]] = (
        {part: fundus_datalist(args.fundus, split=part) for part in ("train", "test")}
        if args.fundus
        else {
            part: endoscopy_datalist(args.endoscopy, classes=["polyp"], split=part) for part in ("train", "val", "test")
        }
    )
    found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for part, items in parts.items():
        for item in items:
            grade = (str(item["label"]),) if args.fundus else ()
            found[pixels(item["image"])].append((Path(item["image"]).name, part, *grade))
    groups = [zip(*pictures, strict=True) for pictures in found.values() if len(pictures) > 1]
    columns = ("pictures", "parts", "grades")
    rows: list[Row] = [{part: len(items) for part, items in parts.items() if items}]
    rows += [dict(zip(columns, map(", ".join, group), strict=False)) for group in groups]  # polyps have no grades
    for row in rows:
        print(row)
    save(args.save, rows, seeds=[], data=[args.fundus or args.endoscopy])


if __name__ == "__main__":
    main()
