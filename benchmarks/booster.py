"""The detector of drawn artefacts as it ships, with the multi-scale booster, and as its recipe trains it without.

Train by the command in the bundle's docs with ``--feature_extractor#booster False``, which leaves a plain feature
pyramid, and ``--weights`` elsewhere; then give the file, and with ``--recipe`` one that the same command gave with the
booster:

    python benchmarks/booster.py output/model_plain.pt $MONAI_SMIA_DATA

Frames are those of the part test, with artefacts drawn onto them. Only the shipped file ships; the hashes of the others
stand in the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clean import ENDOSCOPY, detected
from measured import ROOT, Claims, Row, Table, add_save, digest, save

SHIPPED = ROOT / "bundles" / ENDOSCOPY / "models" / "model_artefacts.pt"
SHIPS, RECIPE, PLAIN = "booster (ships)", "booster, by the recipe", "plain feature pyramid, by the recipe"
OVERLAY = "feature_extractor#booster"


def measured(name: str, weights: Path, data: Path) -> Row:
    """The clean figures of some weights."""
    options = {"--frames_dir": "endoscopy", "--weights": str(weights), "+": "artefacts", OVERLAY: name != PLAIN}
    return {"network": name, "sha256": digest(weights)[:12], **detected(name, data, options)[0], "options": None}


def claims(rows: list[Row]) -> Claims:
    """Whether the recipe gives what ships, and whether the booster helps."""
    found = {row["network"]: row for row in rows}
    ships, plain, recipe = found[SHIPS], found[PLAIN], found.get(RECIPE)
    if recipe:
        inside = "inside" if ships["low"] <= recipe["map50"] <= ships["high"] else "outside"
        yield f"The recipe's mAP@0.5 lies {inside} of the interval of the shipped weights.", True
    else:
        yield "The weights with the booster are those that ship; they were trained in bfloat16.", True
    with_it = recipe or ships
    apart = with_it["low"] > plain["high"] or plain["low"] > with_it["high"]
    yield (
        f"The booster adds {with_it['map50'] - plain['map50']:+.3f} to the mAP@0.5 of a plain feature pyramid; the "
        f"intervals {'do not touch' if apart else 'overlap'}, of one training each.",
        True,
    )


TABLES = {
    "table": Table(
        {
            "network": "{network}",
            "frames": "{frames}",
            "objects": "{objects}",
            "mAP@0.5": "{map50:.3f} ({low:.2f} - {high:.2f})",
            "mAP@0.5:0.95": "{map:.3f}",
            "IoU": "{iou:.3f}",
            "SHA-256": "{sha256}",
        },
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain", type=Path, help="weights that the recipe gave without the booster")
    parser.add_argument("data", type=Path, help="folder with endoscopy")
    parser.add_argument("--recipe", type=Path, help="weights that it gave with the booster")
    add_save(parser)
    args = parser.parse_args()
    files = {SHIPS: SHIPPED, RECIPE: args.recipe, PLAIN: args.plain}
    rows = [measured(name, path.resolve(), args.data) for name, path in files.items() if path]
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0], weights=[SHIPPED], data=[args.data / "endoscopy"])


if __name__ == "__main__":
    main()
