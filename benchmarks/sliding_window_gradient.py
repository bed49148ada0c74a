"""Time and peak memory of the gradient through sliding-window inference.

Plain MONAI autograd, torch checkpointing and ours, beside the limit: two forwards and one backward a window, and the
loss, without any stitching. Every method runs in a process of its own for its peak memory; ours and the limit are timed
in turn in one process. "half" and "all" keep the graphs of half of the windows and of all (`memory_limit`): the limit
for them holds these graphs, too, and leaves out their second forward.

    python benchmarks/sliding_window_gradient.py                    # 256x256x192, roi 96, overlap 0.5
    python benchmarks/sliding_window_gradient.py --size 128 128 96 --roi 64 --pairs 5
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from measured import Claims, Row, Table, add_save, cells, save
from monai.data.utils import dense_patch_slices
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from timing import COLUMNS, add_clock, interleaved_ratio
from torch.utils.checkpoint import checkpoint

from monai_smia.inferers import CheckpointedSlidingWindowInferer
from monai_smia.inferers.kept_graphs import MeasuredGraph

KEPT = {"ours": 0.0, "half": 0.5, "all": 1.0}  # share of the windows whose graphs are kept
METHODS = ("idle", "forward", "plain", "checkpoint", *KEPT)


def setting(args: argparse.Namespace) -> tuple[torch.nn.Module, torch.Tensor, dict[str, object]]:
    torch.manual_seed(0)
    network = UNet(3, 1, 2, (16, 32, 64, 128), (2, 2, 2), num_res_units=args.res_units).eval().requires_grad_(False)
    return network, torch.rand(1, 1, *args.size), {"roi_size": [args.roi] * 3, "overlap": 0.5, "mode": "gaussian"}


def gradient(inferer: SlidingWindowInferer, network: Callable[..., torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    image = image.clone().requires_grad_(True)
    return torch.autograd.grad(loss(inferer(image, network)), image)[0]


def loss(prediction: torch.Tensor) -> torch.Tensor:
    return prediction.log_softmax(1)[:, 1].sum()


def windows(args: argparse.Namespace) -> list[tuple[slice, ...]]:
    return dense_patch_slices(args.size, [args.roi] * 3, [args.roi // 2] * 3)


def memory_of(args: argparse.Namespace, network: torch.nn.Module, share: float) -> float:
    """Bytes that hold the graphs of so many windows."""
    window = torch.rand(1, 1, *[args.roi] * 3, requires_grad=True)
    with MeasuredGraph([*network.parameters(), *network.buffers(), window]) as graph:
        output = network(window)
    return float(round(share * len(windows(args))) * (graph.size + output.numel() * 4) * 1.001)


def limit(args: argparse.Namespace, network: torch.nn.Module, image: torch.Tensor, share: float) -> None:
    """The forward of every window, the loss, and the backward, after a second forward where the graph was not kept."""

    def forward(place: tuple[slice, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        window = image[(slice(None), slice(None), *place)].clone().requires_grad_(True)
        return window, network(window)

    places = windows(args)
    held = round(share * len(places))
    kept = [forward(place) for place in places[:held]]
    with torch.no_grad():
        for place in places[held:]:
            forward(place)
    stitched = torch.zeros(1, 2, *args.size, requires_grad=True)
    torch.autograd.grad(loss(stitched), stitched)
    cotangent = torch.ones(1, 2, *[args.roi] * 3)
    for number, place in enumerate(places):
        window, output = kept.pop() if number < held else forward(place)
        torch.autograd.grad(output, window, cotangent)


def run_one(args: argparse.Namespace) -> None:
    network, image, options = setting(args)
    start = time.perf_counter()
    if args.method == "forward":
        with torch.no_grad():
            SlidingWindowInferer(**options)(image, network)
    elif args.method == "plain":
        gradient(SlidingWindowInferer(**options), network, image)
    elif args.method == "checkpoint":
        gradient(SlidingWindowInferer(**options), lambda w: checkpoint(network, w, use_reentrant=False), image)
    elif args.method in KEPT:
        room = memory_of(args, network, KEPT[args.method])
        gradient(CheckpointedSlidingWindowInferer(memory_limit=room, **options), network, image)
    seconds = time.perf_counter() - start
    print(f"{seconds:.2f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f}")


METHOD = {
    "idle": "idle",
    "forward": "forward, no gradient",
    "plain": "plain autograd",
    "checkpoint": "torch checkpointing",
}
METHOD |= {"ours": "ours, flat memory", "half": "ours, graphs of half of the windows", "all": "ours, all graphs kept"}


def methods(rows: list[Row]) -> list[dict[str, str]]:
    columns = {"method": "{name}", "seconds, one run": "{seconds:.1f}", "peak MB above idle": "{peak:.0f}"}
    return cells([{**row, "name": METHOD[row["method"]]} for row in rows if row["method"] != "idle"], columns)


def claims(rows: list[Row]) -> Claims:
    """Flat memory."""
    peak = {row["method"]: row["peak"] for row in rows}
    yield (
        "A volume of {size}, windows of {roi}, overlap 0.5: {windows} windows; the volume is {volume:.0f} MB.".format(
            **rows[0]
        ),
        True,
    )
    least = min(value for name, value in peak.items() if name in ("plain", "checkpoint"))
    yield f"Ours takes {peak['ours'] / least:.2f} of the memory of the next.", peak["ours"] < least


def limits(rows: list[Row]) -> Claims:
    """Time over the least that the windows cost."""
    most = max(row["ratio"] for row in rows)
    yield f"At most {most:.2f} times what its windows cost (two forwards, one backward, the loss).", most < 1.15


LIMITS = {"method": "{beside the limit}", "memory limit (MB)": "{room:.0f}", **COLUMNS}
TABLES = {
    "methods": Table(methods, where=lambda row: "method" in row, claims=claims),
    "limits": Table(LIMITS, where=lambda row: "room" in row, claims=limits),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[256, 256, 192])
    parser.add_argument("--roi", type=int, default=96)
    parser.add_argument("--res-units", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--method", choices=METHODS, help="run one method and print its seconds and peak MB")
    parser.add_argument("--skip-plain", action="store_true", help="leave out plain autograd (10 GB and more)")
    parser.add_argument("--only", choices=[*KEPT], nargs="+", help="time these beside their limits, and nothing else")
    add_clock(parser)
    add_save(parser)
    args = parser.parse_args()
    if args.method:
        return run_one(args)

    volume = torch.Size(args.size).numel() * 4 / 2**20
    size = {"size": " x ".join(map(str, args.size)), "roi": args.roi, "windows": len(windows(args)), "volume": volume}
    print(size)
    rows: list[Row] = []
    idle = 0.0
    for method in METHODS:
        if args.only or (method == "plain" and args.skip_plain):
            continue
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--method", method], capture_output=True, text=True
        )
        if done.returncode:
            print(f"{method}: failed, out of memory?")
            continue
        seconds, peak = map(float, done.stdout.split()[-2:])
        idle = idle or peak
        rows.append({**size, "method": method, "seconds": seconds, "peak": peak - idle})
        print(rows[-1], flush=True)

    network, image, options = setting(args)
    for method in args.only or KEPT:
        share = KEPT[method]
        room = memory_of(args, network, share)
        inferer = CheckpointedSlidingWindowInferer(memory_limit=room, **options)
        result = interleaved_ratio(
            lambda inferer=inferer: gradient(inferer, network, image),
            lambda share=share: limit(args, network, image, share),
            pairs=args.pairs,
            clock=args.clock,
        )
        rows.append({**size, "beside the limit": method, "room": room / 2**20, **result})
        print(rows[-1], flush=True)
    save(args.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
