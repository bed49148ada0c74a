"""What is left of an attack's damage after the image was smoothed, resampled, filtered, compressed or rounded.

Every attack takes the same number of gradients on a bundle's victim: the CT bundle's in network units (1 is 1400 HU),
the Jaccard index; the fundus bundle's in grey levels, the share graded right. Degradations are "seen" (SurvivalSMIA
cycles over them) or "unseen". The recovered share of a degradation is (clean - attacked) / (clean - oracle), means over
cases after the degradation; its oracle is the strongest of all attacks after that degradation, SurvivalSMIA with all
of its gradients through it alone among them.
A case with several weights of its own counts once, by its mean.
Results go to OUTPUT/results.jsonl, one line a case and attack; what is there is not computed again.

    python benchmarks/survival_study.py OUTPUT --dataset_dir CT             # the split "test", whole volumes
    python benchmarks/survival_study.py OUTPUT --dataset_dir CT --split train --crop 96 --weights P1=a.pt P1=b.pt
    python benchmarks/survival_study.py OUTPUT --phantoms 20 --crop 96
    python benchmarks/survival_study.py OUTPUT --bundle fundus --dataset_dir FUNDUS --cases 12 --eps 2
    python benchmarks/survival_study.py OUTPUT --table
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import Claims, Row, Table, add_save, save
from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import Tensor

from monai_smia.attacks import BIM, MIFGSM, PGD, SMIA, Attack, SurvivalSMIA
from monai_smia.data import ct_datalist, fundus_datalist, write_ct_phantoms
from monai_smia.degradations import AddNoise, Box, Compress, Degradation, Identity, Median, Quantize, Resample, Smooth

BUNDLES = Path(__file__).parents[1] / "bundles"
LISTS: dict[str, Callable[..., list[dict[str, Any]]]] = {"ct": ct_datalist, "fundus": fundus_datalist}
NAMES = {"ct": "ct_lung_segmentation", "fundus": "fundus_dr_grading"}
DIRECT, OURS = "none", "SurvivalSMIA"
TRAINING = " #"  # in a case's name, before the number of its weights
SEEN: dict[str, Degradation] = {"smooth 0.6": Smooth(0.6), "smooth 1": Smooth(1.0), "resample 2": Resample(2.0)}
BOTH: dict[str, Degradation] = {
    "smooth 1.5": Smooth(1.5),
    "resample 1.5": Resample(1.5),
    "box 3": Box(3),
    "median 3": Median(3),
}
UNSEEN: dict[str, dict[str, Degradation]] = {
    "ct": BOTH
    | {
        "jpeg2000 10:1": Compress("jpeg2000", 10, levels=1400),
        "noise 14 HU": AddNoise(0.01),
        "whole HU": Quantize(1 / 1400),
    },
    "fundus": BOTH | {"jpeg 90": Compress("jpeg", 90, high=255, width_first=False), "whole grey levels": Quantize(1.0)},
}


@dataclass
class Case:
    name: str
    kind: str  # "unseen" by the network, "seen", "phantom"
    image: Tensor
    label: Tensor


def degradations(bundle: str) -> dict[str, Degradation]:
    return {DIRECT: Identity(), **SEEN, **UNSEEN[bundle]}


def attacks(bundle: str, which: list[str], eps: float, gradients: int) -> dict[str, Attack]:
    """The attacks of the study, and the oracles of the degradations."""
    clip = {"ct": (0.0, 1.0), "fundus": (0.0, 255.0)}[bundle]
    common: dict[str, Any] = {"eps": eps, "clip": clip, "autocast": "bfloat16", "progress": False}
    steps = {**common, "steps": gradients}
    two = {**common, "steps": (gradients + 1) // 2}  # SMIA takes two gradients a step, one at the first
    strong = {**steps, "loss": "soft_jaccard"} if bundle == "ct" else steps
    main = {
        "BIM, cross entropy": BIM(**steps),
        "MIFGSM, cross entropy": MIFGSM(decay=0.9, **steps),
        "SMIA (paper)": SMIA(**two),
        OURS: SurvivalSMIA(**strong),
    }
    if bundle == "ct":
        main["PGD, soft Jaccard"] = PGD(**strong)
    further = {
        "SurvivalSMIA, cross entropy": SurvivalSMIA(**steps),
        "SurvivalSMIA, degradation none alone": SurvivalSMIA(cycle=[Identity()], **strong),
        **{f"SurvivalSMIA, direct {weight:g}": SurvivalSMIA(direct=weight, **strong) for weight in (0.5, 1.3)},
    }
    oracles = {
        group: {f"oracle: {name}": SurvivalSMIA(cycle=[degradation], **strong) for name, degradation in held.items()}
        for group, held in {"seen": SEEN, "unseen": UNSEEN[bundle]}.items()
    }
    groups: dict[str, dict[str, Attack]] = {"main": main, "further": further, **oracles}
    known = {name: attack for group in groups.values() for name, attack in group.items()}
    chosen: dict[str, Attack] = {}
    for word in which:
        chosen |= groups[word] if word in groups else {word: known[word]}
    return chosen


def victim_and_cases(args: argparse.Namespace) -> tuple[Any, Iterator[Case]]:
    """A bundle's victim, and the cases one by one; a case with `--weights` of its own comes with them in the victim."""
    root = BUNDLES / NAMES[args.bundle]
    config = ConfigParser()
    config.read_config(root / "configs" / "attack_eval.yaml")
    config.update({"bundle_root": str(root), "output_dir": str(args.output), "space": "network"})
    victim = config.get_parsed_content("victim")
    own: dict[str, list[str]] = {}
    for name, file in (pair.split("=", 1) for pair in args.weights):
        own.setdefault(name, []).append(file)
    weights = torch.load(args.model or root / "models" / "model.pt", weights_only=True)
    victim.network.load_state_dict(weights)

    def cases() -> Iterator[Case]:
        loading = config.get_parsed_content("load")
        if args.bundle == "ct":  # the fundus victim preprocesses by itself
            loading = Compose([*loading, *config.get_parsed_content("preprocess")])
        for item in datalist(args):
            loaded = loading(dict(item))
            image = loaded["image"].as_tensor()[None].float()
            label = torch.tensor([item["label"]]) if args.bundle == "fundus" else loaded["label"].as_tensor()[None]
            if args.crop:
                place = around_lungs(label, args.crop)
                image, label = image[place].clone(), label[place].clone()
            for number, file in enumerate(own.get(item["case"], [""])):
                victim.network.load_state_dict(torch.load(file, weights_only=True) if file else weights)
                yield Case(f"{item['case']}{TRAINING}{number}" if file else item["case"], item["kind"], image, label)

    return victim, itertools.islice(cases(), args.cases)


