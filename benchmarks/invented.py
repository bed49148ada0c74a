"""Boxes that are not there, as the goal of an attack: the polyp detector on frames of real colonoscopies.

    python benchmarks/invented.py --dataset_dir ENDOSCOPY --frames 4 --gradients 15

The bundle's `attack_eval` with three rows: noise, Auto-PGD on the loss ``"invented"``, whose goal is a false box, and
the same on ``"ranking"``, whose goal is a low average precision. Frames are those of the split test, taken evenly.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from measured import ROOT, Claims, Row, Table, add_save, save
from monai.bundle import ConfigParser

from monai_smia.attacks import APGD, Noise
from monai_smia.evaluation import AttackEvaluation, PlannedAttack

BUNDLE = ROOT / "bundles" / "endoscopic_artefact_detection"
WEIGHTS = BUNDLE / "models" / "model.pt"
GOALS = ("invented", "ranking")


def evaluation(args: argparse.Namespace, output: Path) -> AttackEvaluation:
    """The bundle's attack_eval on polyps, with the rows of this script."""
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "attack_eval.yaml")
    given = {"bundle_root": str(BUNDLE), "dataset_dir": str(args.dataset_dir), "output_dir": str(output)}
    parser.update({**given, "evaluation::progress": False})
    parser.get_parsed_content("initialize")
    run: AttackEvaluation = parser.get_parsed_content("evaluation")
    run.cases = run.cases[:: max(len(run.cases) // args.frames, 1)][: args.frames]
    run.attacks = [
        Noise(eps=args.eps),
        *(
            PlannedAttack(APGD(eps=args.eps, steps=args.gradients, loss=goal, progress=False), args.eps, goal)
            for goal in GOALS
        ),
    ]
    return run


def measure(args: argparse.Namespace, output: Path) -> list[Row]:
    """A row of the clean frames and of every attack, as computed and as stored."""
    evaluation(args, output).run()
    rows = []
    for row in json.loads((output / "summary.json").read_text(encoding="utf-8"))["rows"]:
        found = {name: row[name] for name in ("stage", "missed", "invented", "map50", "iou")}
        rows.append({"attack": row["attack"], "setting": row["setting"], "frames": args.frames, **found})
        rows[-1] |= {"eps": args.eps, "gradients": args.gradients}
        print(rows[-1], flush=True)
    return rows


def claims(rows: list[Row]) -> Claims:
    """What the goal does to the number of false boxes."""
    computed = [row for row in rows if row["stage"] == "computed"]
    clean = next(row["invented"] for row in computed if row["attack"] == "Clean")
    goal, ranking = (next(row["invented"] for row in computed if row["setting"] == name) for name in GOALS)
    yield (
        f"False boxes of a frame: {clean:.2f} clean, {goal:.2f} where they are the goal, {ranking:.2f} where the "
        "average precision is.",
        True,
    )


TABLES = {
    "table": Table(
        {
            "attack": "{attack} {setting}",
            "stage": "{stage}",
            "false boxes of a frame": "{invented:.2f}",
            "missed": "{missed:.2f}",
            "mAP@0.5": "{map50:.3f}",
        },
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--eps", type=float, default=0.01)
    parser.add_argument("--gradients", type=int, default=15)
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        rows = measure(args, Path(folder))
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0], weights=[WEIGHTS], data=[args.dataset_dir])


if __name__ == "__main__":
    main()
