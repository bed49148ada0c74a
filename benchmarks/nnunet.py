"""Time and memory of the gradient through a whole nnU-Net, and of its resampling.

The model is that of examples/nnunet_thorax, the case one that it was not trained on. The limit is what its tiles cost,
in every mirroring and by every fold: a forward, and a forward and backward; all else (cropping, normalization,
resampling there and back, blending, the loss) is on top of it in ours. Peak memory is of a process of its own (Linux),
above what it holds once model and case are loaded. Needs nnunetv2 (`make test_nnunet` sets up .venv-nnunet).

    .venv-nnunet/bin/python benchmarks/nnunet.py --cpu
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from measured import ROOT, Claims, Row, Table, add_save, save
from timing import COLUMNS, add_clock, interleaved_ratio

from monai_smia.adapters.nnunet import NNUNetVictim
from monai_smia.adapters.nnunet.resampling import SPLINE, Resampling
from monai_smia.inferers import MeanNetwork

EXAMPLE = ROOT / "examples" / "nnunet_thorax"
MODEL = EXAMPLE / "nnUNetTrainer__nnUNetPlans__3d_fullres"
SETTINGS = {  # folds, mirroring, how much longer the image is; and whether it is timed, too
    "1 fold": ([0], False, 1, True),
    "2 folds": ([0, 1], False, 1, True),
    "1 fold, mirrored": ([0], True, 1, True),
    "2 folds, mirrored": ([0, 1], True, 1, False),
    "1 fold, a longer image": ([0], False, 3, False),
}
SIZE, SHAPE = (128, 224, 224), (150, 192, 192)  # of the resampling


class Plain:
    """The same tiles by plain autograd, which keeps the graph of every one."""

    def __init__(self, victim: NNUNetVictim) -> None:
        self.tiling, self.mirrorings = victim.deployed.tiling, victim.deployed.mirrorings

    def __call__(self, image: torch.Tensor, network: torch.nn.Module) -> torch.Tensor:
        tiling = self.tiling(image.shape[2:])
        total: Any = 0
        count = torch.zeros(image.shape[2:])
        for place in tiling.places:
            tile = image[(slice(None), slice(None), *place)]
            outputs = []
            for axes in self.mirrorings:
                dims = [axis + 2 for axis in axes]
                outputs.append(network(tile.flip(dims)).flip(dims))
            ends = zip(reversed(place), reversed(image.shape[2:]), strict=True)
            padding = [amount for side, size in ends for amount in (side.start, size - side.stop)]
            total = total + torch.nn.functional.pad(torch.stack(outputs).mean(0) * tiling.weight.float(), padding)
            count[place] += tiling.weight.float()
        return total / count


def case(folder: Path, longer: int) -> Path:
    """The files of a case; a longer one is the same thorax over and over."""
    command = [sys.executable, str(EXAMPLE / "thorax.py"), "--data", str(folder)]
    subprocess.run(command, check=True)
    file = min((folder / "imagesTs").iterdir())
    if longer > 1:
        image: Any = nib.load(file)
        nib.save(nib.Nifti1Image(np.concatenate([np.asarray(image.dataobj)] * longer, 2), image.affine), file)
    return file


def prepared(setting: str) -> tuple[Any, torch.Tensor]:
    """The victim bound to its image, and the image."""
    folds, mirroring, longer, _ = SETTINGS[setting]
    victim = NNUNetVictim.from_folder(MODEL, folds=folds, mirroring=mirroring)
    with tempfile.TemporaryDirectory() as folder:
        image = victim.read([case(Path(folder), longer)])[None]
    label = torch.zeros(1, 1, *image.shape[2:], dtype=torch.long)
    return victim.bind(image, label)[0], image.as_tensor()


def gradient(bound: Any, image: torch.Tensor) -> torch.Tensor:
    """Of the cross entropy with the background."""
    leaf = image.clone().requires_grad_(True)
    with bound.frozen():
        label = torch.zeros(1, 1, *image.shape[2:], dtype=torch.long)
        return torch.autograd.grad(bound.loss(bound.predict(leaf), label).sum(), leaf)[0]


def tiles_of(bound: Any, image: torch.Tensor) -> int:
    """Number of tiles of the image."""
    shape = [max(a, b) for a, b in zip(bound.network_input(image).shape[2:], bound.deployed.tile, strict=True)]
    return len(bound.deployed.tiling(shape).places)


def limit(bound: Any, tiles: int) -> None:
    """A forward of every tile, then a forward and a backward."""
    members = list(bound.network.members) if isinstance(bound.network, MeanNetwork) else [bound.network]
    calls = [member for member in members for _ in bound.deployed.mirrorings for _ in range(tiles)]
    tile = torch.rand(1, len(bound.deployed.channel_names), *bound.deployed.tile)
    with torch.no_grad():
        for member in calls:
            cotangent = torch.ones_like(member(tile))
    for member in calls:
        leaf = tile.clone().requires_grad_(True)
        torch.autograd.grad(member(leaf), leaf, cotangent)


def run_one(setting: str, method: str) -> None:
    """Print by how much a gradient takes this process above what it held before, at most."""
    bound, image = prepared(setting)
    if method == "plain":
        bound = bound.with_inferer(Plain(bound))
    before = held("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # from here on, the highest is counted anew
    gradient(bound, image)
    print(held("VmHWM") - before)


def held(name: str) -> float:
    """Memory of this process in MB, now (``VmRSS``) or at most (``VmHWM``)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 2**10


