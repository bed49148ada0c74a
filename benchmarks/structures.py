"""Attacks on a structure's volume beside those on its overlap, and what metrics of every structure cost.

`--volumes`: on the CT bundle's victim in network units (1 is 1400 HU), around the lungs, every attack with the same
radius and gradients: the change of the decided volume of the lungs. `--time`: on a whole CT as `attack_eval` evaluates
it, processor time in one thread of a row and of its metrics, beside MONAI's HD95 alone, which a row had before there
were metrics of structures: the rest is what they add, and the overlaps, which there were before, too.

    python benchmarks/structures.py --volumes --dataset_dir CT
    python benchmarks/structures.py --time --dataset_dir CT
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from evaluation import evaluation
from measured import Claims, Row, Table, add_save, save
from monai.metrics import compute_hausdorff_distance
from survival_study import victim_and_cases

from monai_smia.attacks import APGD, PGD
from monai_smia.evaluation.row import RowEvaluator
from monai_smia.metrics import SegmentationMetrics
from monai_smia.metrics.volumes import spacing_of

LOSSES = ("cross_entropy", "soft_jaccard", "volume_down", "volume_up")
SHARE = 0.05  # of a row, that its metrics may take


def volume_cells(rows: list[Row]) -> list[dict[str, str]]:
    """A line for each case and attack: the change of the decided volume under every loss."""
    lines: dict[Any, dict[str, str]] = {}
    for row in rows:
        line = lines.setdefault((row["case"], row["attack"]), {"case": row["case"], "attack": row["attack"]})
        line[f"{row['loss']} (%)"] = f"{row['change']:+.1f}"
    return list(lines.values())


def volume_claims(rows: list[Row]) -> Claims:
    """Further than any attack on the overlap, in every case."""
    by: dict[Any, dict[str, float]] = {}
    for row in rows:
        by.setdefault((row["case"], row["attack"]), {})[row["loss"]] = row["change"]
    overlap = [min(found["cross_entropy"], found["soft_jaccard"]) for found in by.values()]
    yield (
        f"Attacks on the volume move it further than those on the overlap, down and up, in all {len(by)} pairs of case "
        "and attack.",
        all(found["volume_down"] < least for found, least in zip(by.values(), overlap, strict=True))
        and all(found["volume_up"] > max(found[loss] for loss in LOSSES[:3]) for found in by.values()),
    )


def time_claims(rows: list[Row]) -> Claims:
    """A small part of every row of an attack."""
    share = max(row["added"] for row in rows if row["row"] != "Clean")
    yield f"Beside the HD95 the metrics take at most {100 * share:.1f} % of an attacked row.", share <= SHARE


TABLES = {
    "volumes": Table(volume_cells, claims=volume_claims),
    "time": Table(
        {
            "row": "{row}",
            "all of it (s)": "{row_s:.1f}",
            "metrics (s)": "{metrics_s:.2f}",
            "HD95 alone (s)": "{hd95_s:.2f}",
            "the rest, of the row": "{added:.3f}",
            "lesions, where asked for (s)": "{lesions_s:.2f}",
        },
        claims=time_claims,
    ),
}


def volumes(args: argparse.Namespace) -> list[Row]:
    """Every case under every loss."""
    victim, cases = victim_and_cases(args)
    rows: list[Row] = []
    for case in cases:
        before = int((victim.decide(victim.infer(case.image)) > 0).sum())
        for attack in (PGD, APGD):
            for loss in LOSSES:
                made = attack(eps=args.eps, steps=args.gradients, loss=loss, progress=False)
                prediction = victim.infer(made(victim, case.image, case.label).adversarial)
                after = int((victim.decide(prediction) > 0).sum())
                found = {"change": 100 * (after - before) / before, "clean": before}
                found["jaccard"] = 1 - float(victim.damage(prediction, case.label)[0])
                rows.append({"case": case.name, "attack": attack.__name__, "loss": loss, **found})
                print(rows[-1], flush=True)
    return rows


def seconds(run: Callable[[], object], times: int = 3) -> float:
    """The least processor time of some runs."""
    found = []
    for _ in range(times):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found)


def others(victim: Any, prediction: Any, label: Any, image: Any) -> tuple[float, float]:
    """Seconds of MONAI's HD95, and what lesions add to the metrics."""
    decided, truth = (torch.cat([mask == 0, mask == 1], 1) for mask in (victim.decide(prediction), label))
    spacing = spacing_of(image)
    hd95 = seconds(lambda: compute_hausdorff_distance(decided, truth, percentile=95, spacing=spacing))
    plain, lesions = (
        seconds(lambda metrics=metrics: metrics.case(victim, prediction, label, image))
        for metrics in (SegmentationMetrics(2), SegmentationMetrics(2, lesion_overlap=0.1))
    )
    return hd95, lesions - plain


def times(args: argparse.Namespace, folder: Path) -> list[Row]:
    """The rows of one CT, clean and under attack."""
    made = evaluation(args.dataset_dir, folder, args.gradients, preset="paper", split="test")
    spent: list[float] = []

    class Timed(SegmentationMetrics):
        """Counts the processor time of `case`."""

        def case(self, *inputs: Any) -> dict[str, Any]:
            self.last = inputs
            start = time.process_time()
            found = super().case(*inputs)
            spent.append(time.process_time() - start)
            return found

    metrics = Timed(2, class_names=["background", "lung"])
    options = {name: getattr(made, name) for name in ("victim", "storage", "unit", "data_range")}
    evaluate_row = RowEvaluator(metrics=metrics, output_dir=folder, device=torch.device("cpu"), **options)
    case, rows = made.load(made.cases[0]), []
    for planned in made.attacks:
        name = planned.key().label
        if planned.name in ("Clean", "FGSM", "PGD") and planned.setting in ("", "equal radius") and not planned.loss:
            spent.clear()
            start = time.process_time()
            evaluate_row(case, planned)
            whole, own = time.process_time() - start, sum(spent)
            hd95, lesions = others(*metrics.last)
            hd95, lesions = len(spent) * hd95, len(spent) * lesions
            found = {"row_s": whole, "metrics_s": own, "hd95_s": hd95, "lesions_s": lesions}
            rows.append({"row": name, **found, "added": (own - hd95) / whole})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", action="store_true")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--split", nargs="+", default=["train", "test"])
    parser.add_argument("--eps", type=float, default=0.02)
    parser.add_argument("--gradients", type=int, default=10)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--cases", type=int, default=None)
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.volumes == args.time:
        parser.error("choose --volumes or --time")
    with TemporaryDirectory() as folder:
        shared = {"bundle": "ct", "output": Path(folder), "weights": [], "model": None, "phantoms": 0}
        args = argparse.Namespace(**vars(args), **shared)
        rows = volumes(args) if args.volumes else times(args, Path(folder))
    weights = "bundles/ct_lung_segmentation/models/model.pt"
    save(args.save, rows, seeds=[0], weights=[weights], data=[args.dataset_dir])


if __name__ == "__main__":
    main()
