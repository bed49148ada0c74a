"""Tables 1 and 6 of the SMIA paper on CT, every patient under attack through a network that was not trained on them.

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

from bundle_tables import attacked
from measured import ROOT, Claims, Row, Table, add_save, digest, save

from monai_smia.data import ct_datalist
from monai_smia.records.rows import EQUAL_RADIUS, PAPER

BUNDLE = ROOT / "bundles" / "ct_lung_segmentation"
EPS = 0.03
SETTINGS = ("", EQUAL_RADIUS, PAPER)
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
    options |= {"--iterations": [], "--radii": [1.0], "--attacks#alphas": []}
    with tempfile.TemporaryDirectory() as folder:
        words = [str(word) for pair in {**options, "--output_dir": folder}.items() for word in pair]
        command = [sys.executable, "-m", "monai.bundle", "run", "paper_tables", "--config_file", str(configs), *words]
        subprocess.run(command, check=True)
        summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
    found = [row for row in attacked(summary, "jaccard") if row["setting"] in (*SETTINGS, "-")]
    names = ("attack", "setting", "eps", "eps_input", "gradients", "jaccard", "var", "cos")
    return [{"case": case, "sha256": digest(weights)[:12], **{name: row.get(name) for name in names}} for row in found]


def mean(rows: list[Row], attack: str, setting: str, metric: str) -> float:
    """Over the patients."""
    values = [row[metric] for row in rows if (row["attack"], row["setting"]) == (attack, setting)]
    return sum(values) / len(values)


def lines(rows: list[Row]) -> list[dict[str, str]]:
    """A line for every attack and setting: Jaccard of each patient, their mean, and the means of Var and Cos."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    found = []
    for attack, setting in dict.fromkeys((row["attack"], row["setting"]) for row in rows):
        chosen = {row["case"]: row for row in rows if (row["attack"], row["setting"]) == (attack, setting)}
        each = {case.removeprefix("covidctmd_"): f"{chosen[case]['jaccard']:.3f}" for case in cases}
        line = {"attack": attack, "setting": setting, **each, "mean": f"{mean(rows, attack, setting, 'jaccard'):.3f}"}
        for name, metric in (("Var", "var"), ("Cos", "cos")):
            known = all(row[metric] is not None for row in chosen.values())
            line[name] = f"{mean(rows, attack, setting, metric):.3g}" if known else "-"
        found.append(line)
    return found


def claims(rows: list[Row]) -> Claims:
    """Whether STA helps, and whether SMIA is the strongest and of the lowest Var, by the means over patients."""
    cases = len({row["case"] for row in rows})
    for setting in (EQUAL_RADIUS, PAPER):
        smia, dev = (mean(rows, attack, setting, "jaccard") for attack in ("SMIA", "BIM"))
        stronger = sum(
            row["jaccard"] < other["jaccard"]
            for row in rows
            for other in rows
            if (row["attack"], other["attack"]) == ("SMIA", "BIM")
            and row["setting"] == other["setting"] == setting
            and row["case"] == other["case"]
        )
        others = {row["attack"] for row in rows if row["setting"] == setting} - {"Noise"}
        strongest = min(others, key=lambda attack: mean(rows, attack, setting, "jaccard"))
        known = others - {row["attack"] for row in rows if row["setting"] == setting and row["var"] is None}
        lowest = min(known, key=lambda attack: mean(rows, attack, setting, "var"), default="none")
        yield (
            f"{setting}: SMIA leaves {smia:.3f}, DEV alone (BIM) {dev:.3f}, on the mean of {cases} patients; STA makes "
            f"it stronger on {stronger} of them. The strongest is {strongest}, the lowest Var has {lowest}.",
            True,
        )


TABLES = {"table": Table(lines, claims=claims)}


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
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0], data=[args.data])


if __name__ == "__main__":
    main()
