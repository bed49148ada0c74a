"""The polyp detector on the frames of hospitals that it was not trained on, beside the one that ships.

Train by the command in the bundle's docs with ``--datalist "$[i for i in endoscopy_datalist(@dataset_dir,
classes=@classes, split=@split) if not i['case'].startswith('pg_EndoCV2021_') or '_C6_' in i['case']]"``, which leaves
out the centres C2 and C5, and with ``--weights`` elsewhere; then give the file:

    python benchmarks/held_out_centres.py output/model_polyps.pt $MONAI_SMIA_DATA --centres C2 C5

Frames are those of the parts val and test, which neither was trained on. The weights without these centres do not ship:
the hash of their file stands in the table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clean import CENTRES, ENDOSCOPY, detected
from measured import ROOT, Claims, Row, Table, add_save, digest, save

SHIPPED = ROOT / "bundles" / ENDOSCOPY / "models" / "model.pt"
EVERY, OTHERS = "every centre (ships)", "the other centres"


def measured(weights: dict[str, Path], data: Path, centres: list[str]) -> list[Row]:
    """A row for every centre, part and file."""
    rows = []
    for split in ("val", "test"):
        for which, path in weights.items():
            options = {"--dataset_dir": "endoscopy", "--split": split, "--weights": str(path)}
            found = detected(f"{split} frames", data, options)
            about = {"trained_on": which, "sha256": digest(path)[:12], "part": split}
            rows += [{**row, **about, "options": None} for row in found if row["centre"] in centres]
    return sorted(rows, key=lambda row: (row["centre"], row["part"], row["trained_on"] != EVERY))


def claims(rows: list[Row]) -> Claims:
    """The mean over centres and parts, with and without frames of the same centre."""
    values = [[row["map50"] for row in rows if row["trained_on"] == which] for which in (EVERY, OTHERS)]
    shipped, held_out = (sum(each) / len(each) for each in values)
    yield (
        f"Mean of these mAP@0.5: {shipped:.2f} where frames of the same centre were trained on, {held_out:.2f} where "
        "none were.",
        True,
    )


TABLES = {
    "table": Table(
        {
            "centre": "{centre}",
            "frames": "{frames} of {part}",
            "polyps": "{objects}",
            "trained on": "{trained_on}",
            "mAP@0.5": "{map50:.3f} ({low:.2f} - {high:.2f})",
            "IoU": "{iou:.3f}",
            "SHA-256": "{sha256}",
        },
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="what the training without these centres gave")
    parser.add_argument("data", type=Path, help="folder with endoscopy")
    parser.add_argument("--centres", nargs="+", choices=CENTRES, default=["C2", "C5"])
    add_save(parser)
    args = parser.parse_args()
    rows = measured({EVERY: SHIPPED, OTHERS: args.weights.resolve()}, args.data, args.centres)
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0], weights=[SHIPPED], data=[args.data / "endoscopy"])


if __name__ == "__main__":
    main()
