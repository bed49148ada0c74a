"""Acquisition shifts on average and at their worst, beside an L-inf attack, on the bundles' test splits.

Through the bundle's own config, on the native grid: the table of `attack_eval --preset shifts`. A CT is taken on a
coarser grid (--spacing), whole or as a cube around the middle of the lungs (--crop), so that it fits into minutes of
one thread. With several --weights, all of one bundle, the first is the reference of the relative corruption error.
--certify adds the certificates of shifts, beside what the same shifts do on average and at their worst.

    python benchmarks/shifts.py --bundle ct --dataset_dir CT --weights model.pt model_robust.pt
    python benchmarks/shifts.py --bundle fundus --dataset_dir FUNDUS --cases 6
    python benchmarks/shifts.py --bundle ct --dataset_dir CT --spacing 2.5 2.5 2.5 --crop 96 --certify all
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
from monai.transforms import Spacingd, SpatialCropd

from monai_smia.analysis.shifts import relative_corruption_error
from monai_smia.analysis.statistics import Sample, mean_of
from monai_smia.evaluation import AttackEvaluation
from monai_smia.records import Record, Summary, read_records
from monai_smia.records.shift import DRAW_VALUES, WORST_DRAW, ShiftGap

BUNDLES = Path(__file__).parents[1] / "bundles"
NAMES = {"ct": "ct_lung_segmentation", "fundus": "fundus_dr_grading", "endoscopy": "endoscopic_artefact_detection"}


def claims(rows: list[Row]) -> Claims:
    """What holds in every row."""
    drawn = [row for row in rows if row["kind"] == "shift"]
    yield (
        f"In all {len(drawn)} rows the worst case is at least as bad as the worst of {drawn[0]['draws']} random draws "
        f"({drawn[0]['gradients']:g} gradients), case by case.",
        all(row["beats_draws"] for row in drawn),
    )
    worse = sum(signed(row, row["average"] - row["worst"]) > 0.005 for row in drawn)
    yield (f"In {worse} of them it is worse than the average by more than .005.", True)
    over = {row.get("average_over") for row in drawn} - {None}
    if over:
        yield (f"Brackets are intervals of 95 %, those of averages over the {' or '.join(sorted(over))}.", True)
    names = dict.fromkeys(row["weights"] for row in drawn)
    if len(names) > 1:
        means = []
        for name in names:
            own = [row for row in drawn if row["weights"] == name]
            average, worst = (sum(row[key] for row in own) / len(own) for key in ("average", "worst"))
            means.append(f"{name} {average:.4f} on average, {worst:.4f} at its worst")
        yield f"Means over shifts: {'; '.join(means)}.", True
    for name, error in {row["weights"]: row.get("corruption_error") for row in drawn}.items():
        if error is not None and name != drawn[0]["weights"]:
            yield (
                f"Relative corruption error of {name}, over all shifts: {error:.2f} of that of {drawn[0]['weights']}.",
                True,
            )


def signed(row: Row, loss: float) -> float:
    """A loss of the metric, positive where it is for the worse."""
    return loss if row["higher_is_better"] else -loss


def certificate_claims(rows: list[Row]) -> Claims:
    """Whether certified, attacked and average stand in their order."""
    crossed = sum(row["crossed"] for row in rows)
    yield (
        f"Of {sum(row['cases'] for row in rows)} certified ranges {crossed} "
        f"{'was' if crossed == 1 else 'were'} broken by the attack on the median; each is wrong with a probability of "
        f"at most {1 - rows[0]['confidence']:.0%}.",
        crossed <= max(1, sum(row["cases"] for row in rows) / 10),
    )
    known = [row for row in rows if row["certified"] is not None and row["attacked"] is not None]
    below = sum(signed(row, row["attacked"] - row["certified"]) >= 0 for row in known)
    yield (
        f"In {below} of {len(known)} rows the attacked median is at least as good as what is certified of it, "
        f"from {rows[0]['draws']} draws.",
        True,
    )


def with_interval(row: Row, name: str) -> str:
    """A mean with its interval of 95 %, where there is one."""
    interval = row.get(f"{name}_interval")
    return f"{row[name]:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def which(rows: list[Row], row: Row) -> dict[str, str]:
    """The weights, where there are several."""
    return {"weights": row["weights"]} if len({row["weights"] for row in rows}) > 1 else {}


def lines(rows: list[Row]) -> list[dict[str, str]]:
    """The table."""
    return [
        {
            **which(rows, row),
            "shift": row["shift"],
            "clean": f"{row['metric']} {row['clean']:.3f}",
            "on average": with_interval(row, "average"),
            "draws keep": f"{row['kept']:.3f} ({row['kept_share']:.0%})" if row.get("kept_share") else "-",
            "at its worst": with_interval(row, "worst"),
            "cases": str(row["cases"]),
            "parameters of the worst case": row["told"],
        }
        for row in rows
    ]


def certified(rows: list[Row]) -> list[dict[str, str]]:
    """The table of certificates."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return [
        {
            **which(rows, row),
            "shift": row["shift"],
            "clean": f"{row['metric']} {row['clean']:.3f}",
            "on average": number(row["average"]),
            "median, attacked": number(row["attacked"]),
            "median, certified": number(row["certified"]),
            "worst": number(row["worst"]),
            "least certified range": f"{row['reach']} ({row['least_range']:.2f} boxes)",
            "median broken at": "-" if row["broken"] is None else f"{row['broken']:g} boxes",
            "cases": str(row["cases"]),
        }
        for row in rows
    ]


TABLES = {
    "table": Table(lines, where=lambda row: row["kind"] != "certificate", claims=claims),
    "certificates": Table(certified, where=lambda row: row["kind"] == "certificate", claims=certificate_claims),
}


