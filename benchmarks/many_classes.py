"""Memory of the gradient where there are 104 classes: beside the forward pass, and beside plain autograd.

A MeshNet of 21 channels through sliding windows; every line is a process of its own, its peak above what it holds once
network and image are loaded (Linux). "Attack" is a step of BIM that keeps the best of its two iterates, so that it
scores both. Plain autograd is MONAI's own sliding window with `torch.nn.functional.cross_entropy`.

    python benchmarks/many_classes.py --side 160                      # weights drawn at random
    MONAI_SMIA_MODELS=... python benchmarks/many_classes.py --brainchop --side 256 --limit 12
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch
from measured import Claims, Row, Table, add_save, save
from meshnets import drawn_meshnet, meshnet, models, scan
from monai.inferers import SlidingWindowInferer
from torch.nn import functional as F

from monai_smia.attacks import BIM
from monai_smia.victims import SegmentationVictim

FORWARD = "forward pass"
PLAIN = "plain autograd, cross_entropy"
HALF = "attack, cross_entropy, logits in float16"
LINES = (FORWARD, "attack, cross_entropy", HALF, PLAIN, "attack, soft_jaccard")
GB = 2**30
SMALL = 0.1  # GB of a prediction, of which a process's own memory says nothing


def measure(line: str, side: int, window: int, overlap: float, *, brainchop: bool, limit: float | None) -> None:
    """Prints seconds, and peak GB above what there was before."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = meshnet("model21_104class") if brainchop else drawn_meshnet()
    image = scan(side) if brainchop else torch.rand(1, 1, side, side, side)
    inferer = SlidingWindowInferer(window, overlap=overlap, mode="gaussian")
    victim = SegmentationVictim(network, inferer=inferer, allow_empty=True)
    victim = victim.with_logits("float16") if line == HALF else victim
    label = (torch.arange(side) % 104).view(1, 1, side, 1, 1).expand(1, 1, side, side, side).contiguous()
    network(image[..., :8, :8, :8])  # what the first call sets up
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (int(idle + limit * GB),) * 2)
    start = time.process_time()
    try:
        if line == FORWARD:
            victim.infer(image)
        elif line == PLAIN:
            image.requires_grad_(True)
            F.cross_entropy(inferer(image, network), label[:, 0], reduction="sum").backward()
        else:
            BIM(eps=0.03, steps=1, loss=line.split(", ")[1], progress=False)(victim, image, label)
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        return print("nan nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{time.process_time() - start:.1f} {(peak - idle) / GB:.3f}")


def claims(rows: list[Row]) -> Claims:
    """How far the gradient lies above the forward pass; nothing of a prediction that is less than the process."""
    if rows[0]["prediction"] < SMALL:
        return
    forward, *attacks = (row for row in rows if row["line"] not in (PLAIN, HALF))
    worst = max(row["peak"] for row in attacks)
    times = worst / forward["peak"]
    yield (
        f"A gradient needs {worst - forward['peak']:.2f} GB more than the forward pass at most ({times:.2f} times), "
        f"less than one further prediction of {forward['prediction']:.2f} GB.",
        worst - forward["peak"] < forward["prediction"],
    )
    half, full, plain = (next((row for row in rows if row["line"] == line), None) for line in (HALF, LINES[1], PLAIN))
    if half and full:
        yield f"With logits in float16 it needs {full['peak'] - half['peak']:.2f} GB less.", half["peak"] < full["peak"]
    if plain is None:
        return
    if plain["peak"] is None:
        yield f"Plain autograd does not fit into {plain['limit']:g} GB.", True
    else:
        yield f"Plain autograd needs {plain['peak'] / forward['peak']:.1f} times that.", plain["peak"] > worst


TABLES = {
    "table": Table(
        {"": "{line}, {side}^3", "peak GB above idle": "{peak:.2f}", "seconds of one thread": "{seconds:.0f}"},
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128, help="voxels along each axis")
    parser.add_argument("--window", type=int, default=64, help="voxels of a window along each axis")
    parser.add_argument("--overlap", type=float, default=0.25, help="of windows, as a share of them")
    parser.add_argument("--brainchop", action="store_true", help="brainchop's weights and MRI instead of drawn ones")
    parser.add_argument("--limit", type=float, help="GB above idle at which a line is stopped")
    parser.add_argument("--lines", nargs="+", choices=LINES[2:], default=LINES[2:], help="beside the first two")
    parser.add_argument("--only", choices=LINES, help="one line, without its table")
    add_save(parser)
    args = parser.parse_args()
    if args.only:
        return measure(args.only, args.side, args.window, args.overlap, brainchop=args.brainchop, limit=args.limit)
    rows: list[Row] = []
    options = ["--side", args.side, "--window", args.window, "--overlap", args.overlap]
    options += ["--brainchop"] * args.brainchop + ([] if args.limit is None else ["--limit", args.limit])
    size = {"side": args.side, "prediction": 104 * args.side**3 * 4 / GB, "limit": args.limit}
    for line in (*LINES[:2], *args.lines):
        command = [sys.executable, __file__, "--only", line, *map(str, options)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds, peak = (None if value == "nan" else float(value) for value in done.stdout.split())
        rows.append({"line": line, "seconds": seconds, "peak": peak, **size})
        print(rows[-1], flush=True)
    print(TABLES["table"].markdown(rows))
    weights = [models() / "model21_104class.safetensors"] if args.brainchop else []
    save(args.save, rows, seeds=[0], weights=weights)


if __name__ == "__main__":
    main()
