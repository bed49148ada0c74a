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
from PIL import Image

from monai_smia.data import endoscopy_datalist, fundus_datalist


def pixels(path: str) -> str:
    """Hash of the decoded picture."""
    with Image.open(path) as picture:
        values = np.asarray(picture)
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()


def main() -> None:
    """Print every group of identical pictures, then their number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--fundus", type=Path)
    source.add_argument("--endoscopy", type=Path)
    args = parser.parse_args()
    parts: dict[str, list[dict[str, Any]]] = (
        {part: fundus_datalist(args.fundus, split=part) for part in ("train", "test")}
        if args.fundus
        else {
            part: endoscopy_datalist(args.endoscopy, classes=["polyp"], split=part) for part in ("train", "val", "test")
        }
    )
    found = defaultdict(list)
    for part, items in parts.items():
        for item in items:
            label = f", grade {item['label']}" if args.fundus else ""
            found[pixels(item["image"])].append(f"{Path(item['image']).name} ({part}{label})")
    groups = [names for names in found.values() if len(names) > 1]
    print(*(" = ".join(names) for names in groups), sep="\n")
    counts = ", ".join(f"{len(items)} in {part}" for part, items in parts.items())
    print(f"{len(groups)} groups of identical pictures; {counts}.")


if __name__ == "__main__":
    main()
