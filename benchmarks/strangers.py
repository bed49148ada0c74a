"""Networks that nobody here trained, under attack from the files' own grid: brainchop's, on its example MRI.

Each becomes a TorchScript file and is evaluated as `python -m monai_smia run` does: intensities between the image's own
quantiles .02 and .98 become 0 to 1, the network is given the whole image, and its decision on the clean image is the
reference, for nobody drew a label. The image is a cube out of the middle of the scan, because of the time. Every
network is a process of its own: seconds are its processor's, of one thread, and the peak is above what it holds once
everything is imported (Linux).

    MONAI_SMIA_MODELS=... MONAI_SMIA_DATA=... python benchmarks/strangers.py
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import torch
from measured import Claims, Row, Table, add_save, digest, save
from meshnets import meshnet, models, scan_file

from monai_smia.adapters.model_file import model_evaluation

SIDES = {"model5_gw_ae": 64, "model18cls": 40, "model21_104class": 40}  # voxels of the cube along each axis
PREPROCESSING = {
    "preprocessing": [
        {
            "_target_": "ScaleIntensityRangePercentilesd",
            "keys": "image",
            "lower": 2,
            "upper": 98,
            "b_min": 0,
            "b_max": 1,
            "clip": True,
        }
    ]
}


def cut(folder: Path, side: int) -> Path:
    """The middle of the scan, as NIfTI."""
    scan = nib.load(scan_file())
    starts = [(size - side) // 2 for size in scan.shape]
    nib.save(scan.slicer[tuple(slice(start, start + side) for start in starts)], folder / "t1.nii.gz")
    return folder / "t1.nii.gz"


def measure(name: str, side: int, eps: list[float], preset: str, gradients: int | None) -> Row:
    """A row of one network."""
    torch.set_num_threads(1)
    network = meshnet(name)
    idle, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        image, config, file = cut(folder, side), folder / "preprocessing.json", folder / "model.ts"
        config.write_text(json.dumps(PREPROCESSING))
        torch.jit.script(network).save(file)
        options = {"task": "segmentation", "images": image, "preprocessing": config, "eps": eps, "gradients": gradients}
        for chosen in (preset, "radius"):
            evaluation = model_evaluation(
                file, output_dir=folder / chosen, preset=chosen, figures=False, progress=False, **options
            )
            evaluation.run()
        headline, search = (json.loads((folder / f / "summary.json").read_text()) for f in (preset, "radius"))
    largest = max(headline["headline"]["radii"], key=lambda radius: float(radius["eps"]))
    critical = search["critical_radii"][0]["cases"][0]
    return {
        "network": name,
        "classes": network[-1].out_channels,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "side": side,
        "preset": preset,
        "eps": largest["eps_input"],
        "clean": headline["headline"]["clean"],
        "attacked": largest["attacked"],
        "converged": largest["converged"],
        "critical": critical["eps_input"],
        "seconds": time.process_time() - began,
        "peak": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) / 2**20,
        "hash": digest(models() / f"{name}.safetensors")[:12],
    }


def claims(rows: list[Row]) -> Claims:
    """How little is needed."""
    found = [row["critical"] for row in rows if row["critical"] is not None]
    yield (
        f"At most {max(found):.1f} of 255 grey levels halve the Jaccard index of every one of these networks.",
        len(found) == len(rows),
    )


TABLES = {
    "table": Table(
        {
            "network": "`{network}`",
            "classes": "{classes}",
            "parameters": "{parameters:,}",
            "cube": "{side}^3",
            "clean": "{clean:.3f}",
            "radius (grey levels)": "{eps:.1f}",
            "Jaccard left": "{attacked:.3f}",
            "converged": "{converged}",
            "critical radius, at most": "{critical:.2f}",
            "seconds": "{seconds:.0f}",
            "peak GB": "{peak:.2f}",
            "SHA-256": "{hash}",
        },
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--side", type=int, help="voxels of the cube along each axis, instead of each network's own")
    parser.add_argument("--eps", type=float, nargs="+", default=[4.0], help="radii in grey levels")
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--gradients", type=int, help="instead of the preset's")
    parser.add_argument("--only", choices=list(SIDES), help="one network, its row as JSON")
    add_save(parser)
    args = parser.parse_args()
    if args.only:
        return print(json.dumps(measure(args.only, args.side, args.eps, args.preset, args.gradients)))
    rows: list[Row] = []
    for name in args.networks:
        options = ["--side", str(args.side or SIDES[name]), "--preset", args.preset, "--eps", *map(str, args.eps)]
        options += [] if args.gradients is None else ["--gradients", str(args.gradients)]
        command = [sys.executable, __file__, "--only", name, *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    print(TABLES["table"].markdown(rows))
    weights = [models() / f"{name}.safetensors" for name in args.networks]
    save(args.save, rows, seeds=[0], weights=weights, data=[scan_file()])


if __name__ == "__main__":
    main()