def peak(setting: str, method: str) -> float:
    """Of a process of its own that gives back at once what it frees, in MB."""
    command = [sys.executable, __file__, "--one", setting, method]
    given_back = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | given_back)
    return float(done.stdout.split()[-1])


def resampling(clock: Callable[[], float]) -> Row:
    """Seconds of nnU-Net's resampling of order 3, and of ours there and back."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    image = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0))
    ones, ours = [1.0, 1.0, 1.0], Resampling(SPLINE, 3, 0, None)
    ours(image, SHAPE, ones, ones)  # its matrices
    start = clock()
    theirs = resample_data_or_seg_to_shape(image.numpy(), SHAPE, ones, ones, order=3, order_z=0)
    there = clock()
    leaf = image.clone().requires_grad_(True)
    output = ours(leaf, SHAPE, ones, ones)
    forward = clock()
    torch.autograd.grad(output.sum(), leaf)
    apart = float(np.abs(output.detach().numpy() - theirs).max())
    text = [" x ".join(map(str, shape)) for shape in (SIZE, SHAPE)]
    times = {"theirs_s": there - start, "forward_s": forward - there, "backward_s": clock() - forward}
    return {"from": text[0], "to": text[1], **times, "apart": apart}


def time_claims(rows: Sequence[Row]) -> Claims:
    """Little more than the tiles."""
    most = max(row["ratio"] for row in rows)
    yield f"At most {most:.2f} times what the tiles cost, with all that is around them.", most <= 1.10


def memory_claims(rows: Sequence[Row]) -> Claims:
    """Flat."""
    ours = {row["setting"]: row["peak"] for row in rows if row["method"] == "ours"}
    calls = {row["setting"]: row["calls"] for row in rows}
    least, most = ours["1 fold"], ours["2 folds, mirrored"]
    times = calls["2 folds, mirrored"] / calls["1 fold"]
    yield f"{times:.0f} times the windows take {most / least:.2f} times the memory.", most < 1.25 * least
    plain = next(row["peak"] for row in rows if row["method"] == "plain")
    yield f"Ours takes {least / plain:.2f} of the memory of plain autograd with 1 fold.", least < plain


TABLES = {
    "time": Table(
        {"setting": "{setting}", "tiles x mirrorings x folds": "{calls}", **COLUMNS},
        where=lambda row: "ratio" in row,
        claims=time_claims,
    ),
    "memory": Table(
        {
            "setting": "{setting}",
            "tiles x mirrorings x folds": "{calls}",
            "gradient by": "{method}",
            "peak MB": "{peak:.0f}",
        },
        where=lambda row: "peak" in row,
        claims=memory_claims,
    ),
    "resampling": Table(
        {
            "from": "{from}",
            "to": "{to}",
            "nnU-Net's (s)": "{theirs_s:.2f}",
            "ours (s)": "{forward_s:.2f}",
            "its adjoint (s)": "{backward_s:.2f}",
            "largest difference": "{apart:.1e}",
        },
        where=lambda row: "theirs_s" in row and "from" in row,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--settings", nargs="+", choices=[*SETTINGS], default=[*SETTINGS])
    parser.add_argument("--one", nargs=2, metavar=("SETTING", "METHOD"), help="print the peak MB of one gradient")
    add_clock(parser)
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.one:
        return run_one(*args.one)
    rows: list[Row] = [resampling(args.clock)]
    print(rows[-1], flush=True)
    for setting in args.settings:
        bound, image = prepared(setting)
        folds, tiles = SETTINGS[setting][0], tiles_of(bound, image)
        said = {"setting": setting, "calls": tiles * len(bound.deployed.mirrorings) * len(folds)}
        for method in ("ours", "plain") if setting == "1 fold" else ("ours",):
            rows.append({**said, "method": method, "peak": peak(setting, method)})
            print(rows[-1], flush=True)
        if not SETTINGS[setting][3]:
            continue
        timed = interleaved_ratio(partial(gradient, bound, image), partial(limit, bound, tiles), args.pairs, args.clock)
        rows.append({**said, **timed})
        print(rows[-1], flush=True)
    save(args.save, rows, seeds=[100], weights=sorted(MODEL.glob("fold_*/*.pth")))


if __name__ == "__main__":
    main()
