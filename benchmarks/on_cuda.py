"""On a CUDA device: attacks beside the CPU's, the gradient through windows, precision, compiling, synchronisation.

Everything is one process on one device. `tests/cuda` says whether figures are right; here is what they cost.

    python benchmarks/on_cuda.py --save cuda                       # 512 x 512 x 300, windows of 96 and 128
    python benchmarks/on_cuda.py --device cpu --size 48 48 48 --roi 32 --pairs 1 --steps 1    # does the script run?
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import torch
from compiled import compiled
from lower_precision import EPS, cases
from measured import Claims, Row, Table, add_save, save
from monai.data.utils import dense_patch_slices
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from timing import interleaved_ratio
from torch import Tensor, nn

from monai_smia.attacks import APGD, BIM, FMN, PGD, SMIA, Attack, Square
from monai_smia.inferers import CheckpointedSlidingWindowInferer
from monai_smia.inferers.kept_graphs import MeasuredGraph
from monai_smia.victims import Victim

ATTACKS: tuple[Attack, ...] = (
    BIM(eps=EPS, steps=4, progress=False),
    PGD(eps=EPS, steps=4, progress=False),
    APGD(eps=EPS, steps=6, progress=False),
    SMIA(eps=EPS, steps=4, progress=False),
    FMN(eps=8 * EPS, steps=6, progress=False),
    Square(eps=EPS, queries=20, progress=False),
)
SYNCHRONIZING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "aten::item")


def on(victim: Victim, device: str, dtype: torch.dtype = torch.float32) -> Victim:
    """The victim on a device."""
    other = copy.copy(victim)
    other.network = copy.deepcopy(victim.network).to(device, dtype)
    return other


def name_of(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


def finished(device: str, work: Callable[[], object]) -> Callable[[], None]:
    """The work, waited for."""

    def done() -> None:
        work()
        if device == "cuda":
            torch.cuda.synchronize()

    return done


def agreement(args: argparse.Namespace) -> list[Row]:
    """Largest difference of every attack's image from the CPU's, in float64."""
    rows = []
    for network, (victim, image, label) in cases(32, 32).items():
        here, there = on(victim, "cpu", torch.float64), on(victim, args.device, torch.float64)
        for attack in ATTACKS:
            expected = attack(here, image.double(), label).adversarial
            found = attack(there, image.double().to(args.device), label.to(args.device)).adversarial
            difference = float((found.to("cpu") - expected).abs().max())
            rows.append({"network": network, "attack": attack.name, "difference": difference})
    return rows


def gradient(inferer: SlidingWindowInferer, network: nn.Module, image: Tensor) -> Tensor:
    image = image.clone().requires_grad_(True)
    return torch.autograd.grad(loss(inferer(image, network)), image)[0]


def loss(prediction: Tensor) -> Tensor:
    return prediction.log_softmax(1)[:, 1].sum()


def limit(network: nn.Module, image: Tensor, roi: int, batch: int) -> None:
    """What the windows cost by themselves: two forwards and one backward each, and the loss of the volume."""
    places = dense_patch_slices(image.shape[2:], [roi] * 3, [roi // 2] * 3)
    groups = [places[n : n + batch] for n in range(0, len(places), batch)]
    taken = [lambda g=g: torch.cat([image[(slice(None), slice(None), *place)] for place in g]) for g in groups]
    with torch.no_grad():
        for windows in taken:
            network(windows())
    stitched = torch.zeros(1, 2, *image.shape[2:], device=image.device, requires_grad=True)
    torch.autograd.grad(loss(stitched), stitched)
    for windows in taken:
        held = windows().requires_grad_(True)
        output = network(held)
        torch.autograd.grad(output, held, torch.ones_like(output))


def windows(args: argparse.Namespace) -> list[Row]:
    """The gradient through windows: time over the limit and peak memory, by windows at once and graphs kept."""
    torch.manual_seed(0)
    network = UNet(3, 1, 2, (16, 32, 64, 128), (2, 2, 2)).eval().requires_grad_(False).to(args.device)
    image = torch.rand(1, 1, *args.size, device=args.device)
    rows = []
    for roi in args.roi:
        window = torch.rand(1, 1, *[roi] * 3, device=args.device, requires_grad=True)
        with MeasuredGraph([*network.parameters(), *network.buffers(), window]) as graph:
            output = network(window)
        count = len(dense_patch_slices(args.size, [roi] * 3, [roi // 2] * 3))
        every = count * (graph.size + output.numel() * output.element_size()) * 1.001
        del output
        for batch in args.batch:
            for share in (0.0, 0.5):
                options = {"roi_size": [roi] * 3, "overlap": 0.5, "mode": "gaussian", "sw_batch_size": batch}
                inferer = CheckpointedSlidingWindowInferer(memory_limit=share * every, **options)
                if args.device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                    before = torch.cuda.memory_allocated()
                ratio = interleaved_ratio(
                    finished(args.device, lambda i=inferer: gradient(i, network, image)),
                    finished(args.device, lambda r=roi, b=batch: limit(network, image, r, b)),
                    args.pairs,
                )
                peak = (torch.cuda.max_memory_allocated() - before) / 2**20 if args.device == "cuda" else None
                size = " x ".join(map(str, args.size))
                found = {"size": size, "roi": roi, "windows": count, "batch": batch, "kept": share, "peak": peak}
                rows.append({**found, **ratio})
                print(rows[-1], flush=True)
    return rows


def precision(args: argparse.Namespace) -> list[Row]:
    """An attack in lower precision, in channels-last memory and compiled, beside the same one in float32."""
    rows = []
    for network, (victim, image, label) in cases(64 if args.device == "cuda" else 32, args.side).items():
        there, image, label = on(victim, args.device), image.to(args.device), label.to(args.device)
        options = {"eps": EPS, "steps": args.steps, "keep": "last", "progress": False}
        exact = PGD(**options)
        tried = {
            f"{kind}{', channels last' if last else ''}": (there, PGD(autocast=kind, channels_last=last, **options))
            for kind in ("bfloat16", "float16")
            for last in (True, False)
        }
        if args.device == "cuda":
            tried["compiled"] = (compiled(there), exact)
        for name, (other, attack) in tried.items():
            ratio = interleaved_ratio(
                finished(args.device, lambda a=attack, v=other, x=image, y=label: a(v, x, y)),
                finished(args.device, lambda a=exact, v=there, x=image, y=label: a(v, x, y)),
                args.pairs,
            )
            both = [
                float(there.damage(there.infer(a(v, image, label).adversarial), label).mean())
                for a, v in ((attack, other), (exact, there))
            ]
            rows.append({"network": network, "precision": name, "damage": both[0], "exact": both[1], **ratio})
            print(rows[-1], flush=True)
    return rows


def synchronisations(args: argparse.Namespace) -> list[Row]:
    """How often one further step of an attack waits for the device, by the profiler."""
    if args.device != "cuda":
        return []
    rows = []
    for network, (victim, image, label) in cases(64, args.side).items():
        there, image, label = on(victim, args.device), image.to(args.device), label.to(args.device)
        for kind in (BIM, PGD, SMIA, APGD):
            waits = []
            for steps in (5, 15):
                attack = kind(eps=EPS, steps=steps, progress=False)
                attack(there, image, label)
                with torch.profiler.profile() as profile:
                    attack(there, image, label)
                waits.append(sum(event.count for event in profile.key_averages() if event.key in SYNCHRONIZING))
            rows.append({"network": network, "step of": kind.__name__, "waits": (waits[1] - waits[0]) / 10})
            print(rows[-1], flush=True)
    return rows


def equal(rows: list[Row]) -> Claims:
    """The same images."""
    most = max(row["difference"] for row in rows)
    yield f"In float64 no voxel of an attacked image differs from the CPU's by more than {most:.0e}.", most < 1e-9


DAMAGE = {"damage": "{damage:.3f}", "damage in float32": "{exact:.3f}"}
TIMES = {"time / float32 (95 % interval)": "{ratio:.2f} ({low:.2f} to {high:.2f})"}
LIMIT = {"time / limit (95 % interval)": "{ratio:.2f} ({low:.2f} to {high:.2f})", "seconds": "{ours_s:.1f}"}
PLACES = {"volume": "{size}", "windows": "{windows} of {roi}", "at once": "{batch}", "graphs kept": "{kept:.0%}"}
TABLES = {
    "equal": Table(
        {"network": "{network}", "attack": "{attack}", "difference": "{difference:.1e}"},
        where=lambda row: "difference" in row,
        claims=equal,
    ),
    "windows": Table({**PLACES, "peak (MB)": "{peak:.0f}", **LIMIT}, where=lambda row: "roi" in row),
    "precision": Table(
        {"network": "{network}", "attack in": "{precision}", **TIMES, **DAMAGE}, where=lambda row: "precision" in row
    ),
    "waits": Table(
        {"network": "{network}", "attack": "{step of}", "waits a step": "{waits:.1f}"},
        where=lambda row: "step of" in row,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", type=int, nargs=3, default=[512, 512, 300])
    parser.add_argument("--roi", type=int, nargs="+", default=[96, 128])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="windows at once")
    parser.add_argument("--side", type=int, default=128, help="of the pictures")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=5)
    add_save(parser)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "no CUDA device: --device cpu runs the script, and says nothing of CUDA.\n")
    start = time.perf_counter()
    parts = (agreement, windows, precision, synchronisations)
    rows = [{**row, "device": name_of(args.device)} for part in parts for row in part(args)]
    print(f"{len(rows)} rows in {time.perf_counter() - start:.0f} s")
    save(args.save, rows, seeds=[0], device=name_of(args.device))


if __name__ == "__main__":
    main()
