"""Tables 1 to 4 and 6 of the SMIA paper on CT, every patient through a network that was not trained on them.

Train a network without each patient first (`leave_one_out.sh`, or its command of ``train``), and give the folder:

    python benchmarks/left_out_tables.py CT output/left_out --side 48

A patient is a cube out of the middle of the body, on the network's grid. Epsilon is the radius that the bundle's
robust network is trained for, 42 HU; in the paper's own setting a tenth of it, so that its ten steps reach as far.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measured import ROOT, Claims, Row, Table, add_save, digest, save

from monai_smia.data import ct_datalist
from monai_smia.records import COMPUTED
from monai_smia.records.rows import ALPHA, EQUAL_RADIUS, ITERATIONS, PAPER, PAPER_ALPHA, PAPER_ITERATIONS

BUNDLE = ROOT / "bundles" / "ct_lung_segmentation"
EPS = 0.03
STEPS, RADII, ALPHAS = (10, 15, 20, 25), (0.5, 1.0, 1.5), (0.0, 0.75, 1.0, 1.25)  # of Tables 2 to 4
SETTINGS = ("-", EQUAL_RADIUS, PAPER)  # of Tables 1 and 6
CUBE = (
    "$monai.transforms.Compose(@load + [@one_lung] + @preprocess + "
    "[monai.transforms.CropForegroundd(['image', 'label'], source_key='label'), "
    "monai.transforms.ResizeWithPadOrCropd(['image', 'label'], {side})])"
)


def measured(case: str, weights: Path, data: Path, side: int) -> list[Row]:
    """The rows of one patient."""
    configs = [str(BUNDLE / "configs" / f"{name}.yaml") for name in ("attack_eval", "paper_tables")]
    one = "$[c for c in ct_datalist(@dataset_dir, target='lung', split=None) if c['case'] == '{}']"
    options = {"--bundle_root": BUNDLE, "--dataset_dir": data, "--weights": weights, "--space": "network"}
    options |= {"--datalist": one.format(case), "--evaluation#loading": CUBE.format(side=side)}
    options |= {"--inferer#roi_size": [side] * 3, "--eps": EPS, "--paper_eps": EPS / 10}
    with tempfile.TemporaryDirectory() as folder:
        words = [str(word) for pair in {**options, "--output_dir": folder}.items() for word in pair]
        command = [sys.executable, "-m", "monai.bundle", "run", "paper_tables", "--config_file", str(configs), *words]
        subprocess.run(command, check=True)
        summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
    names = ("attack", "setting", "eps", "eps_input", "steps", "alpha", "gradients", "jaccard", "var", "cos")
    found = [{name: row.get(name) for name in names} for row in summary["rows"] if row["stage"] == str(COMPUTED)]
    known = {"case": case, "sha256": digest(weights)[:12]}
    return [{**known, **row, "setting": row["setting"] or "-", "over": over(row)} for row in found]


def over(row: Row) -> float | None:
    """The epsilon of a row over that of Tables 1 and 6, in its setting."""
    if row["eps"] is None:
        return None
    steps = row["steps"] + (row["attack"] == "PGD")  # which begins within epsilon
    return round(row["eps"] / (EPS / 10 * steps if row["setting"].startswith(PAPER) else EPS), 3)


def chosen(rows: list[Row], attack: str, setting: str, **values: Any) -> dict[str, Row]:
    """The rows of an attack in a setting, by patient; at the epsilon of Tables 1 and 6 where none is given."""
    wanted = {"attack": attack, "setting": setting, **({} if setting == "-" else {"over": 1.0}), **values}
    return {row["case"]: row for row in rows if all(row[name] == value for name, value in wanted.items())}


def mean(found: dict[str, Row], metric: str = "jaccard") -> float | None:
    """Over the patients; None where one has none."""
    values = [row[metric] for row in found.values()]
    return None if not values or None in values else sum(values) / len(values)


def cell(value: float | None, digits: str = ".3f") -> str:
    return "-" if value is None else f"{value:{digits}}"


def lines(rows: list[Row]) -> list[dict[str, str]]:
    """Tables 1 and 6: Jaccard of each patient, their mean, and the means of Var and Cos."""
    made = []
    for attack, setting in dict.fromkeys((row["attack"], row["setting"]) for row in rows if row["setting"] in SETTINGS):
        found = chosen(rows, attack, setting)
        each = {case.removeprefix("covidctmd_"): cell(row["jaccard"]) for case, row in found.items()}
        figures = {
            "mean": cell(mean(found)),
            "Var": cell(mean(found, "var"), ".3g"),
            "Cos": cell(mean(found, "cos"), ".3g"),
        }
        made.append({"attack": attack, "setting": setting, **each, "mean": cell(mean(found)), **figures})
    return made


def varied(rows: list[Row]) -> list[dict[str, str]]:
    """Tables 2 to 4: the mean Jaccard over patients by iterations, epsilon and alpha."""
    made = []
    for of_iterations, of_alpha, setting in ((ITERATIONS, ALPHA, EQUAL_RADIUS), (PAPER_ITERATIONS, PAPER_ALPHA, PAPER)):
        kinds = [(f"Table 2: {n} iterations", setting if n == 10 else of_iterations, {"steps": n}) for n in STEPS]
        kinds += [(f"Table 3: epsilon x {r:g}", setting, {"over": r}) for r in RADII]
        kinds += [(f"Table 4: alpha {a:g}", setting if a == 1 else of_alpha, {"alpha": a}) for a in ALPHAS]
        for what, where, values in kinds:
            found = {name: mean(chosen(rows, name, where, **values)) for name in ("BIM", "PGD", "DAG", "SMIA")}
            if what.endswith("alpha 0"):
                found = {**dict.fromkeys(found), "BIM": mean(chosen(rows, "BIM", setting))}
            made.append({"varied": what, "setting": setting, **{name: cell(value) for name, value in found.items()}})
    return made


def lower(first: dict[str, Row], second: dict[str, Row]) -> int:
    """On how many patients the first attack leaves less."""
    return sum(row["jaccard"] < second[case]["jaccard"] for case, row in first.items())


def claims(rows: list[Row]) -> Claims:
    """Whether STA helps, and whether SMIA is the strongest and of the lowest Var, by the means over patients."""
    cases = len({row["case"] for row in rows})
    for setting in (EQUAL_RADIUS, PAPER):
        found = {name: chosen(rows, name, setting) for name in ("BIM", "PGD", "DAG", "SMIA")}
        left = {name: mean(each) or 0.0 for name, each in found.items()}
        variances = {name: value for name, each in found.items() if (value := mean(each, "var")) is not None}
        yield (
            f"{setting}: SMIA leaves {left['SMIA']:.3f}, DEV alone (BIM) {left['BIM']:.3f}, on the mean of {cases} "
            f"patients; STA makes it stronger on {lower(found['SMIA'], found['BIM'])} of them. The strongest is "
            f"{min(left, key=left.__getitem__)}, the lowest Var has {min(variances, key=variances.__getitem__)}.",
            True,
        )


def claims_varied(rows: list[Row]) -> Claims:
    """Whether more iterations and a larger epsilon do more, and which alpha does most."""
    cases = len({row["case"] for row in rows})
    for more, of_alpha, setting in ((ITERATIONS, ALPHA, EQUAL_RADIUS), (PAPER_ITERATIONS, PAPER_ALPHA, PAPER)):
        smia = chosen(rows, "SMIA", setting)
        longer = lower(chosen(rows, "SMIA", more, steps=STEPS[-1]), smia)
        larger = lower(smia, chosen(rows, "SMIA", setting, over=RADII[0]))
        alphas = {0.0: mean(chosen(rows, "BIM", setting)), 1.0: mean(smia)}
        alphas |= {a: mean(chosen(rows, "SMIA", of_alpha, alpha=a)) for a in ALPHAS if a not in (0, 1)}
        best = min(alphas, key=lambda alpha: alphas[alpha] or 0.0)
        yield (
            f"{setting}: {STEPS[-1]} iterations of SMIA do more than {STEPS[0]} on {longer} of {cases} patients, "
            f"epsilon does more than {RADII[0]:g} of it on {larger}; alpha {best:g} does most.",
            True,
        )


TABLES = {"table": Table(lines, claims=claims), "varied": Table(varied, claims=claims_varied)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder ct")
    parser.add_argument("networks", type=Path, help="holds CASE-0/model.pt of every patient")
    parser.add_argument("--side", type=int, default=48)
    add_save(parser)
    args = parser.parse_args()
    rows: list[Row] = []
    for item in ct_datalist(args.data, target="lung", split=None):
        case = item["case"]
        rows += measured(case, (args.networks / f"{case}-0" / "model.pt").resolve(), args.data, args.side)
    for table in TABLES.values():
        print(table.markdown(rows))
    save(args.save, rows, seeds=[0], data=[args.data])


if __name__ == "__main__":
    main()
