"""How time and memory of an attack grow with windows, image, steps and batch.

BIM, two steps unless steps grow: on a 3-D U-Net through sliding windows of 48 voxels (overlap 0.5), and on a 2-D
ResNet-18. Every line is a process of its own; seconds are its processor's, of one thread, the least of three runs.

    python benchmarks/growth.py
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch
from measured import Claims, Row, Table, add_save, save
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet, resnet18

from monai_smia.attacks import BIM
from monai_smia.victims import ClassificationVictim, SegmentationVictim, Victim

WINDOW = 48
AXES = {"windows": (1, 3, 7, 15), "batch": (1, 2, 4), "steps": (1, 2, 4, 8), "image side, 2-D": (64, 128, 256)}


def setting(axis: str, value: int) -> tuple[BIM, Victim, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    attack = BIM(eps=0.03, steps=value if axis == "steps" else 2, progress=False)
    if axis == "image side, 2-D":
        network = resnet18(spatial_dims=2, n_input_channels=3, num_classes=5).eval()
        return attack, ClassificationVictim(network), torch.rand(1, 3, value, value), torch.tensor([0])
    network = UNet(3, 1, 2, (16, 32, 64, 128), (2, 2, 2)).eval()
    windows, batch = (value if axis == name else 1 for name in ("windows", "batch"))
    image = torch.rand(batch, 1, WINDOW, WINDOW, WINDOW // 2 * (windows + 1))
    inferer = SlidingWindowInferer([WINDOW] * 3, overlap=0.5, mode="gaussian")
    return attack, SegmentationVictim(network, inferer=inferer), image, (image > 0.5).float()


def measure(axis: str, value: int) -> None:
    """Prints processor seconds, and peak MB above what there was before."""
    torch.set_num_threads(1)
    attack, victim, image, label = setting(axis, value)
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(3):
        start = time.process_time()
        attack(victim, image, label)
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{min(seconds):.3f} {(peak - idle) / 2**10:.0f}")


def claims(rows: list[Row]) -> Claims:
    """Time grows with the size, memory slower."""
    for axis in ("windows", "batch", "steps"):
        line = [row for row in rows if row["axis"] == axis]
        size, times = line[-1]["value"] / line[0]["value"], line[-1]["times"]
        peak = line[-1]["peak"] / line[0]["peak"]
        told = f"{size:.0f} times the {axis}: {times:.1f} times the time and {peak:.1f} times the memory."
        yield told, times < 1.15 * size and peak < size


COLUMNS = {"": "{axis}: {value}", "seconds": "{seconds:.2f}", "times the first": "{times:.2f}"}
TABLES = {"table": Table({**COLUMNS, "peak MB above idle": "{peak:.0f}"}, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs=2, metavar=("AXIS", "VALUE"), help="one line, without its table")
    add_save(parser)
    args = parser.parse_args()
    if args.only:
        return measure(args.only[0], int(args.only[1]))
    rows: list[Row] = []
    for axis, values in AXES.items():
        first = 0.0
        for value in values:
            command = [sys.executable, __file__, "--only", axis, str(value)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, peak = map(float, done.stdout.split()[-2:])
            first = first or seconds
            rows.append({"axis": axis, "value": value, "seconds": seconds, "times": seconds / first, "peak": peak})
            print(rows[-1], flush=True)
    save(args.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
