"""An evaluation of volumes: two processes against one of two threads, and what its parts cost, the network first.

python benchmarks/evaluation.py [--only throughput | overhead] [--pairs 5] [--cases 4] [--steps 3]
python benchmarks/evaluation.py --only overhead --preset quick --dataset_dir CT --save NAME

The share of records and report grows with fewer steps: of the ten that are the default of attack_eval it is less. With
`--dataset_dir` the parts are those of the held-out patient; `--rows` leaves rows of the plan out.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ignite.distributed as idist
import torch
import torch.multiprocessing as multiprocessing
from measured import Claims, Row, Table, add_save, save
from monai.bundle import ConfigParser
from monai.networks.nets import UNet
from timing import ratio_of

from monai_smia.data import write_ct_phantoms
from monai_smia.evaluation import AttackEvaluation, row
from monai_smia.evaluation.progress import Progress
from monai_smia.inferers import windows
from monai_smia.metrics import segmentation
from monai_smia.records import COMPUTED, Journal, Summary
from monai_smia.storage import NiftiStorage

BUNDLE = Path(__file__).parents[1] / "bundles" / "ct_lung_segmentation"
PARTS = ("whole run", "network", "sizes", "surfaces", "storage", "records", "report", "pictures")
PROCESSES = ((1, 2, 0), (2, 1, 0), (2, 1, 1))  # of one: how many it is with, its threads, its rank


def evaluation(dataset_dir: Path, output_dir: Path, steps: int, **options: Any) -> AttackEvaluation:
    """The CT bundle's attack_eval, from the start."""
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "attack_eval.yaml")
    anew = {"evaluation::resume": False, "evaluation::progress": False, "output_dir": str(output_dir)}
    data = {"dataset_dir": str(dataset_dir), "split": None}
    parser.update({"bundle_root": str(BUNDLE), "preset": "paper", "steps": steps, **data, **anew, **options})
    parser.get_parsed_content("initialize")
    found: AttackEvaluation = parser.get_parsed_content("evaluation")
    return found


def worker(number: int, data: Path, folder: Path, args: argparse.Namespace, turns: Any, times: Any) -> None:
    """One of the three processes: waits for its turn, runs, says how long it took."""
    processes, threads, rank = PROCESSES[number]
    torch.set_num_threads(threads)
    if processes > 1:
        idist.initialize("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=processes)
    run = evaluation(data, folder / str(processes), args.steps, **{"evaluation::attacks": "$@attacks[:7]"}).run
    for pair in range(args.pairs + 1):  # the first warms up
        for turn in (1, 2) if pair % 2 == 0 else (2, 1):
            turns.wait()
            start = time.perf_counter()
            if turn == processes:
                run()
                if rank == 0 and pair > 0:
                    times.put((pair, processes, time.perf_counter() - start))
            turns.wait()


def throughput(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """Time of one process of two threads over that of two processes of one, in turn."""
    data = write_ct_phantoms(folder / "ct", args.cases, size=(80, 80, 32), spacing=(3.0, 3.0, 6.0), seed=2000)
    context = multiprocessing.get_context("spawn")
    turns, times = context.Barrier(len(PROCESSES)), context.Queue()
    multiprocessing.spawn(worker, (data, folder, args, turns, times), nprocs=len(PROCESSES))
    found = {(pair, processes): seconds for pair, processes, seconds in (times.get() for _ in range(2 * args.pairs))}
    return ratio_of([(found[pair, 1], found[pair, 2]) for pair in range(1, args.pairs + 1)])


def overhead(folder: Path, args: argparse.Namespace) -> list[Row]:
    """Wall and processor seconds of a whole attack_eval of one thorax, and of its parts.

    The network is every window forward and backward, those of deployed predictions among them; "sizes" is the size and
    the visibility of the perturbation, "surfaces" the distances of decision and label, "storage" writing the
    adversarial image and reading it again. What is left is resampling, losses, steps and decisions.
    """
    clocks = (time.perf_counter, time.process_time)
    spent = {part: [0.0, 0.0] for part in PARTS}

    def watch(part: str, owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            start = [clock() for clock in clocks]
            try:
                return function(*args, **options)
            finally:
                spent[part] = [s + clock() - t for s, clock, t in zip(spent[part], clocks, start, strict=True)]

        setattr(owner, name, timed)

    for name in ("__init__", "open", "line"):
        watch("records", Progress, name)
    watch("records", Journal, "add")
    watch("report", AttackEvaluation, "_finish")
    watch("pictures", row.RowEvaluator, "_draw")
    watch("whole run", AttackEvaluation, "run")
    watch("sizes", row, "perturbation_metrics")
    watch("surfaces", segmentation, "surface_scores")
    for name in ("write", "read"):
        watch("storage", NiftiStorage, name)
    watch("network", UNet, "forward")
    watch("network", windows, "_vector_jacobian")
    data = args.dataset_dir or write_ct_phantoms(
        folder / "demo", 1, size=(112, 80, 32), spacing=(3.3, 3.3, 6.0), seed=1000
    )
    split = "test" if args.dataset_dir else None
    run = evaluation(data, folder / "out", args.steps, preset=args.preset, split=split)
    run.attacks = [planned for planned in run.attacks if not args.rows or planned.name in args.rows]
    run.run()
    gradients = sum(row.value("gradients") or 0.0 for row in Summary.read(folder / "out").rows if row.stage == COMPUTED)
    rows, peak = [], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for part, (wall, processor) in spent.items():
        found = {"part": part, "wall": wall, "processor": processor, "share": processor / spent["whole run"][1]}
        plan = {"preset": args.preset, "rows": len(run.attacks), "gradients": gradients}
        rows.append({**found, **plan, "patient": bool(args.dataset_dir), "peak_mb": peak})
    return rows


def data_of(args: argparse.Namespace) -> list[Path]:
    """The folder of the data, where they are real."""
    return [args.dataset_dir] if args.dataset_dir else []


def network_claim(rows: list[Row]) -> Claims:
    """The share of the network."""
    share = next(row["share"] for row in rows if row["part"] == "network")
    peak = f"{rows[0]['peak_mb']:.0f} MB of memory at most"
    yield f"The network takes {100 * share:.0f} % of the processor time; {peak}.", 0 < share < 1


def print_throughput(found: dict[str, float]) -> None:
    print("| seconds, 1 process x 2 threads | 2 processes x 1 thread | ratio (95 % interval) |\n|---|---|---|")
    ratio = f"{found['ratio']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
    print(f"| {found['ours_s']:.1f} | {found['theirs_s']:.1f} | {ratio} |\n")


TABLES = {
    "overhead": Table(
        {
            "part of attack_eval": "{part}",
            "processor seconds": "{processor:.1f}",
            "share": "{share:.1%}",
            "preset": "{preset}",
            "rows": "{rows}",
            "gradients": "{gradients:.0f}",
        },
        claims=network_claim,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--preset", default="paper", help="of the parts")
    parser.add_argument("--dataset_dir", type=Path, help="of the parts, instead of the demo data")
    parser.add_argument("--rows", nargs="+", help="names of the rows of the plan that are run")
    parser.add_argument("--only", choices=("throughput", "overhead"))
    add_save(parser)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        if args.only != "overhead":
            print_throughput(throughput(Path(folder), args))
        if args.only != "throughput":
            rows = overhead(Path(folder), args)
            print(TABLES["overhead"].markdown(rows))
            save(args.save, rows, seeds=[0], weights=[BUNDLE / "models" / "model.pt"], data=data_of(args))


if __name__ == "__main__":
    main()
