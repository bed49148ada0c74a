"""The detector of drawn artefacts as its recipe trains it, with and without the multi-scale booster, and as it ships.

Train twice by the command in the bundle's docs, with ``--weights`` elsewhere, once with ``--feature_extractor#booster
False`` besides, which leaves a plain feature pyramid; then give both files:

    python benchmarks/booster.py output/model.pt output/model_plain.pt $MONAI_SMIA_DATA

Frames are those of the part test, with artefacts drawn onto them. Only the shipped file ships; the hashes of the others
stand in the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clean import ENDOSCOPY, detected
from measured import ROOT, Claims, Row, Table, add_save, digest, save

SHIPPED = ROOT / "bundles" / ENDOSCOPY / "models" / "model.pt"
SHIPS, RECIPE, PLAIN = "booster (ships)", "booster, by the recipe", "plain feature pyramid, by the recipe"
OVERLAY = "feature_extractor#booster"


def measured(name: str, weights: Path, data: Path) -> Row:
    """The clean figures of some weights."""
    options = {"--frames_dir": "endoscopy", "--weights": str(weights), OVERLAY: name != PLAIN}
    return {"network": name, "sha256": digest(weights)[:12], **detected(name, data, options)[0], "options": None}


def claims(rows: list[Row]) -> Claims:
    """Whether the recipe gives what ships, and whether the booster helps."""
    found = {row["network"]: row for row in rows}
    ships, recipe, plain = found[SHIPS], found[RECIPE], found[PLAIN]
    inside = ships["low"] <= recipe["map50"] <= ships["high"]
    yield f"The recipe's mAP@0.5 lies {'inside' if inside else 'outside'} of the interval of the shipped weights.", True
    apart = recipe["low"] > plain["high"] or plain["low"] > recipe["high"]
    yield (
        f"The booster adds {recipe['map50'] - plain['map50']:+.3f} to the mAP@0.5 of a plain feature pyramid; the "
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
    parser.add_argument("recipe", type=Path, help="weights that the recipe gave")
    parser.add_argument("plain", type=Path, help="weights that it gave without the booster")
    parser.add_argument("data", type=Path, help="folder with endoscopy")
    add_save(parser)
    args = parser.parse_args()
    files = {SHIPS: SHIPPED, RECIPE: args.recipe.resolve(), PLAIN: args.plain.resolve()}
    rows = [measured(name, path, args.data) for name, path in files.items()]
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0], weights=[SHIPPED], data=[args.data / "endoscopy"])


if __name__ == "__main__":
    main()
