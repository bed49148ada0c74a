"""How long exhaustive proofs and the preset shifts take: all offsets within 40 HU of a cube of CT, and every demo.

The cube is cut from the held-out patient around the middle of the lungs, on the network's spacing of 2.5 mm, and every
offset goes through the deployed pipeline (`attack_eval`, `TryAll`). The demos are the
synthetic cases of the bundles, by the command line with nothing but ``--preset shifts``. Processor time is that of one
thread.

    python benchmarks/shift_times.py --dataset_dir CT
    python benchmarks/shift_times.py --dataset_dir CT --crop 48 --demos    # no demo
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from measured import ROOT, Claims, Row, Table, add_save, save
from shifts import BUNDLES, NAMES, evaluation

from monai_smia.attacks import TryAll
from monai_smia.records import Summary
from monai_smia.shifts import HUOffset

OFFSETS, DEMO = "all HU offsets", "demo"
LIMITS = {OFFSETS: 30.0, DEMO: 240.0}  # seconds


def claims(rows: list[Row]) -> Claims:
    """Whether they keep to their limits."""
    for what, limit in LIMITS.items():
        chosen = [row for row in rows if row["what"] == what]
        if chosen:
            longest = max(row["processor"] for row in chosen)
            told = "the demos" if what == DEMO else f"{chosen[0]['tried']} offsets of a cube of {chosen[0]['of']}"
            word = "less" if longest < limit else "more"
            yield f"Of processor time {told} take at most {longest:.0f} s, {word} than {limit:.0f} s.", True
    for row in rows:
        if row["what"] == OFFSETS:
            yield (
                f"No offset within +-{row['reach']:g} HU brings this patient's cube below a Jaccard index of "
                f"{row['worst']:.3f} (clean {row['clean']:.3f}): {row['told']}.",
                True,
            )


COLUMNS = {"what": "{what}", "of": "{of}", "tried or rows": "{tried}", "seconds": "{seconds:.0f}"}
TABLES = {"table": Table({**COLUMNS, "of a processor": "{processor:.0f}"}, claims=claims)}


def offsets(args: argparse.Namespace, folder: Path) -> Row:
    """All offsets of the cube, by the deployed pipeline."""
    given = {"bundle": "ct", "preset": "shifts", "severity": 5, "eps": 0.02, "draws": None, "gradients": None}
    given |= {"shifts": ["HUCalibration"], "proofs": ["HUOffset"], "certify": None, "cases": 1, "progress": False}
    given |= {"spacing": [2.5, 2.5, 2.5]}
    made = evaluation(argparse.Namespace(**{**vars(args), **given}), BUNDLES / NAMES["ct"] / "models/model.pt", folder)
    made.attacks = [row for row in made.attacks if isinstance(row.attack, TryAll)]  # and the clean image
    began, processor = time.perf_counter(), time.process_time()
    made.run()
    seconds, of_processor = time.perf_counter() - began, time.process_time() - processor
    gap = next(gap for gap in Summary.read(folder).shifts if gap.every_value)
    found = {name: getattr(gap, name) for name in ("clean", "worst", "told")}
    size = "x".join([str(args.crop)] * 3)
    more = {"tried": gap.draws, "seconds": seconds, "processor": of_processor, "reach": float(HUOffset().box(3)[1])}
    return {"what": OFFSETS, "of": size, **more, **found}


def demo(bundle: str, folder: Path) -> Row:
    """The preset on the demo of a bundle, by the command line."""
    configs = str([str(BUNDLES / bundle / "configs" / "attack_eval.yaml")])
    command = [sys.executable, "-m", "monai.bundle", "run", "attack_eval", "--config_file", configs]
    command += ["--bundle_root", str(BUNDLES / bundle), "--output_dir", str(folder), "--preset", "shifts"]
    began, processor = time.perf_counter(), used()
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    seconds, of_processor = time.perf_counter() - began, used() - processor
    rows = len(Summary.read(folder).shifts)
    return {"what": DEMO, "of": bundle, "tried": rows, "seconds": seconds, "processor": of_processor}


def used() -> float:
    """Processor seconds of ended subprocesses."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--demos", nargs="*", choices=sorted(NAMES.values()), default=sorted(NAMES.values()))
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        rows = [offsets(args, Path(folder) / "offsets")]
        print(rows[0], flush=True)
        for bundle in args.demos:
            rows.append(demo(bundle, Path(folder) / bundle))
            print(rows[-1], flush=True)
    files = [f"bundles/{name}/models/model.pt" for name in dict.fromkeys([NAMES["ct"], *args.demos])]
    save(args.save, rows, seeds=[0], weights=files, data=[args.dataset_dir])


if __name__ == "__main__":
    main()
