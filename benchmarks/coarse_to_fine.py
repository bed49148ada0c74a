"""Processor time to 95 % of the thorough damage: coarse to fine beside the same attack on the deployed window alone.

The CT bundle's victim, in network units, on a cube of the held-out patient. Thorough is APGD on soft Jaccard with many
gradients through the deployed window; the goal is the clean damage and 95 % of what it adds. Every way ends as soon as
the deployed window, in full precision, sees the goal reached. Times are processor time of one thread, in interleaved
pairs with the deployed way.

    python benchmarks/coarse_to_fine.py --dataset_dir CT --crop 128 --thorough 60 --pairs 3
    python benchmarks/coarse_to_fine.py --dataset_dir CT --crop 0 --split train test --ways deployed "one window, then"

`--crop 0` takes the whole volume, as the network sees it. "Beside the lungs" lets the attack change the box around the
lungs alone, so that windows without any of it have no gradient; "warm" begins from the perturbation of half the radius,
whose own time (as in a curve over radii) is not counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from measured import Claims, Row, Table, add_save, save
from survival_study import victim_and_cases
from timing import ratio_of
from torch import Tensor

from monai_smia.attacks import APGD, BIM, Attack, AttackResult, CoarseToFine

SHARE = 0.95
BIMS = 4  # the fine attack's steps are the radius over this
BESIDE, WARM = "deployed, windows beside the lungs left out", "deployed, warm from half the radius"
STRIDE = 16  # of the network, that a window is a multiple of
NEAR = 8  # voxels around the lungs that may change


def ways(eps: float, goal: float, steps: int, whole: Sequence[int]) -> dict[str, Attack]:
    """The attacks, each of which ends at the goal."""
    common: dict[str, Any] = {"eps": eps, "loss": "soft_jaccard", "steps": steps, "progress": False}
    fine = BIM(step_size=eps / BIMS, stop_at=goal, **common)
    half = {**common, "autocast": "bfloat16"}
    sooner = min(goal + 0.01, 1.0)  # the coarse window may see more damage than the deployed one
    coarse, fast = APGD(stop_at=sooner, **common), APGD(stop_at=sooner, **half)
    return {
        "deployed": APGD(stop_at=goal, **common),
        BESIDE: APGD(stop_at=goal, **common),
        WARM: APGD(stop_at=goal, **common),
        "bfloat16, then float32": CoarseToFine([fast, fine], overlap=0.25),
        "windows of 64 without overlap, then deployed": CoarseToFine([coarse, fine], roi_size=(64,) * 3),
        "windows of 64 without overlap in bfloat16, then deployed": CoarseToFine([fast, fine], roi_size=(64,) * 3),
        "one window, then deployed": CoarseToFine([coarse, fine], roi_size=whole),
        "one window in bfloat16, then deployed": CoarseToFine([fast, fine], roi_size=whole),
    }


def beside_lungs(label: Tensor) -> Tensor:
    """Where an attack may change an image that leaves alone what is beside the lungs, bool, of the label's shape."""
    box = [slice(max(int(axis.min()) - NEAR, 0), int(axis.max()) + NEAR + 1) for axis in label[0, 0].nonzero().T]
    mask = torch.zeros_like(label, dtype=torch.bool)
    mask[(slice(None), slice(None), *box)] = True
    return mask


def measure(args: argparse.Namespace) -> list[Row]:
    """A row of every way and case."""
    rows: list[Row] = []
    victim, cases = victim_and_cases(args)
    for case in cases:
        options: dict[str, Any] = {"eps": args.eps, "loss": "soft_jaccard", "progress": False}
        start = time.process_time()
        thorough = APGD(steps=args.thorough, **options)(victim, case.image, case.label)
        seconds = time.process_time() - start
        clean, most = float(thorough.clean_damage), float(thorough.damage)
        goal = clean + SHARE * (most - clean)
        print(f"{case.name}: clean {clean:.3f}, thorough {most:.3f} in {seconds:.0f} s, goal {goal:.3f}", flush=True)
        whole = [-(-n // STRIDE) * STRIDE for n in case.image.shape[2:]]
        attacks = ways(args.eps, goal, args.thorough, whole)
        attacks = {name: way for name, way in attacks.items() if any(name.startswith(part) for part in args.ways)}
        inputs: dict[str, dict[str, Any]] = {BESIDE: {"mask": beside_lungs(case.label)}}
        if WARM in attacks:
            half = APGD(steps=args.thorough, **{**options, "eps": args.eps / 2})
            inputs[WARM] = {"start": half(victim, case.image, case.label).perturbation}
        times: dict[str, list[float]] = {name: [] for name in attacks}
        found: dict[str, AttackResult] = {}
        for _ in range(args.pairs):  # all ways in turn: every one is a pair with the deployed one
            for name, attack in attacks.items():
                start = time.process_time()
                found[name] = attack(victim, case.image, case.label, **inputs.get(name, {}))
                times[name].append(time.process_time() - start)
        for name, result in found.items():
            ratio = ratio_of(list(zip(times[name], times["deployed"], strict=True)))
            row: Row = {
                "case": case.name,
                "way": name,
                "pairs": args.pairs,
                "gradients": int(result.gradients),
                "damage": float(result.damage),
                "goal": goal,
                "thorough": most,
                "thorough_gradients": args.thorough,
                **{key: ratio[key] for key in ("ratio", "low", "high", "ours_s", "theirs_s")},
            }
            rows.append(row)
            print({key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()}, flush=True)
    return rows


def claims(rows: list[Row]) -> Claims:
    """Which ways reached the goal, and what the fastest of them takes of the deployed way's time."""
    reached = {name for name in {row["way"] for row in rows} if all(has_reached(r) for r in rows if r["way"] == name)}
    means = {name: mean(r["ratio"] for r in rows if r["way"] == name) for name in reached}
    fastest = min(means, key=lambda name: means[name])
    cases = len({row["case"] for row in rows})
    yield (
        f"Of {len({row['way'] for row in rows})} ways {len(reached)} reached the goal on the deployed window in every "
        f"case; the fastest, {fastest}, takes {means[fastest]:.2f} of the deployed way's time, mean over {cases} "
        f"case{'s' * (cases > 1)}.",
        "deployed" in reached,
    )


def has_reached(row: Row) -> bool:
    """Whether the way did the damage."""
    return bool(row["damage"] >= row["goal"] - 1e-6)


TABLES = {
    "table": Table(
        {
            "case": "{case}",
            "way": "{way}",
            "gradients": "{gradients}",
            "damage": "{damage:.3f}",
            "goal": "{goal:.3f}",
            "time / deployed (95 % interval)": "{ratio:.2f} ({low:.2f} to {high:.2f})",
            "pairs": "{pairs}",
        },
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--split", nargs="+", default=["test"])
    parser.add_argument("--crop", type=int, default=128, help="edge of the cube around the lungs; 0: all of it")
    parser.add_argument("--ways", nargs="+", default=[""], help="beginnings of the names of the ways that are run")
    parser.add_argument("--eps", type=float, default=0.03)
    parser.add_argument("--thorough", type=int, default=60, help="gradients of the reference damage")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--cases", type=int)
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        args.output, args.bundle, args.weights, args.model, args.phantoms = Path(folder), "ct", [], None, 0
        rows = measure(args)
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0], weights=["bundles/ct_lung_segmentation/models/model.pt"], data=[args.dataset_dir])


if __name__ == "__main__":
    main()
