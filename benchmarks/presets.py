"""The CT bundle's `attack_eval` with the presets quick, standard and thorough, on a patient that it was not trained on.

    python benchmarks/presets.py --dataset_dir CT --crop 96 --eps 0.01 0.02
    python benchmarks/presets.py --dataset_dir CT --crop 64 --radius

The CT and the lungs are cut to a cube of `--crop` voxels around the middle of the lungs. "Rounds" is how often the
gradients were doubled until the headline stood still; times are processor seconds of one thread. `--radius` compares
the critical radius that the preset radius finds with a grid of radii around it, each attacked from the start.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import torch
from evaluation import BUNDLE, evaluation
from measured import Claims, Row, Table, add_save, save

from monai_smia.attacks import CriticalRadius
from monai_smia.evaluation import PlannedAttack
from monai_smia.records.rows import EQUAL_RADIUS

PRESETS = ("quick", "standard", "thorough")
SHARES = (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1)  # of the critical radius
NEAR = {"quick": 0.03, "standard": 0.005}  # of thorough


def claims(rows: list[Row]) -> Claims:
    """How far quick and standard are from thorough."""
    by = {(row["preset"], row["eps"]): row for row in rows}
    for preset, near in NEAR.items():
        radii = [eps for name, eps in by if name == preset]
        gap = max(by[preset, eps]["attacked"] - by["thorough", eps]["attacked"] for eps in radii)
        share = by[preset, radii[0]]["seconds"] / by["thorough", radii[0]]["seconds"]
        text = f"`{preset}` lies at most {gap:.5f} above `thorough`, in {share:.2f} of its time."
        yield text, gap <= near


def radius_claims(rows: list[Row]) -> Claims:
    """Where the grid breaks first."""
    broken = [row["share"] for row in rows if row["attacked"] <= row["needed"]]
    yield (
        f"The search found {rows[0]['critical']:.2f} HU; attacked from the start, the smallest radius of the grid that "
        f"breaks the case is {min(broken):.2f} of it.",
        True,
    )


TABLES = {
    "radius": Table(
        {"radius (HU)": "{eps_input:.2f}", "of the critical radius": "{share:.2f}", "Jaccard left": "{attacked:.4f}"},
        where=lambda row: "share" in row,
        claims=radius_claims,
    ),
    "presets": Table(
        {
            "preset": "{preset}",
            "radius (HU)": "{eps_input:.0f}",
            "clean": "{clean:.4f}",
            "Jaccard left": "{attacked:.4f}",
            "rounds": "{rounds}",
            "seconds, all radii": "{seconds:.0f}",
        },
        where=lambda row: "preset" in row,
        claims=claims,
    ),
}


def cut(dataset_dir: Path, folder: Path, size: int) -> Path:
    """A dataset of the held-out patient alone, around the middle of the lungs."""
    with (dataset_dir / "labels.csv").open(encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row["split"] == "test")
    folder.mkdir(parents=True)
    image, lungs = (nibabel.load(dataset_dir / row[name]) for name in ("file", "lung_mask"))
    middle = np.argwhere(np.asarray(lungs.dataobj) > 0).mean(0).round().astype(int)
    starts = [int(np.clip(m - size // 2, 0, max(n - size, 0))) for m, n in zip(middle, image.shape, strict=True)]
    window = tuple(slice(start, start + size) for start in starts)
    for name, volume in ((row["file"], image), (row["lung_mask"], lungs)):
        nibabel.save(volume.slicer[window], folder / name)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    return folder


def measured(preset: str, data: Path, output: Path, eps: list[float]) -> list[Row]:
    """A row a radius."""
    run = evaluation(data, output, 10, preset=preset, split="test", eps=eps)
    began = time.process_time()
    run.run()
    seconds = time.process_time() - began
    headline = json.loads((output / "summary.json").read_text(encoding="utf-8"))["headline"]
    rows = []
    for radius in headline["radii"]:
        found = {name: radius[name] for name in ("eps", "eps_input", "attacked", "converged")}
        rounds = len(radius["rounds"])
        rows.append({"preset": preset, "clean": headline["clean"], **found, "rounds": rounds, "seconds": seconds})
        print(rows[-1], flush=True)
    return rows


def grid(data: Path, folder: Path, eps: float) -> list[Row]:
    """The strongest attack at radii around the critical one, each from the start."""
    run = evaluation(data, folder / "search", 10, preset="radius", split="test", eps=eps)
    search = run.attacks[-1].attack
    assert isinstance(search, CriticalRadius)
    run.attacks = [run.attacks[0], run.attacks[-1]]
    run.run()
    summary = json.loads((folder / "search" / "summary.json").read_text(encoding="utf-8"))
    critical = summary["critical_radii"][0]["cases"][0]["eps_input"]
    clean = next(row["jaccard"] for row in summary["rows"] if row["attack"] == "Clean")
    rows: list[Row] = []
    run = evaluation(data, folder / "grid", 10, preset="radius", split="test", eps=eps)
    run.attacks = [
        PlannedAttack(replace(search.attack, eps=critical * share), critical * share * eps / search.eps, EQUAL_RADIUS)
        for share in SHARES
    ]
    run.run()
    radii = json.loads((folder / "grid" / "summary.json").read_text(encoding="utf-8"))["headline"]["radii"]
    for share, radius in zip(SHARES, sorted(radii, key=lambda radius: float(radius["eps"])), strict=True):
        found = {"critical": critical, "share": share, "eps_input": radius["eps_input"], "attacked": radius["attacked"]}
        rows.append({**found, "needed": clean * (1 - search.share)})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--eps", type=float, nargs="+", default=[0.01, 0.02], help="in network units, 1 is 1400 HU")
    parser.add_argument("--radius", action="store_true", help="the critical radius beside a grid")
    parser.add_argument("--presets", choices=PRESETS, nargs="+", default=PRESETS)
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        data = cut(args.dataset_dir, Path(folder) / "data", args.crop)
        if args.radius:
            rows = grid(data, Path(folder), max(args.eps))
        else:
            rows = [row for name in args.presets for row in measured(name, data, Path(folder) / name, args.eps)]
    save(args.save, rows, seeds=[0], weights=[BUNDLE / "models" / "model.pt"], data=[args.dataset_dir])


if __name__ == "__main__":
    main()
