"""What smoothing and resampling leave of attacks on low frequencies, beside one that is free and one made to survive.

The preset `frequency` of the CT bundle on the test split, on the native grid at a coarser spacing (--spacing), whole or
a cube around the middle of the lungs (--crop), so that it fits into minutes of one thread; after every degradation the
image is measured again.

    python benchmarks/frequency.py --dataset_dir CT --spacing 2.5 2.5 2.5 --crop 96
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from measured import Claims, Row, Table, add_save, save
from shifts import BUNDLES, NAMES, evaluation

from monai_smia.degradations import Resample, Smooth
from monai_smia.records import COMPUTED, Stage, Summary

DEGRADATIONS = {"smooth": Smooth(1.0), "resample": Resample(2.0)}


def claims(rows: list[Row]) -> Claims:
    """What holds of the attacks."""
    by_name = {row["attack"]: row for row in rows}
    clean, free, survivor = by_name["Clean"], by_name["APGD"], by_name["SurvivalSMIA"]
    smooth = [row for row in rows if row["attack"].startswith("LowFrequency")]

    def lost(row: Row, name: str) -> float:
        return float(clean[name] - row[name])

    shares = [lost(row, "computed") / lost(free, "computed") for row in smooth]
    yield (
        f"On low frequencies the attack does {min(shares):.0%} to {max(shares):.0%} of the damage that it does free.",
        lost(free, "computed") > 0,
    )
    for name, said in (("smooth", "smoothing"), ("resample", "resampling")):
        best = max([*smooth, survivor, by_name["VAFA"], free], key=lambda row: lost(row, name))
        kept = [f"{row['attack']} {lost(row, name) / lost(row, 'computed'):.1%}" for row in (*smooth, survivor, free)]
        yield (
            f"After {said} {best['attack']} costs most, {lost(best, name):.3f}. Of the damage before it is left: "
            f"{', '.join(kept)}.",
            True,
        )


COLUMNS = {"attack": "{attack}", "Jaccard": "{computed:.3f}"}
COLUMNS |= {"after smoothing": "{smooth:.3f}", "after resampling": "{resample:.3f}", "gradients": "{gradients:.0f}"}
TABLES = {"table": Table(COLUMNS, claims=claims)}


def rows_of(folder: Path) -> list[Row]:
    """One row an attack."""
    found: dict[str, Row] = {}
    for row in Summary.read(folder).rows:
        own = found.setdefault(row.row.attack, {"attack": row.row.attack, "cases": row.cases})
        if row.stage == COMPUTED:
            own |= {"computed": row.value("jaccard"), "gradients": row.value("gradients") or 0.0, "eps": row.row.eps}
        for name in DEGRADATIONS:
            if row.stage == Stage.after(name):
                own[name] = row.value("jaccard")
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--weights", default="model.pt", help="a file of the bundle's folder models")
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--spacing", type=float, nargs=3, default=[4.0, 4.0, 8.0], help="in mm")
    parser.add_argument("--crop", type=int, default=None, help="voxels of a cube")
    parser.add_argument("--eps", type=float, default=0.02)
    parser.add_argument("--gradients", type=int, default=12)
    parser.add_argument("--progress", action="store_true")
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    planned = {"bundle": "ct", "preset": "frequency", "severity": 3}
    unused = dict.fromkeys(("draws", "shifts", "certify", "proofs"))
    whole = argparse.Namespace(**vars(args), **planned, **unused)
    file = BUNDLES / NAMES["ct"] / "models" / args.weights
    with tempfile.TemporaryDirectory() as folder:
        made = evaluation(whole, file, Path(folder))
        made.survival = DEGRADATIONS
        made.run()
        rows = rows_of(Path(folder))
    for row in rows:
        print(row, flush=True)
    weights = [str(file.relative_to(BUNDLES.parent))]
    save(args.save, rows, seeds=[0], weights=weights, data=[args.dataset_dir])


if __name__ == "__main__":
    main()
