"""One perturbation for all patients, on the network that it was made on and carried over to the others.

Runs `universal` of the CT bundle on each of the weights, and with the patterns of each on all others (``--patterns``):
as a user does, on whole CT. What follows the weights goes to ``monai.bundle run`` as it is.

    python benchmarks/universal_transfer.py model.pt model_robust.pt --dataset_dir CT --epochs 5
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bundle_tables import attacked
from measured import ROOT, Claims, Row, Table, add_save, save

BUNDLE = ROOT / "bundles" / "ct_lung_segmentation"
SHOWN = ("attack", "setting", "eps", "eps_input", "jaccard", "stored", "cases", "patients")


def measured(made_on: str, weights: str, folder: Path, further: list[str]) -> list[Row]:
    """Rows of a pattern that was made on some weights, on others or the same."""
    configs = [str(BUNDLE / "configs" / f"{name}.yaml") for name in ("attack_eval", "universal")]
    command = [sys.executable, "-m", "monai.bundle", "run", "universal", "--config_file", str(configs)]
    command += ["--bundle_root", str(BUNDLE), "--weights", str(BUNDLE / "models" / weights)]
    command += ["--output_dir", str(folder / f"{made_on} on {weights}")]
    if weights != made_on:
        command += ["--patterns", str(folder / f"{made_on} on {made_on}" / "patterns")]
    subprocess.run([*command, *further], check=True)
    summary = json.loads((folder / f"{made_on} on {weights}" / "summary.json").read_text(encoding="utf-8"))
    rows = attacked(summary, "jaccard")
    kept = [{name: row.get(name) for name in SHOWN} for row in rows]
    return [{"made_on": made_on, "weights": weights, **row} for row in kept]


def claims(rows: list[Row]) -> Claims:
    """What it does on its own network and on others, beside noise."""
    noise = {(row["weights"], row["eps"]): row["jaccard"] for row in rows if row["attack"] == "Noise"}
    made = [row for row in rows if row["attack"] == "Universal"]
    for row in (row for row in made if row["eps"] == max(r["eps"] for r in made)):
        how = "On" if row["weights"] == row["made_on"] else f"Carried over from {row['made_on']} to"
        yield (
            f"{how} {row['weights']} it leaves {row['jaccard']:.3f} at {row['eps_input']:.3g} HU, "
            f"noise {noise[row['weights'], row['eps']]:.3f}.",
            True,
        )


def lines(rows: list[Row]) -> list[dict[str, str]]:
    """A line for every pattern and network, with the clean image and noise beside."""
    beside = {(row["weights"], row["attack"], row["eps"]): row["jaccard"] for row in rows}
    return [
        {
            "made on": row["made_on"],
            "measured on": row["weights"],
            "HU": f"{row['eps_input']:.3g}",
            "clean": f"{beside[row['weights'], 'Clean', None]:.3f}",
            "noise": f"{beside[row['weights'], 'Noise', row['eps']]:.3f}",
            "universal": f"{row['jaccard']:.3f}",
            "stored": f"{row['stored']:.3f}",
            "patients": str(row["patients"]),
        }
        for row in rows
        if row["attack"] == "Universal"
    ]


TABLES = {"table": Table(lines, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", help="files of the bundle's models")
    parser.add_argument("--keep", type=Path, help="folder of the runs; without it, one that is removed")
    add_save(parser)
    args, further = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = []
        for made_on in args.weights:
            for weights in [made_on, *(other for other in args.weights if other != made_on)]:
                rows += measured(made_on, weights, args.keep or Path(temporary), further)
    files = [BUNDLE / "models" / name for name in args.weights]
    data = [further[i + 1] for i, word in enumerate(further) if word == "--dataset_dir"]
    save(args.save, rows, seeds=[0], weights=files, data=data)


if __name__ == "__main__":
    main()
