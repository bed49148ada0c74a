"""Weights that a training of this commit has given, beside those that ship: the clean figures of both.

Train by the command in the bundle's docs, with ``--weights`` (fundus: ``--ckpt_dir``) elsewhere, and give the file:

    python benchmarks/recipes.py polyps output/recipes/model_polyps.pt $MONAI_SMIA_DATA
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clean import ENDOSCOPY, FUNDUS, RUNS, detected, evaluated
from measured import ROOT, Claims, Row, Table, add_save, digest, save

RECIPES = {  # bundle, what is evaluated, file that ships, metric
    "fundus": (FUNDUS, "test photographs", "model.pt", "accuracy"),
    "efficient": (FUNDUS, "test photographs, EfficientNet-Lite0", "model_efficient.pt", "accuracy"),
    "polyps": (ENDOSCOPY, "test frames, polyps", "model_polyps.pt", "map50"),
}


def measured(recipe: str, weights: Path, data: Path) -> Row:
    """The clean figure of some weights, with its interval."""
    bundle, cases, _, metric = RECIPES[recipe]
    arguments = {**RUNS[bundle][cases], "--weights": str(weights)}
    if bundle == ENDOSCOPY:
        row = detected(cases, data, arguments)[0]
        low, high = row["low"], row["high"]
    else:
        row = evaluated(bundle, data, arguments)
        low, high = row["intervals"][metric]
    found = {"metric": metric, "value": row[metric], "low": low, "high": high, "sha256": digest(weights)[:12]}
    return {"recipe": recipe, "cases": cases, **found, "kappa": row.get("kappa")}


def claims(rows: list[Row]) -> Claims:
    """Whether the recipe gives what ships."""
    shipped, trained = rows
    inside = shipped["low"] <= trained["value"] <= shipped["high"]
    yield f"The recipe's figure lies {'inside' if inside else 'outside'} of the interval of the shipped weights.", True


TABLES = {
    "table": Table(
        {
            "weights": "{weights}",
            "cases": "{cases}",
            "metric": "{metric}",
            "value (95 %)": "{value:.3f} ({low:.2f} - {high:.2f})",
            "kappa": "{kappa:.3f}",
            "SHA-256": "{sha256}",
        },
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("weights", type=Path, help="what the training gave")
    parser.add_argument("data", type=Path, help="folder with fundus and endoscopy")
    add_save(parser)
    args = parser.parse_args()
    bundle, cases, name, _ = RECIPES[args.recipe]
    shipped = ROOT / "bundles" / bundle / "models" / name
    files = {"shipped": shipped, "by the recipe": args.weights.resolve()}
    rows = [{"weights": which, **measured(args.recipe, file, args.data)} for which, file in files.items()]
    print(TABLES["table"].markdown(rows))
    folder = RUNS[bundle][cases]["--dataset_dir"]
    save(args.save, rows, seeds=[0], weights=[shipped], data=[args.data / folder])


if __name__ == "__main__":
    main()
