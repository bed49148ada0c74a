"""What is left of an attack's damage after the image was smoothed, resampled, filtered or compressed.

Every attack takes the same number of gradients on the CT bundle's victim, in network units (1 is 1400 HU). Handlings
are "seen" (SurvivalSMIA cycles over them) or "unseen". The recovered share of a handling is (clean - attacked) /
(clean - oracle), of Jaccard indices after the handling; its oracle is SurvivalSMIA with all of its gradients through
that handling alone.
Results go to OUTPUT/results.jsonl, one line a case and attack; what is there is not computed again.

    python benchmarks/survival_study.py OUTPUT --dataset_dir CT             # the split "test"
    python benchmarks/survival_study.py OUTPUT --dataset_dir CT --split train --weights P001=a.pt P002=b.pt
    python benchmarks/survival_study.py OUTPUT --phantoms 4 --attacks main
    python benchmarks/survival_study.py OUTPUT --table
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from monai.bundle import ConfigParser
from monai.transforms import Compose

from monai_smia.attacks import BIM, MIFGSM, SMIA, Attack, SurvivalSMIA
from monai_smia.data import ct_datalist, write_ct_phantoms
from monai_smia.handling import AddNoise, Box, Compress, Handling, Median, Resample, Smooth, Untouched
from monai_smia.victims import SegmentationVictim

BUNDLE = Path(__file__).parents[1] / "bundles" / "ct_lung_segmentation"
DIRECT = "none"
SEEN: dict[str, Handling] = {"smooth 0.6": Smooth(0.6), "smooth 1": Smooth(1.0), "resample 2": Resample(2.0)}
UNSEEN: dict[str, Handling] = {
    "smooth 1.5": Smooth(1.5),
    "resample 1.5": Resample(1.5),
    "box 3": Box(3),
    "median 3": Median(3),
    "jpeg2000 10:1": Compress("jpeg2000", 10, levels=1400),
    "noise 14 HU": AddNoise(0.01),
}
HANDLINGS: dict[str, Handling] = {DIRECT: Untouched(), **SEEN, **UNSEEN}


def attacks(which: list[str], eps: float, gradients: int) -> dict[str, Attack]:
    """The attacks of the study, and the oracles of the handlings."""
    common = {"eps": eps, "autocast": "bfloat16"}
    steps = {**common, "steps": gradients}
    two = {**common, "steps": (gradients + 1) // 2}  # SMIA takes two gradients a step, one at the first
    jaccard = {**steps, "loss": "soft_jaccard"}
    long = {**jaccard, "step_size": 5 * eps / gradients}  # twice the default step: tuned for the direct attack
    main = {
        "BIM, cross entropy": BIM(**steps),
        "MIFGSM, cross entropy": MIFGSM(decay=0.9, **steps),
        "BIM, masked cross entropy": BIM(loss="masked_cross_entropy", **steps),
        "BIM, soft Jaccard": BIM(**jaccard),
        "BIM, soft Jaccard, longer steps": BIM(**long),
        "SMIA (paper)": SMIA(**two),
        "momentum and decay alone, soft Jaccard": SurvivalSMIA(cycle=[Untouched()], **jaccard),
        "none and smooth 1 in turn, cross entropy": SurvivalSMIA(cycle=[Untouched(), Smooth(1.0)], **steps),
        "SurvivalSMIA, cross entropy": SurvivalSMIA(**steps),
        "SurvivalSMIA": SurvivalSMIA(**jaccard),
    }
    oracles: dict[str, Attack] = {
        f"oracle: {name}": SurvivalSMIA(cycle=[handling], **jaccard) for name, handling in {**SEEN, **UNSEEN}.items()
    }
    known = {**main, **oracles}
    chosen = {"all": known, "main": main}.get(which[0], {})
    return chosen or {name: known[name] for name in which}


def victim_and_cases(args: argparse.Namespace) -> tuple[ConfigParser, list[dict[str, str]]]:
    config = ConfigParser()
    config.read_config(BUNDLE / "configs" / "attack_eval.yaml")
    config.update({"bundle_root": str(BUNDLE), "output_dir": str(args.output), "space": "network"})
    if args.phantoms:
        folder = write_ct_phantoms(
            args.output / "phantoms", args.phantoms, size=(112, 80, 32), spacing=(3.3, 3.3, 6.0), seed=2000
        )
        return config, ct_datalist(folder, target="lung")
    return config, ct_datalist(args.dataset_dir, target="lung", split=args.split)


def run(args: argparse.Namespace) -> None:
    args.output.mkdir(parents=True, exist_ok=True)
    results = args.output / "results.jsonl"
    done = {(r["case"], r["attack"], r["eps"]) for r in read(results)}
    config, cases = victim_and_cases(args)
    network = config.get_parsed_content("network_def").eval()
    loading = Compose([*config.get_parsed_content("load"), *config.get_parsed_content("preprocess")])
    victim = SegmentationVictim(network, inferer=config.get_parsed_content("inferer"))
    own = dict(pair.split("=", 1) for pair in args.weights)
    for item in cases:
        weights = own.get(item["case"], str(BUNDLE / "models" / "model.pt"))
        network.load_state_dict(torch.load(weights, weights_only=True))
        case = loading(item)
        image, label = case["image"].as_tensor()[None].float(), case["label"].as_tensor()[None]
        if args.crop:
            place = around_lungs(label, args.crop)
            image, label = image[place].clone(), label[place].clone()
        for name, attack in {"clean": None, **attacks(args.attacks, args.eps, args.gradients)}.items():
            if (item["case"], name, args.eps) in done:
                continue
            attacked = image if attack is None else attack(victim, image, label).adversarial
            jaccard = {}
            for handling, handle in HANDLINGS.items():
                prediction = victim.infer(handle(attacked))
                jaccard[handling] = 1 - float(victim.damage(prediction, victim.bind(image, label)[1]))
            record = {
                "case": item["case"],
                "kind": "phantom"
                if args.phantoms
                else "unseen"
                if args.split == "test" or item["case"] in own
                else "seen",
                "attack": name,
                "eps": args.eps,
                "gradients": 0 if attack is None else attack.planned_gradients,
                "jaccard": jaccard,
            }
            with results.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(item["case"], name, {h: round(j, 3) for h, j in jaccard.items()}, flush=True)


def around_lungs(label: torch.Tensor, size: int) -> tuple[slice, ...]:
    """A cube of `size` voxels around the middle of the lungs."""
    middle = [int(axis.float().mean()) for axis in label[0, 0].nonzero().T]
    starts = [max(0, min(m - size // 2, n - size)) for m, n in zip(middle, label.shape[2:], strict=True)]
    return (slice(None), slice(None), *(slice(start, start + size) for start in starts))


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def share(clean: float, attacked: float, oracle: float) -> float:
    return (clean - attacked) / (clean - oracle) if clean > oracle else float("nan")


def table(args: argparse.Namespace) -> None:
    """Mean Jaccard index of every attack after every handling, the recovered shares, and a figure."""
    records = read(args.output / "results.jsonl")
    for kind in dict.fromkeys(r["kind"] for r in records):
        found = {(r["case"], r["attack"]): r["jaccard"] for r in records if r["kind"] == kind and r["eps"] == args.eps}
        cases = list(dict.fromkeys(case for case, _ in found))
        names = list(dict.fromkeys(name for _, name in found))
        print(f"\n{kind}: {len(cases)} case(s), eps {args.eps}\n")
        print("| attack | " + " | ".join(HANDLINGS) + " | recovered, seen | recovered, unseen |")
        print("|---" * (len(HANDLINGS) + 3) + "|")
        means = {}
        for name in names:
            mine = [case for case in cases if (case, name) in found]
            means[name] = [float(np.mean([found[case, name][h] for case in mine])) for h in HANDLINGS]
            cells = [f"{value:.3f}" for value in means[name]]
            for group in (SEEN, UNSEEN):
                shares = [
                    share(found[case, "clean"][h], found[case, name][h], found[case, f"oracle: {h}"][h])
                    for case in mine
                    for h in group
                    if (case, f"oracle: {h}") in found
                ]
                cells.append(f"{np.nanmean(shares):.2f}" if shares and name != "clean" else "-")
            print(f"| {name} | " + " | ".join(cells) + " |")
        draw(args.output / f"survival_{kind}.png", means)


def draw(path: Path, means: dict[str, list[float]]) -> None:
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axis = figure.subplots()
    for name, values in means.items():
        if not name.startswith("oracle"):
            axis.plot(list(HANDLINGS), values, marker="o", label=name)
    oracles = [means.get(f"oracle: {h}", [np.nan] * len(HANDLINGS))[i] for i, h in enumerate(HANDLINGS)]
    axis.plot(list(HANDLINGS), oracles, "k_", markersize=18, label="oracle of the handling")
    axis.set_ylabel("Jaccard index")
    axis.set_ylim(0, 1)
    axis.tick_params(axis="x", rotation=30)
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--dataset_dir")
    parser.add_argument("--split", default="test")
    parser.add_argument("--phantoms", type=int, default=0, help="so many synthetic thoraxes instead")
    parser.add_argument("--weights", nargs="*", default=[], help="CASE=FILE: weights of a training without that case")
    parser.add_argument("--crop", type=int, default=0, help="only a cube of so many voxels around the lungs' middle")
    parser.add_argument("--attacks", nargs="+", default=["all"], help="all, main (no oracles), or names")
    parser.add_argument("--eps", type=float, default=0.03)
    parser.add_argument("--gradients", type=int, default=20)
    parser.add_argument("--table", action="store_true", help="only print the table and draw the figure")
    args = parser.parse_args()
    if not args.table:
        run(args)
    table(args)


if __name__ == "__main__":
    main()
