"""Attacks on a network that went through `torch.compile`, beside the same network as it is.

What the first call takes (compiling), then interleaved pairs. The victims of `benchmarks/lower_precision.py`.

    python benchmarks/compiled.py --pairs 20
"""

from __future__ import annotations

import copy
import time

import torch
from lower_precision import EPS, cases, size_options
from timing import interleaved_ratio

from monai_smia.attacks import PGD
from monai_smia.victims import Victim


def compiled(victim: Victim) -> Victim:
    """The same victim, its network compiled."""
    other = copy.copy(victim)
    torch.compiler.reset()
    other.network = torch.compile(victim.network, dynamic=False)  # sizes left open fail in 3-D in torch 2.13
    return other


def main() -> None:
    args = size_options(__doc__).parse_args()
    print("| network | precision | first call (s) | time compiled / as it is (95 % interval) | same damage |")
    print("|---|---|---|---|---|")
    for name, (victim, image, label) in cases(args.window, args.side).items():
        for precision in (None, "bfloat16"):
            attack = PGD(eps=EPS, steps=args.steps, keep="last", progress=False, autocast=precision)
            fast = compiled(victim)
            start = time.perf_counter()
            attack(fast, image, label)
            first = time.perf_counter() - start
            ratio = interleaved_ratio(
                lambda v=fast, a=attack, x=image, y=label: a(v, x, y),
                lambda v=victim, a=attack, x=image, y=label: a(v, x, y),
                args.pairs,
                args.clock,
            )
            damages = [victim.damage(victim.infer(attack(v, image, label).adversarial), label) for v in (fast, victim)]
            same = "yes" if torch.allclose(*damages, atol=0.005) else "no"
            print(
                f"| {name} | {precision or 'float32'} | {first:.0f} | {ratio['ratio']:.2f} ({ratio['low']:.2f} to "
                f"{ratio['high']:.2f}) | {same} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
