"""bfloat16 attacks beside float32: time, and what becomes of their success.

Times are interleaved pairs; success is measured in float32 on what each attack returns. Channels-last memory is on by
default; the rows without it show what it is worth.

    python benchmarks/lower_precision.py --pairs 20
"""

from __future__ import annotations

import argparse

import torch
from measured import Claims, Row, Table, add_save, save
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet, resnet18
from timing import add_clock, interleaved_ratio
from torch import Tensor

from monai_smia.attacks import PGD, SMIA
from monai_smia.victims import ClassificationVictim, SegmentationVictim, Victim

EPS = 4 / 255


def cases(window: int, side: int) -> dict[str, tuple[Victim, Tensor, Tensor]]:
    """Seeded networks, each with its own clean decision as the label; the same kinds as the bundles'."""
    torch.manual_seed(0)
    volume = UNet(3, 1, 2, (16, 32, 64, 64), (2, 2, 2), norm="batch").eval()
    inferer = SlidingWindowInferer((window,) * 3, overlap=0.25, mode="gaussian")
    picture = UNet(2, 3, 2, (16, 32, 64, 128), (2, 2, 2), num_res_units=2, norm="batch").eval()
    victims: dict[str, tuple[Victim, Tensor]] = {
        f"resnet18, 2 x 3 x {side} x {side}": (
            ClassificationVictim(resnet18(spatial_dims=2, n_input_channels=3, num_classes=5).eval()),
            torch.rand(2, 3, side, side),
        ),
        f"UNet, 2 x 3 x {side} x {side}": (SegmentationVictim(picture), torch.rand(2, 3, side, side)),
        f"UNet, {window} x {window} x {2 * window}, windows": (
            SegmentationVictim(volume, inferer=inferer),
            torch.rand(1, 1, window, window, 2 * window),
        ),
    }
    with torch.no_grad():
        return {name: (v, image, v.decide(v.predict(image))) for name, (v, image) in victims.items()}


def size_options(description: str | None) -> argparse.ArgumentParser:
    """The sizes of `cases`, pairs and steps."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--window", type=int, default=64, help="side of the volume's windows")
    parser.add_argument("--side", type=int, default=128, help="of the images")
    parser.add_argument("--steps", type=int, default=10)
    add_clock(parser)
    return parser


def claims(rows: list[Row]) -> Claims:
    """Less time, the same damage."""
    slowest = max(row["ratio"] for row in rows)
    yield f"bfloat16 takes at most {slowest:.2f} of the time of float32.", slowest < 1
    segmented = [row for row in rows if row["network"].startswith("UNet")]
    most = max(abs(row["bf16"] - row["fp32"]) for row in segmented)
    told = f"Of the U-Nets the damage differs by {most:.3f} at most; the networks are not trained, and the two pictures"
    yield f"{told} of the ResNet are no measure of success.", most < 0.01


COLUMNS = {"network": "{network}", "attack": "{attack}", "channels last": "{last}"}
COLUMNS |= {"time bf16 / fp32 (95 % interval)": "{ratio:.2f} ({low:.2f} to {high:.2f})"}
TABLES = {"table": Table({**COLUMNS, "damage bf16": "{bf16:.3f}", "damage fp32": "{fp32:.3f}"}, claims=claims)}


def main() -> None:
    parser = size_options(__doc__)
    parser.add_argument("--only", default="", help="networks whose names hold this")
    add_save(parser)
    args = parser.parse_args()
    rows: list[Row] = []
    held = {name: case for name, case in cases(args.window, args.side).items() if args.only in name}
    for name, (victim, image, label) in held.items():
        for kind, layouts in ((PGD, (True, False)), (SMIA, (True,))):
            options = {"eps": EPS, "steps": args.steps, "keep": "last", "progress": False}
            exact = kind(**options)
            for last in layouts:
                fast = kind(autocast="bfloat16", channels_last=last, **options)
                ratio = interleaved_ratio(
                    lambda fast=fast, v=victim, x=image, y=label: fast(v, x, y),
                    lambda exact=exact, v=victim, x=image, y=label: exact(v, x, y),
                    args.pairs,
                    args.clock,
                )
                damages = [
                    float(victim.damage(victim.infer(attack(victim, image, label).adversarial), label).mean())
                    for attack in (fast, exact)
                ]
                of = {"network": name, "attack": kind.__name__, "last": "yes" if last else "no"}
                rows.append({**of, "bf16": damages[0], "fp32": damages[1], **ratio})
                print(rows[-1], flush=True)
    save(args.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