def datalist(args: argparse.Namespace) -> list[dict[str, Any]]:
    if args.phantoms:
        size, spacing = (112, 80, 44), (3.3, 3.3, 6.0)
        folder = write_ct_phantoms(args.output / "phantoms", args.phantoms, size=size, spacing=spacing, seed=2000)
        return [item | {"kind": "phantom"} for item in ct_datalist(folder, target="lung")]
    own = {pair.split("=", 1)[0] for pair in args.weights}
    items = []
    for split in args.split:
        listed = LISTS[args.bundle](args.dataset_dir, split=split)
        items += [i | {"kind": "unseen" if split == "test" or i["case"] in own else "seen"} for i in listed]
    return items


def around_lungs(label: Tensor, size: int) -> tuple[slice, ...]:
    """A cube of `size` voxels around the middle of the lungs."""
    middle = [int(axis.float().mean()) for axis in label[0, 0].nonzero().T]
    starts = [max(0, min(m - size // 2, n - size)) for m, n in zip(middle, label.shape[2:], strict=True)]
    return (slice(None), slice(None), *(slice(start, start + size) for start in starts))


def run(args: argparse.Namespace) -> None:
    args.output.mkdir(parents=True, exist_ok=True)
    results = args.output / "results.jsonl"
    done = {(r["case"], r["attack"], r["eps"]) for r in read(results)}
    victim, cases = victim_and_cases(args)
    chosen: dict[str, Attack | None] = {"clean": None}
    chosen |= attacks(args.bundle, args.attacks, args.eps, args.gradients)
    for case in cases:
        for name, attack in chosen.items():
            if (case.name, name, args.eps) in done:
                continue
            attacked = case.image if attack is None else attack(victim, case.image, case.label).adversarial
            score = {}
            for degradation, handle in degradations(args.bundle).items():
                bound, label = victim.bind(case.image, case.label)
                score[degradation] = 1 - float(bound.damage(bound.infer(handle(attacked)), label))
            record = {"case": case.name, "kind": case.kind, "attack": name, "eps": args.eps, "score": score}
            record["gradients"] = 0 if attack is None else attack.planned_gradients
            with results.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(case.name, name, {h: round(s, 3) for h, s in score.items()}, flush=True)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def summarized(args: argparse.Namespace) -> list[Row]:
    """Of every kind of case and attack: its mean scores, and the shares that it recovers."""
    every = degradations(args.bundle)
    records = [r for r in read(args.output / "results.jsonl") if r["eps"] == args.eps]
    rows: list[Row] = []
    for kind in dict.fromkeys(r["kind"] for r in records):
        found: dict[str, dict[str, list[list[float]]]] = {}
        for r in records:
            if r["kind"] == kind:
                of = found.setdefault(r["attack"], {})
                of.setdefault(r["case"].partition(TRAINING)[0], []).append([r["score"][h] for h in every])
        cases = list(found["clean"])
        complete = {
            name: np.array([np.mean(of[case], 0) for case in cases])
            for name, of in found.items()
            if all(len(of.get(case, [])) == len(found["clean"][case]) for case in cases)
        }
        for name, scores in complete.items():
            row: Row = {"kind": kind, "attack": name, "cases": len(cases), "eps": args.eps}
            row |= {"recovered, seen": shares(complete, name, list(every), SEEN)}
            row |= {"recovered, unseen": shares(complete, name, list(every), UNSEEN[args.bundle])}
            rows.append(row | dict(zip(every, scores.mean(0).tolist(), strict=True)))
    return rows


def shares(complete: dict[str, np.ndarray], name: str, every: list[str], group: dict[str, Degradation]) -> float | None:
    """Mean recovered share over the degradations of a group: 1 is what the strongest of all attacks does."""
    known = [h for h in group if f"oracle: {h}" in complete]
    if name == "clean" or not known:
        return None
    columns = [every.index(h) for h in known]
    oracle = np.min([scores[:, columns] for row, scores in complete.items() if row != "clean"], 0)
    clean, attacked = complete["clean"][:, columns], complete[name][:, columns]
    does = (clean - oracle).mean(0) > 0  # where even the oracle does nothing there is no share
    if not does.any():
        return None
    return float(((clean - attacked).mean(0)[does] / (clean - oracle).mean(0)[does]).mean())


def claims(rows: list[Row]) -> Claims:
    """What SurvivalSMIA keeps beside the others, and where it does not."""
    of = {row["attack"]: row for row in rows}
    ours, pgd, smia = of[OURS], of["PGD, soft Jaccard"], of["SMIA (paper)"]
    cases = f"{ours['cases']} case{'s' * (ours['cases'] > 1)}"
    yield f"{cases}, no interval; `{DIRECT}` is the attacked image as it is.", ours["cases"] < 6
    yield (
        f"Directly it is level with PGD with soft Jaccard: {ours[DIRECT]:.3f} and {pgd[DIRECT]:.3f}.",
        (abs(ours[DIRECT] - pgd[DIRECT]) < 0.05),
    )
    yield (
        f"After smoothing with sigma 1 it leaves {ours['smooth 1']:.3f}, PGD {pgd['smooth 1']:.3f} and SMIA "
        f"{smia['smooth 1']:.3f}, of {of['clean']['smooth 1']:.3f}.",
        ours["smooth 1"] < min(pgd["smooth 1"], smia["smooth 1"]),
    )
    least, clean = min(row["smooth 1"] for row in rows), of["clean"]["smooth 1"]
    yield (
        f"That smoothing undoes most of any attack of this radius here: the strongest of all leaves {least:.3f}.",
        clean - least < 0.1 * (of["clean"][DIRECT] - min(row[DIRECT] for row in rows)),
    )
    better = [h for h in SEEN | UNSEEN["ct"] if ours[h] < min(pgd[h], smia[h]) - 5e-4]
    rest = [h for h in SEEN | UNSEEN["ct"] if h not in better]
    yield f"It leaves less than both after {', '.join(better)}; not after {', '.join(rest)}.", len(better) >= 3


def scores(rows: list[Row]) -> list[dict[str, str]]:
    """Of every attack the mean score after every degradation, and the shares."""
    shown = dict.fromkeys(degradations("ct"), 3) | {"recovered, seen": 2, "recovered, unseen": 2}
    return [
        {"attack": r["attack"], **{h: "-" if r[h] is None else f"{r[h]:.{digits}f}" for h, digits in shown.items()}}
        for r in rows
    ]


def of_kind(kind: str) -> Table:
    return Table(scores, where=lambda row: row["kind"] == kind, claims=claims)


TABLES = {kind: of_kind(kind) for kind in ("unseen", "seen", "phantom")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, nargs="?", help="folder to go on in; a temporary one otherwise")
    parser.add_argument("--bundle", choices=NAMES, default="ct")
    parser.add_argument("--dataset_dir")
    parser.add_argument("--split", nargs="+", default=["test"])
    parser.add_argument("--cases", type=int, help="only the first so many")
    parser.add_argument("--phantoms", type=int, default=0, help="so many synthetic thoraxes instead")
    parser.add_argument("--model", help="weights instead of the bundle's model.pt")
    parser.add_argument("--weights", nargs="*", default=[], help="CASE=FILE: weights of a training without that case")
    parser.add_argument("--crop", type=int, default=0, help="only a cube of so many voxels around the lungs' middle")
    parser.add_argument(
        "--attacks", nargs="+", default=["main", "further", "seen", "unseen"], help="main, further, oracles, or names"
    )
    parser.add_argument("--eps", type=float, default=0.03)
    parser.add_argument("--gradients", type=int, default=20)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    add_save(parser)
    args = parser.parse_args()
    args.output = args.output or Path(tempfile.mkdtemp())
    if not args.table:
        run(args)
    rows = summarized(args)
    print(*rows, sep="\n")
    weights = [args.model or BUNDLES / NAMES[args.bundle] / "models" / "model.pt"]
    save(args.save, rows, seeds=[0], weights=weights, data=[args.dataset_dir] if args.dataset_dir else [])


if __name__ == "__main__":
    main()
