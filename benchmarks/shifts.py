"""Acquisition shifts on average and at their worst, beside an L-inf attack, on the bundles' test splits.

Through the bundle's own config, on the native grid: the table of `attack_eval --preset shifts`. A CT is
taken on a coarser grid (--spacing), so that it fits into minutes of one thread. With several --weights, all of
one bundle, the first is the reference of the relative corruption error.

    python benchmarks/shifts.py --bundle ct --dataset_dir CT --weights model.pt model_robust.pt
    python benchmarks/shifts.py --bundle fundus --dataset_dir FUNDUS --cases 6
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from measured import Claims, Row, Table, add_save, save
from monai.bundle import ConfigParser
from monai.transforms import Spacingd

from monai_smia.analysis.shifts import relative_corruption_error
from monai_smia.evaluation import AttackEvaluation
from monai_smia.records import Record, Summary, read_records
from monai_smia.records.shift import WORST_DRAW, ShiftGap

BUNDLES = Path(__file__).parents[1] / "bundles"
NAMES = {"ct": "ct_lung_segmentation", "fundus": "fundus_dr_grading", "endoscopy": "endoscopic_artefact_detection"}
DATA = {"ct": "dataset_dir", "fundus": "dataset_dir", "endoscopy": "frames_dir"}


def claims(rows: list[Row]) -> Claims:
    """What holds in every row."""
    drawn = [row for row in rows if row["kind"] == "shift"]
    sign = {True: 1, False: -1}
    yield (
        f"In all {len(drawn)} rows the worst case is at least as bad as the worst of {drawn[0]['draws']} random draws "
        f"({drawn[0]['gradients']:g} gradients), case by case.",
        all(row["beats_draws"] for row in drawn),
    )
    worse = sum(sign[row["higher_is_better"]] * (row["average"] - row["worst"]) > 0.005 for row in drawn)
    yield (f"In {worse} of them it is worse than the average by more than .005.", True)


def with_interval(row: Row, name: str) -> str:
    """A mean with its interval of 95 %, where the patients are enough for one."""
    interval = row.get(f"{name}_interval")
    return f"{row[name]:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def lines(rows: list[Row]) -> list[dict[str, str]]:
    """The table."""
    several = len({row["weights"] for row in rows}) > 1
    return [
        {
            **({"weights": row["weights"]} if several else {}),
            "shift": row["shift"],
            "clean": f"{row['metric']} {row['clean']:.3f}",
            "on average": with_interval(row, "average"),
            "at its worst": with_interval(row, "worst"),
            "cases": str(row["cases"]),
            "parameters of the worst case": row["told"],
        }
        for row in rows
    ]


TABLES = {"table": Table(lines, claims=claims)}


class Coarse:
    """A whole volume and its label on a coarser grid, so that it fits into minutes of one thread."""

    def __init__(self, loading: Any, spacing: tuple[float, ...]) -> None:
        self.loading = loading
        self.spacing = Spacingd(("image", "label"), spacing, mode=("bilinear", "nearest"), padding_mode="border")

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        found = self.spacing(dict(self.loading(dict(item))))
        return {**found, "image": found["image"].round()}  # whole HU, as a file holds them


def evaluation(args: argparse.Namespace, weights: Path, folder: Path) -> AttackEvaluation:
    """That of the bundle, with these weights."""
    root = BUNDLES / NAMES[args.bundle]
    parser = ConfigParser()
    parser.read_config(str(root / "configs" / "attack_eval.yaml"))
    parser.read_meta(str(root / "configs" / "metadata.json"))
    given = {"bundle_root": str(root), "output_dir": str(folder), "weights": str(weights), "preset": args.preset}
    given |= {DATA[args.bundle]: str(args.dataset_dir), "eps": args.eps, "severity": args.severity, "draws": args.draws}
    for name, value in {**given, "shifts": args.shifts, "gradients": args.gradients}.items():
        parser[name] = value
    parser.parse()
    parser.get_parsed_content("initialize")
    made: AttackEvaluation = parser.get_parsed_content("evaluation")
    made.cases, made.storage, made.figure, made.progress = list(made.cases)[: args.cases], None, None, args.progress
    if args.bundle == "ct":
        made.loading = Coarse(made.loading, tuple(args.spacing))
    return made


def rows_of(folder: Path, weights: str) -> tuple[list[Row], list[ShiftGap]]:
    """The table's rows of a finished evaluation."""
    summary = Summary.read(folder)
    assert summary.headline is not None
    found = []
    for gap in summary.shifts:
        records = [r for r in read_records(folder) if isinstance(r, Record) and r.row.slug == gap.slug]
        beats = all(record.metrics["damage"] >= record.metrics[WORST_DRAW] for record in records)
        told = f"all {gap.draws} values: {gap.told}" if gap.every_value else gap.told
        own = {name: getattr(gap, name) for name in ("clean", "average", "worst", "draws", "gradients", "cases")}
        own |= {"average_interval": gap.average_interval, "worst_interval": gap.worst_interval, "kept": gap.kept}
        kind = "proof" if gap.every_value else "shift"
        more = {"told": told, "beats_draws": beats, "higher_is_better": gap.higher_is_better, "changes": gap.changes}
        found.append({"kind": kind, "weights": weights, "shift": gap.shift, "metric": gap.metric, **own, **more})
    for end in summary.headline.radii:
        label = f"L-inf, eps {end.eps:g}"
        told = {"clean": summary.headline.clean, "average": end.noise, "worst": end.attacked, "cases": end.cases}
        more = {"kind": "linf", "weights": weights, "shift": label, "metric": summary.headline.metric}
        more |= {"worst_interval": end.interval}
        found.append({**more, **told, "told": "noise of this size as the average"})
    return found, summary.shifts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", choices=NAMES, default="ct")
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--weights", nargs="+", default=["model.pt"], help="files of the bundle's folder models")
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--spacing", type=float, nargs=3, default=[4.0, 4.0, 8.0], help="of a CT, in mm")
    parser.add_argument("--eps", type=float, default=0.02)
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--gradients", type=int, default=8)
    parser.add_argument("--shifts", nargs="+", default=None)
    parser.add_argument("--progress", action="store_true")
    add_save(parser)
    args = parser.parse_args(namespace=argparse.Namespace(preset="shifts"))
    torch.set_num_threads(1)
    rows, gaps = [], {}
    files = [BUNDLES / NAMES[args.bundle] / "models" / name for name in args.weights]
    for file in files:
        with tempfile.TemporaryDirectory() as folder:
            evaluation(args, file, Path(folder)).run()
            found, gaps[file.name] = rows_of(Path(folder), file.name)
        rows += found
        for row in found:
            print(row, flush=True)
        error = relative_corruption_error(gaps[file.name], gaps[files[0].name])
        print(f"{file.name}: relative corruption error {error} of {files[0].name}", flush=True)
    save(
        args.save, rows, seeds=[0], weights=[str(f.relative_to(BUNDLES.parent)) for f in files], data=[args.dataset_dir]
    )


if __name__ == "__main__":
    main()
