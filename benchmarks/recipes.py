"""Weights that a training of this commit has given, beside those that ship: the clean figures of both.

Of the lungs that were trained against attacks also what the strongest attack of ``strength.py`` alone leaves of them:
APGD with soft Jaccard, 42 HU, 20 gradients, on the cube of 96 voxels around the middle of the lungs.

Train by the command in the bundle's docs, with ``--weights`` (fundus, CT: ``--ckpt_dir``) elsewhere, and give the file:

    python benchmarks/recipes.py polyps output/recipes/model_polyps.pt $MONAI_SMIA_DATA
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from clean import CT, ENDOSCOPY, FOLDERS, FUNDUS, RUNS, detected, evaluated
from measured import ROOT, Claims, Row, Table, add_save, cells, digest, save
from strength import jaccards, members

HELD_OUT = "held-out patient (1), mask as delivered"
STRONGEST = "APGD, soft_jaccard, 2-1.5-1 eps"


class Recipe(NamedTuple):
    bundle: str
    cases: str  # what is evaluated
    file: str  # that ships
    metric: str
    attacked: bool = False


RECIPES = {
    "fundus": Recipe(FUNDUS, "test photographs", "model.pt", "accuracy"),
    "efficient": Recipe(FUNDUS, "test photographs, EfficientNet-Lite0", "model_efficient.pt", "accuracy"),
    "polyps": Recipe(ENDOSCOPY, "test frames, polyps", "model.pt", "map50"),
    "pasted": Recipe(ENDOSCOPY, "val frames, polyps", "model.pt", "map50"),  # trained with --artefact_prob 0.5
    "artefacts": Recipe(ENDOSCOPY, "test frames, artefacts drawn onto them", "model_artefacts.pt", "map50"),
    "ct": Recipe(CT, HELD_OUT, "model.pt", "jaccard"),
    "ct_robust": Recipe(CT, HELD_OUT, "model_robust.pt", "jaccard", attacked=True),
    "ct_robust_shifts": Recipe(CT, HELD_OUT, "model_robust_shifts.pt", "jaccard", attacked=True),
}


def attacked(weights: Path, data: Path) -> float:
    """The Jaccard index that the strongest attack leaves of some lungs."""
    with tempfile.TemporaryDirectory() as output:
        about = {"bundle": "ct", "dataset_dir": str(data / "ct"), "split": ["test"], "phantoms": 0, "crop": 96}
        args = argparse.Namespace(**about, cases=None, weights=[], model=str(weights), output=Path(output))
        found = jaccards(args, {STRONGEST: members(eps=0.03, gradients=20)[STRONGEST]})
    return float(np.mean(found[STRONGEST]))


def measured(recipe: str, weights: Path, data: Path) -> Row:
    """The clean figure of some weights, with its interval, and the attacked one."""
    bundle, cases, _, metric, robust = RECIPES[recipe]
    arguments = {**RUNS[bundle][cases], "--weights": str(weights)}
    if bundle == ENDOSCOPY:
        row = detected(cases, data, arguments)[0]
        low, high = row["low"], row["high"]
    else:
        row = evaluated(bundle, data, arguments)
        low, high = row.get("intervals", {}).get(metric, (None, None))
    found = {"metric": metric, "value": row[metric], "low": low, "high": high, "sha256": digest(weights)[:12]}
    found |= {"attacked": attacked(weights, data)} if robust else {}
    return {"recipe": recipe, "cases": cases, **found, "kappa": row.get("kappa")}


def claims(rows: list[Row]) -> Claims:
    """Whether the recipe gives what ships."""
    shipped, trained = rows
    if shipped["low"] is None:
        change = trained["value"] - shipped["value"]
        yield f"One patient gives no interval; the recipe's figure differs by {change:+.4f} from the shipped one.", True
        if "attacked" in shipped:
            change = trained["attacked"] - shipped["attacked"]
            yield f"Under {STRONGEST} within 42 HU it differs by {change:+.4f}.", True
        return
    inside = shipped["low"] <= trained["value"] <= shipped["high"]
    yield f"The recipe's figure lies {'inside' if inside else 'outside'} of the interval of the shipped weights.", True


def columns(rows: list[Row]) -> list[dict[str, str]]:
    """The cells, by heading; kappa of graders alone."""
    found = {"weights": "{weights}", "cases": "{cases}", "metric": "{metric}", "value": "{value:.3f}"}
    found |= {} if rows[0]["low"] is None else {"95 %": "{low:.2f} - {high:.2f}"}
    found |= {"cube, attacked": "{attacked:.3f}"} if "attacked" in rows[0] else {}
    found |= {} if rows[0]["kappa"] is None else {"kappa": "{kappa:.3f}"}
    return cells(rows, {**found, "SHA-256": "{sha256}"})


TABLES = {"table": Table(columns, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("weights", type=Path, help="what the training gave")
    parser.add_argument("data", type=Path, help="folder with ct, fundus and endoscopy")
    add_save(parser)
    args = parser.parse_args()
    recipe = RECIPES[args.recipe]
    shipped = ROOT / "bundles" / recipe.bundle / "models" / recipe.file
    files = {"shipped": shipped, "by the recipe": args.weights.resolve()}
    rows = [{"weights": which, **measured(args.recipe, file, args.data)} for which, file in files.items()]
    print(TABLES["table"].markdown(rows))
    (folder,) = (value for option, value in RUNS[recipe.bundle][recipe.cases].items() if option in FOLDERS)
    save(args.save, rows, seeds=[0], weights=[shipped], data=[args.data / folder])


if __name__ == "__main__":
    main()