class Coarse:
    """A volume and its label on a coarser grid, whole or a cube, so that it fits into minutes of one thread."""

    def __init__(self, loading: Any, spacing: tuple[float, ...], crop: int | None) -> None:
        self.loading, self.crop = loading, crop
        self.spacing = Spacingd(("image", "label"), spacing, mode=("bilinear", "nearest"), padding_mode="border")

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        found = self.spacing(dict(self.loading(dict(item))))
        found["image"] = found["image"].round()  # whole HU, as a file holds them
        if self.crop is None:
            return found
        middle = [int(axis.float().mean()) for axis in found["label"][0].nonzero().T]
        return {**found, **SpatialCropd(("image", "label"), middle, [self.crop] * len(middle))(found)}


def evaluation(args: argparse.Namespace, weights: Path, folder: Path) -> AttackEvaluation:
    """That of the bundle, with these weights."""
    root = BUNDLES / NAMES[args.bundle]
    parser = ConfigParser()
    parser.read_config(str(root / "configs" / "attack_eval.yaml"))
    parser.read_meta(str(root / "configs" / "metadata.json"))
    given = {
        "bundle_root": str(root),
        "output_dir": str(folder),
        "weights": str(weights),
        "dataset_dir": str(args.dataset_dir),
    }
    given |= {name: getattr(args, name) for name in ("preset", "eps", "severity", "draws")}
    given |= {name: getattr(args, name) for name in ("shifts", "gradients", "certify", "proofs")}
    for name, value in given.items():
        parser[name] = value
    parser.parse()
    parser.get_parsed_content("initialize")
    made: AttackEvaluation = parser.get_parsed_content("evaluation")
    made.cases, made.storage, made.figure, made.progress = list(made.cases)[: args.cases], None, None, args.progress
    if args.bundle == "ct":
        made.loading = Coarse(made.loading, tuple(args.spacing), args.crop)
    return made


def over_draws(records: list[Record]) -> list[float] | None:
    """Interval of the mean over draws, of these cases; the n-th draws of all cases are one value."""
    drawn = [record.metrics[DRAW_VALUES] for record in records]
    each = [list(values) for values in zip(*drawn, strict=True)]
    if any(value is None for values in each for value in values):
        return None
    samples = [Sample(str(n), str(n), {"value": sum(values) / len(values)}) for n, values in enumerate(each)]
    return mean_of(samples, "value").interval


def rows_of(folder: Path, weights: str) -> tuple[list[Row], list[ShiftGap]]:
    """The table's rows of a finished evaluation."""
    summary = Summary.read(folder)
    assert summary.headline is not None
    every = [record for record in read_records(folder) if isinstance(record, Record)]
    found: list[Row] = []
    for gap in summary.shifts:
        records = [record for record in every if record.row.slug == gap.slug]
        beats = all(record.metrics["damage"] >= record.metrics[WORST_DRAW] for record in records)
        told = f"all {gap.draws} values: {gap.told}" if gap.every_value else gap.told
        own = {name: getattr(gap, name) for name in ("clean", "average", "worst", "draws", "gradients", "cases")}
        of_draws = None if gap.every_value or gap.average_interval else over_draws(records)
        own |= {"average_interval": gap.average_interval or of_draws, "worst_interval": gap.worst_interval}
        over = f"{gap.patients} patients" if gap.average_interval else f"{gap.draws} draws of these cases"
        own |= {"average_over": over if own["average_interval"] else None, "patients": gap.patients}
        own |= {"kept": gap.kept, "kept_share": gap.kept_share}
        kind = "proof" if gap.every_value else "shift"
        more = {"told": told, "beats_draws": beats, "higher_is_better": gap.higher_is_better, "changes": gap.changes}
        found.append({"kind": kind, "weights": weights, "shift": gap.shift, "metric": gap.metric, **own, **more})
    gaps = {(row["shift"], row["kind"]): row for row in found}
    for end in summary.headline.radii:
        label = f"L-inf, eps {end.eps:g}"
        told = {"clean": summary.headline.clean, "average": end.noise, "worst": end.attacked, "cases": end.cases}
        more = {"kind": "linf", "weights": weights, "shift": label, "metric": summary.headline.metric}
        more |= {"worst_interval": end.interval}
        found.append({**more, **told, "told": "noise of this size as the average"})
    for certificate in summary.certificates:
        gap_row = gaps[certificate.shift, "shift"]
        own = {name: gap_row[name] for name in ("clean", "average", "worst", "metric", "higher_is_better")}
        own |= {"attacked": certificate.attacked, "certified": certificate.bound, "median": certificate.center}
        names = ("least_range", "reach", "broken", "crossed", "cases", "draws", "sigma", "confidence")
        own |= {name: getattr(certificate, name) for name in names}
        found.append({"kind": "certificate", "weights": weights, "shift": certificate.shift, **own})
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
    parser.add_argument("--crop", type=int, default=None, help="of a CT: voxels of a cube")
    parser.add_argument("--certify", nargs="+", default=None, help="shifts that get a certificate, or all")
    parser.add_argument("--proofs", nargs="+", default=None, help="finite sets of which all are tried, or all")
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
        error = relative_corruption_error(gaps[file.name], gaps[files[0].name])
        rows += [{**row, "corruption_error": error} if row["kind"] == "shift" else row for row in found]
        for row in found:
            print(row, flush=True)
        print(f"{file.name}: relative corruption error {error} of {files[0].name}", flush=True)
    save(
        args.save, rows, seeds=[0], weights=[str(f.relative_to(BUNDLES.parent)) for f in files], data=[args.dataset_dir]
    )


if __name__ == "__main__":
    main()
