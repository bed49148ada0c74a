"""Weights that a training of this commit has given, beside those that ship: the clean figures of both.

Train by the command in the bundle's docs, with ``--weights`` (fundus, CT: ``--ckpt_dir``) elsewhere, and give the file:

    python benchmarks/recipes.py polyps output/recipes/model_polyps.pt $MONAI_SMIA_DATA
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clean import CT, ENDOSCOPY, FOLDERS, FUNDUS, RUNS, detected, evaluated
from measured import ROOT, Claims, Row, Table, add_save, cells, digest, save

RECIPES = {  # bundle, what is evaluated, file that ships, metric
    "fundus": (FUNDUS, "test photographs", "model.pt", "accuracy"),
    "efficient": (FUNDUS, "test photographs, EfficientNet-Lite0", "model_efficient.pt", "accuracy"),
    "polyps": (ENDOSCOPY, "test frames, polyps", "model_polyps.pt", "map50"),
    "artefacts": (ENDOSCOPY, "test frames, artefacts drawn onto them", "model.pt", "map50"),
    "ct": (CT, "held-out patient (1), mask as delivered", "model.pt", "jaccard"),
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
        low, high = row.get("intervals", {}).get(metric, (None, None))
    found = {"metric": metric, "value": row[metric], "low": low, "high": high, "sha256": digest(weights)[:12]}
    return {"recipe": recipe, "cases": cases, **found, "kappa": row.get("kappa")}


def claims(rows: list[Row]) -> Claims:
    """Whether the recipe gives what ships."""
    shipped, trained = rows
    if shipped["low"] is None:
        yield f"One patient gives no interval; the recipe's figure is {trained['value'] - shipped['value']:+.3f}.", True
        return
    inside = shipped["low"] <= trained["value"] <= shipped["high"]
    yield f"The recipe's figure lies {'inside' if inside else 'outside'} of the interval of the shipped weights.", True


def columns(rows: list[Row]) -> list[dict[str, str]]:
    """The cells, by heading; kappa of graders alone."""
    found = {"weights": "{weights}", "cases": "{cases}", "metric": "{metric}", "value": "{value:.3f}"}
    found |= {} if rows[0]["low"] is None else {"95 %": "{low:.2f} - {high:.2f}"}
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
    bundle, cases, name, _ = RECIPES[args.recipe]
    shipped = ROOT / "bundles" / bundle / "models" / name
    files = {"shipped": shipped, "by the recipe": args.weights.resolve()}
    rows = [{"weights": which, **measured(args.recipe, file, args.data)} for which, file in files.items()]
    print(TABLES["table"].markdown(rows))
    (folder,) = (value for option, value in RUNS[bundle][cases].items() if option in FOLDERS)
    save(args.save, rows, seeds=[0], weights=[shipped], data=[args.data / folder])


if __name__ == "__main__":
    main()
