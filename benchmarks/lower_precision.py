"""bfloat16 attacks beside float32: time, and what becomes of their success.

Times are interleaved pairs; success is measured in float32 on what each attack returns.

    python benchmarks/lower_precision.py --pairs 10
"""

from __future__ import annotations

import argparse

import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet, resnet18
from timing import interleaved_ratio
from torch import Tensor

from monai_smia.attacks import PGD, SMIA
from monai_smia.victims import ClassificationVictim, SegmentationVictim, Victim


def cases(size: int, side: int) -> dict[str, tuple[Victim, Tensor, Tensor]]:
    """Seeded networks, each with its own clean decision as the label."""
    torch.manual_seed(0)
    volume = UNet(3, 1, 2, (16, 32, 64, 64), (2, 2, 2), norm="batch").eval()
    inferer = SlidingWindowInferer((size, size, size), overlap=0.25, mode="gaussian")
    victims: dict[str, tuple[Victim, Tensor]] = {
        f"resnet18, 4 x 3 x {side} x {side}": (
            ClassificationVictim(resnet18(spatial_dims=2, n_input_channels=3, num_classes=5).eval()),
            torch.rand(4, 3, side, side),
        ),
        f"UNet, {size} x {size} x {2 * size}, windows": (
            SegmentationVictim(volume, inferer=inferer),
            torch.rand(1, 1, size, size, 2 * size),
        ),
    }
    with torch.no_grad():
        return {name: (v, image, v.decide(v.predict(image))) for name, (v, image) in victims.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--size", type=int, default=64, help="of the windows of the volume")
    parser.add_argument("--side", type=int, default=128, help="of the images")
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    print("| network | attack | time bf16 / fp32 (95 % interval) | damage bf16 | damage fp32 |")
    print("|---|---|---|---|---|")
    for name, (victim, image, label) in cases(args.size, args.side).items():
        for kind in (PGD, SMIA):
            options = {"eps": 4 / 255, "steps": args.steps, "keep": "last", "progress": False}
            fast, exact = kind(autocast="bfloat16", **options), kind(**options)
            ratio = interleaved_ratio(
                lambda fast=fast, v=victim, x=image, y=label: fast(v, x, y),
                lambda exact=exact, v=victim, x=image, y=label: exact(v, x, y),
                args.pairs,
            )
            damages = [
                float(victim.damage(victim.infer(attack(victim, image, label).adversarial), label).mean())
                for attack in (fast, exact)
            ]
            print(
                f"| {name} | {kind.__name__} | {ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}) "
                f"| {damages[0]:.3f} | {damages[1]:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
