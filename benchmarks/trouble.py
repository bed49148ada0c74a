"""A run that the machine interrupts comes to what one without trouble comes to: kills, full disks, two processes.

A small evaluation (three cases, clean, noise and BIM, stored and drawn) is killed (SIGKILL) at drawn moments and run
again until it ends; its disk is full from a drawn file on, and then it is not; two processes start on one folder. Each
time records, summary rows, pictures and kept volumes are compared, byte for byte but for the seconds that rows took.

    python benchmarks/trouble.py --kills 200
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import multiprocessing
import os
import random
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from measured import Claims, Row, Table, add_save, save
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from torch import nn

from monai_smia.attacks import BIM, Noise
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.errors import DiskFullError, LockedError
from monai_smia.metrics import SegmentationMetrics
from monai_smia.report.figures import segmentation_figure
from monai_smia.storage import NiftiStorage
from monai_smia.victims import SegmentationVictim

KEYS = ["image", "label"]
FORK = multiprocessing.get_context("fork")


class Dark(nn.Module):
    """What is darker than a threshold is the object."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        score = nn.functional.avg_pool3d(-600 - image, 3, 1, 1)
        return torch.cat([-score, score], 1)


def make_cases(folder: Path, count: int = 3) -> list[dict[str, str]]:
    """Small volumes with an object, and their labels."""
    cases = []
    for number in range(count):
        image, label = np.full((14, 14, 8), -520, np.int16), np.zeros((14, 14, 8), np.uint8)
        image[3:11, 3:11, 2:7], label[3:11, 3:11, 2:7] = -650, 1
        image += np.random.default_rng(number).integers(-60, 61, image.shape, dtype=np.int16)
        files = [str(folder / f"case{number}_{key}.nii.gz") for key in KEYS]
        for file, values in zip(files, (image, label), strict=True):
            nib.save(nib.Nifti1Image(values, np.diag([-2.0, -2, 2, 1])), file)
        cases.append({"case": f"case{number}", "image": files[0], "label": files[1]})
    return cases


def evaluation(cases: list[dict[str, str]], folder: Path) -> AttackEvaluation:
    """The evaluation that is interrupted."""
    options: dict[str, Any] = {"eps": 30.0, "clip": (-1024.0, 3071.0), "progress": False}
    return AttackEvaluation(
        cases=cases,
        loading=Compose([LoadImaged(KEYS, image_only=True), EnsureChannelFirstd(KEYS)]),
        victim=SegmentationVictim(Dark()),
        attacks=[Noise(**options), BIM(steps=2, **options)],
        metrics=SegmentationMetrics(2),
        output_dir=folder,
        storage=NiftiStorage(folder / "volumes"),
        figure=segmentation_figure,
        figures=1,
        progress=False,
    )


def result_of(folder: Path) -> dict[str, Any]:
    """What must not depend on interruptions."""
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    rows = json.loads((folder / "summary.json").read_text())["rows"]
    timeless = [{name: value for name, value in each.items() if name != "seconds"} for each in [*lines, *rows]]
    files = [path for name in ("figures", "volumes") for path in sorted((folder / name).iterdir())]
    drawn = (".png", ".json")  # pictures, and slices of volumes
    pictures = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.suffix in drawn}
    volumes = {p.name: nib.load(p).get_fdata().tobytes() for p in files if p.suffix not in drawn}
    left = [path.name for path in folder.rglob(".unfinished-*")]
    return {"records": timeless, "pictures": pictures, "volumes": volumes, "left": left}


def in_child(work: Callable[[], Any]) -> Any:
    """A process that does some work, started."""
    process = FORK.Process(target=work)
    process.start()
    return process


def killed(cases: list[dict[str, str]], folder: Path, whole: Any, count: int, seed: int = 0) -> Row:
    """Kills at drawn moments of a run, which is started again where it was; how many results there were, and equal."""
    start = time.perf_counter()
    evaluation(cases, folder / "once").run()
    duration, draw = time.perf_counter() - start, random.Random(seed)
    results = equal = within = 0
    out = folder / "0"
    for _ in range(count):
        process = in_child(evaluation(cases, out).run)
        process.join(draw.uniform(0, duration))
        within += process.is_alive()
        process.kill()
        process.join()
        if (out / "summary.json").exists():
            evaluation(cases, out).run()
            results, equal = results + 1, equal + (result_of(out) == whole)
            out = folder / str(results)
    evaluation(cases, out).run()
    results, equal = results + 1, equal + (result_of(out) == whole)
    return {"trouble": "SIGKILL", "times": within, "results": results, "equal": equal, "sentences": None}


def without_room(cases: list[dict[str, str]], folder: Path, whole: Any, count: int, seed: int = 0) -> Row:
    """A disk that is full from a drawn file on, and then not."""
    fsync, written, draw = os.fsync, [0], random.Random(seed)

    def full(limit: int) -> Callable[[int], None]:
        def refuse(file: int) -> None:
            written[0] += 1
            if written[0] > limit:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(file)

        return refuse

    sentences = equal = 0
    try:
        os.fsync = full(1 << 30)
        evaluation(cases, folder / "once").run()
        files = written[0]
        for number in range(count):
            out = folder / str(number)
            written[0], os.fsync = 0, full(draw.randrange(files))
            try:
                evaluation(cases, out).run()
            except DiskFullError as error:
                sentences += "what is done is kept" in str(error)
            os.fsync = fsync
            evaluation(cases, out).run()
            equal += result_of(out) == whole
    finally:
        os.fsync = fsync
    return {"trouble": "full disk", "times": count, "results": count, "equal": equal, "sentences": sentences}


def in_pairs(cases: list[dict[str, str]], folder: Path, whole: Any, count: int) -> Row:
    """Two processes that start on one folder; the second is refused, unless the first has ended."""
    told, sentences, equal = FORK.Queue(), 0, 0

    def run(out: Path) -> None:
        try:
            evaluation(cases, out).run()
            told.put("")
        except LockedError as error:
            told.put(str(error))

    for number in range(count):
        out = folder / str(number)
        both = [in_child(lambda out=out: run(out)) for _ in range(2)]
        for process in both:
            process.join()
        sentences += sum("is in use by" in told.get() for _ in both)
        equal += result_of(out) == whole
    return {"trouble": "two processes", "times": count, "results": count, "equal": equal, "sentences": sentences}


def measure(kills: int, full: int, pairs: int) -> list[Row]:
    """Rows of the table."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = make_cases(folder)
        evaluation(cases, folder / "whole").run()
        whole = result_of(folder / "whole")
        return [
            killed(cases, folder / "killed", whole, kills),
            without_room(cases, folder / "full", whole, full),
            in_pairs(cases, folder / "pairs", whole, pairs),
        ]


def claims(rows: list[Row]) -> Claims:
    """All results are that of the run without trouble."""
    count, equal = (sum(row[name] for row in rows) for name in ("results", "equal"))
    yield f"{equal} of {count} results are that of the run without trouble.", equal == count


COLUMNS = {"trouble": "{trouble}", "times": "{times}", "results": "{results}", "equal": "{equal}"}
TABLES = {"table": Table({**COLUMNS, "ended with a sentence": "{sentences}"}, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--full", type=int, default=40, help="disks that are full at a drawn moment")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of processes on one folder")
    add_save(parser)
    args = parser.parse_args()
    rows = measure(args.kills, args.full, args.pairs)
    for row in rows:
        print(row, flush=True)
    save(args.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
