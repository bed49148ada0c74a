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
from measured import Claims, Row, Table, add_save, cells, save
from survival_study import BUNDLES, NAMES, victim_and_cases

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
        "SegPGD": SegPGD(step_size=2.5 * eps / gradients, **steps),
        "CosPGD": CosPGD(step_size=2.5 * eps / gradients, **steps),
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
            bound, label = victim.bind(case.image, case.label)
            found.setdefault(name, []).append(1 - float(bound.damage(bound.infer(image), label)))
            print(case.name, name, round(found[name][-1], 3), flush=True)
    return {name: np.array(values) for name, values in found.items()}


def table(found: dict[str, np.ndarray]) -> list[Row]:
    """One row an attack, the weakest first, with what it leaves less than the reference."""
    found["Ensemble"] = np.min([values for name, values in found.items() if name != "Clean"], 0)
    tuned = [name for name in found if name.startswith(REFERENCE)]
    reference, name = found["Clean"], "Clean"
    if tuned:
        name = f"{REFERENCE}, best step"
        found[name] = reference = np.min([found.pop(one) for one in tuned], 0)
    rows: list[Row] = []
    for attack, values in sorted(found.items(), key=lambda pair: -float(pair[1].mean())):
        gain = (reference - values).tolist()
        rows.append({"attack": attack, "beside": name, "jaccard": values.tolist(), "gain": gain})
    return rows


def curve_rows(found: dict[str, np.ndarray], numbers: list[int]) -> list[Row]:
    names = dict.fromkeys(name.rpartition(":")[0] for name in found if ":" in name)
    return [{"attack": a, **{str(n): float(found[f"{a}: {n}"].mean()) for n in numbers}} for a in names]


def strengths(rows: list[Row]) -> list[dict[str, str]]:
    """Means, and every case's own where they are few."""
    count = len(rows[0]["jaccard"])
    columns = {"attack": "{attack}", "Jaccard": "{mean:.3f}"}
    if count > 1:
        columns |= {f"case {i + 1}": f"{{case{i}:.3f}}" for i in range(count)}
    columns[f"less than {rows[0]['beside']} by"] = "{gain_mean:.3f}" + (
        " ({least:.3f} to {most:.3f})" if count > 1 else ""
    )
    flat = []
    for row in rows:
        gain = row["gain"]
        each = {f"case{i}": value for i, value in enumerate(row["jaccard"])}
        extremes = {"gain_mean": float(np.mean(gain)), "least": min(gain), "most": max(gain)}
        flat.append({"attack": row["attack"], "mean": float(np.mean(row["jaccard"])), **each, **extremes})
    return cells(flat, columns)


def claims(rows: list[Row]) -> Claims:
    """Which is the strongest, and what the step and the loss are worth."""
    of = {row["attack"]: row for row in rows}
    mean = {name: float(np.mean(row["jaccard"])) for name, row in of.items()}
    best = min((name for name in mean if name != "Ensemble"), key=mean.__getitem__)
    tuned = f"{REFERENCE}, best step"
    yield (
        f"The strongest alone is {best}: {mean[best]:.3f}; the worst case over all is {mean['Ensemble']:.3f}.",
        (mean["Ensemble"] <= mean[best]),
    )
    soft = of["APGD, soft_jaccard, 2-1.5-1 eps"]
    yield (
        f"APGD with soft Jaccard leaves less than PGD with cross entropy and the best of four steps in every case, by "
        f"{min(soft['gain']):.3f} at least.",
        soft["beside"] == tuned and min(soft["gain"]) > 0,
    )
    yield f"SMIA leaves {mean['SMIA']:.3f}, tuned PGD {mean[tuned]:.3f}.", mean["SMIA"] > mean[tuned]


def hardened(rows: list[Row]) -> Claims:
    """What is left of a network that was trained against an attack."""
    mean = {row["attack"]: float(np.mean(row["jaccard"])) for row in rows}
    yield (
        f"The worst case over all leaves {mean['Ensemble']:.3f} of {mean['Clean']:.3f}.",
        mean["Ensemble"] < mean["Clean"],
    )
    transferred = mean["Transfer, APGD, soft_jaccard"]
    yield f"Images made on the weights that were not hardened leave {transferred:.3f}.", transferred > mean["Ensemble"]


TABLES = {"table": Table(strengths, claims=claims), "robust": Table(strengths, claims=hardened)}


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
    add_save(parser)
    args = parser.parse_args()
    args.bundle, args.weights, args.output = "ct", [], Path(tempfile.mkdtemp())
    attacks = curve(args.eps, args.curve) if args.curve else members(args.eps, args.gradients)
    if args.surrogate:
        surrogate, _ = victim_and_cases(argparse.Namespace(**{**vars(args), "model": args.surrogate}))
        stronger = members(args.eps, args.gradients)["APGD, soft_jaccard, 2-1.5-1 eps"]
        attacks["Transfer, APGD, soft_jaccard"] = Transfer(attack=stronger, surrogate=surrogate)
    found = jaccards(args, {n: a for n, a in attacks.items() if any(part in n for part in args.only)})
    print(f"\neps {args.eps}, {args.curve or args.gradients} gradients, {len(found['Clean'])} case(s)\n")
    rows = curve_rows(found, args.curve) if args.curve else table(found)
    print(*rows, sep="\n")
    weights = [args.model or BUNDLES / NAMES["ct"] / "models" / "model.pt"]
    save(args.save, rows, seeds=[0], weights=weights, data=[args.dataset_dir] if args.dataset_dir else [])


if __name__ == "__main__":
    main()
