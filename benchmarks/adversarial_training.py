"""Ways to train the lung segmentation against attacks, each by the bundle's own configs: what they cost and give.

Every training starts from the weights that ship and runs with seed 0 on one thread: PGD with as many steps as the
bundle takes, with one (FGSM with a random start, "fast") and with more, clean batches between, "free" training, and a
three times longer one. All but that one take about the same number of gradients. The held-out patient is measured as
``recipes.py`` does, clean and under the strongest attack of ``strength.py``. All are compared on this one patient of
the part test; the weights that ship were not chosen by it.

    python benchmarks/adversarial_training.py $MONAI_SMIA_DATA
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from clean import CT
from measured import ROOT, Claims, Row, Table, add_save, save
from recipes import measured

BUNDLE = ROOT / "bundles" / CT
ROBUST, FREE = "train_robust", "train_free"


class Training(NamedTuple):
    overlay: str
    options: dict[str, int]
    gradients: float  # of a step, those of the weights included


TRAININGS = {
    "PGD of 2 steps": Training(ROBUST, {}, 3),
    "fast: FGSM from a random start": Training(ROBUST, {"attack_steps": 1, "max_epochs": 21}, 2),
    "PGD of 5 steps": Training(ROBUST, {"attack_steps": 5, "max_epochs": 7}, 6),
    "every second batch clean": Training(ROBUST, {"attack_every": 2, "max_epochs": 21}, 2),
    "free: every batch 4 times": Training(FREE, {"max_epochs": 10}, 4),
    "PGD of 2 steps, three times as long": Training(ROBUST, {"max_epochs": 42}, 3),
}


def trained(training: Training, folder: Path, data: Path) -> tuple[Path, float]:
    """The weights of a training, and the minutes of processor that it took."""
    configs = [str(BUNDLE / "configs" / f"{name}.yaml") for name in ("train", training.overlay)]
    weights = folder / "weights.pt"
    options = {"bundle_root": BUNDLE, "dataset_dir": data / "ct", "output_dir": folder, "weights": weights}
    command = [sys.executable, "-m", "monai.bundle", "run", "train", "--config_file", str(configs)]
    command += [word for name, value in {**options, **training.options}.items() for word in (f"--{name}", str(value))]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return weights, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60


def claims(rows: list[Row]) -> Claims:
    """Which way is the best at about the same cost, and what a longer one adds."""
    *alike, longer = rows
    first = alike[0]
    best = max(alike, key=lambda row: row["attacked"])
    yield (
        f"Of about as many gradients {best['training']} keeps the most under attack, {best['attacked']:.3f}.",
        True,
    )
    change = longer["attacked"] - first["attacked"]
    yield f"Three times as many change what {first['training']} keeps by {change:+.3f}.", True
    clean = [row["value"] for row in rows]
    yield f"Clean, all lie within {max(clean) - min(clean):.3f} of each other.", True


COLUMNS = {
    "training": "{training}",
    "options": "`{options}`",
    "gradients": "{gradients:g}",
    "minutes": "{minutes:.1f}",
    "clean": "{value:.3f}",
    "attacked": "{attacked:.3f}",
}
TABLES = {"table": Table(COLUMNS, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with ct")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "adversarial", help="where weights are written")
    parser.add_argument("--trainings", type=int, default=len(TRAININGS), help="the first so many, at least 2")
    parser.add_argument("--epochs", type=int, help="of every training, for a trial")
    add_save(parser)
    args = parser.parse_args()
    rows: list[Row] = []
    for n, (name, training) in enumerate(list(TRAININGS.items())[: args.trainings]):
        if args.epochs:
            training.options["max_epochs"] = args.epochs
        weights, minutes = trained(training, args.folder / str(n), args.data)
        found = measured("ct_robust", weights, args.data)
        epochs = training.options.get("max_epochs", 14)
        told = " ".join(f"--{option} {value}" for option, value in training.options.items()) or "none"
        options = f"{training.overlay}.yaml: {told}"
        about = {"training": name, "options": options, "gradients": training.gradients * epochs, "minutes": minutes}
        rows.append({**about, **found})
        print(rows[-1], flush=True)
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0], data=[args.data / "ct"])


if __name__ == "__main__":
    main()
