"""How strong the segmentation attacks are at equal gradients, alone, in the worst case over all, and without gradients.

On the CT bundle's victim, in network units (1 is 1400 HU). Every attack takes the same number of gradients, Square as
many predictions as they would cost (three a gradient). The reference, PGD with cross entropy, has its best step case by
case out of four. With `--surrogate`, images made on another network's weights are tried too. The ensemble is the worst
of all rows, case by case. With `--curve` a few attacks, over growing numbers of gradients.

    python benchmarks/strength.py --phantoms 8 --crop 96
    python benchmarks/strength.py --dataset_dir CT --crop 96 --gradients 300 --weights models/model_robust.pt \\
        --surrogate models/model.pt --only APGD Square Transfer
    python benchmarks/strength.py --dataset_dir CT --crop 96 --curve 10 20 50 100 300
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from survival_study import draws, percentiles, victim_and_cases

from monai_smia.attacks import APGD, BIM, PGD, SEA_SCHEDULE, SMIA, Attack, CosPGD, Noise, SegPGD, Square, Transfer

REFERENCE = "PGD, cross entropy"
STEPS = (1, 2.5, 5, 10)  # of the reference, in eps / gradients; the default is 2.5


def members(eps: float, gradients: int) -> dict[str, Attack]:
    common = {"eps": eps, "autocast": "bfloat16", "seed": 0, "progress": False}
    steps = {**common, "steps": gradients}
    named: dict[str, Attack] = {
        "Noise": Noise(**common),
        **{f"{REFERENCE}, step {s:g}": PGD(step_size=s * eps / gradients, **steps) for s in STEPS},
        "SMIA": SMIA(**{**steps, "steps": (gradients + 1) // 2}),
        "SegPGD": SegPGD(**steps),
        "CosPGD": CosPGD(**steps),
        "BIM, soft Jaccard, steps of eps/4": BIM(loss="soft_jaccard", step_size=eps / 4, **steps),
    }
    for loss in ("soft_jaccard", "masked_cross_entropy", "margin"):
        named[f"PGD, {loss}"] = PGD(loss=loss, **steps)
    for loss in ("soft_jaccard", "masked_cross_entropy", "balanced_cross_entropy", "jensen_shannon"):
        named[f"APGD, {loss}, 2-1.5-1 eps"] = APGD(loss=loss, schedule=SEA_SCHEDULE, **steps)
    named["Square, soft Jaccard"] = Square(loss="soft_jaccard", queries=3 * gradients, **common)
    return named


def curve(eps: float, numbers: list[int]) -> dict[str, Attack]:
    """A few attacks with every number of gradients."""
    names = (f"{REFERENCE}, step 2.5", "PGD, soft_jaccard", "APGD, soft_jaccard, 2-1.5-1 eps", "SMIA")
    return {f"{name}: {n}": members(eps, n)[name] for n in numbers for name in names}


def jaccards(args: argparse.Namespace, attacks: Mapping[str, Attack]) -> dict[str, np.ndarray]:
    """Jaccard index of every case after every attack."""
    victim, cases = victim_and_cases(args)
    found: dict[str, list[float]] = {}
    for case in cases:
        for name, attack in {"Clean": None, **attacks}.items():
            image = case.image if attack is None else attack(victim, case.image, case.label).adversarial
            bound, label = victim.bind(case.image, case.label, differentiable=False)
            found.setdefault(name, []).append(1 - float(bound.damage(bound.infer(image), label)))
            print(case.name, name, round(found[name][-1], 3), flush=True)
    return {name: np.array(values) for name, values in found.items()}


def print_table(found: dict[str, np.ndarray]) -> None:
    found["Ensemble"] = np.min([values for name, values in found.items() if name != "Clean"], 0)
    tuned = [name for name in found if name.startswith(REFERENCE)]
    reference, name = found["Clean"], "Clean"
    if tuned:
        name = f"{REFERENCE}, best step"
        found[name] = reference = np.min([found.pop(one) for one in tuned], 0)
    print(f"| attack | Jaccard | less than {name} by |\n|---|---|---|")
    for name, values in sorted(found.items(), key=lambda pair: -float(pair[1].mean())):
        gain = reference - values
        low, high = percentiles(draws(len(gain)) @ gain / len(gain))
        interval = f" ({low:.3f} to {high:.3f})" if len(gain) > 1 else ""
        print(f"| {name} | {values.mean():.3f} | {gain.mean():.3f}{interval} |")


def print_curve(found: dict[str, np.ndarray], numbers: list[int]) -> None:
    print("| attack | " + " | ".join(map(str, numbers)) + " |\n|---" + "|---" * len(numbers) + "|")
    for name in dict.fromkeys(name.rpartition(":")[0] for name in found if ":" in name):
        print(f"| {name} | " + " | ".join(f"{found[f'{name}: {n}'].mean():.3f}" for n in numbers) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir")
    parser.add_argument("--split", nargs="+", default=["test"])
    parser.add_argument("--phantoms", type=int, default=0)
    parser.add_argument("--cases", type=int, help="only the first so many")
    parser.add_argument("--crop", type=int, default=0, help="only a cube of so many voxels around the lungs' middle")
    parser.add_argument("--eps", type=float, default=0.03)
    parser.add_argument("--gradients", type=int, default=20)
    parser.add_argument("--surrogate", help="weights that the transferred images are made on")
    parser.add_argument("--only", nargs="+", default=[""], help="attacks whose names hold one of these")
    parser.add_argument("--curve", type=int, nargs="+", default=[], help="numbers of gradients")
    parser.add_argument("--weights", dest="model", help="weights instead of the bundle's model.pt")
    args = parser.parse_args()
    args.bundle, args.weights, args.output = "ct", [], Path(tempfile.mkdtemp())
    attacks = curve(args.eps, args.curve) if args.curve else members(args.eps, args.gradients)
    if args.surrogate:
        surrogate, _ = victim_and_cases(argparse.Namespace(**{**vars(args), "model": args.surrogate}))
        stronger = members(args.eps, args.gradients)["APGD, soft_jaccard, 2-1.5-1 eps"]
        attacks["Transfer, APGD, soft_jaccard"] = Transfer(attack=stronger, surrogate=surrogate)
    found = jaccards(args, {n: a for n, a in attacks.items() if any(part in n for part in args.only)})
    print(f"\neps {args.eps}, {args.curve or args.gradients} gradients, {len(found['Clean'])} case(s)\n")
    if args.curve:
        print_curve(found, args.curve)
    else:
        print_table(found)


if __name__ == "__main__":
    main()
