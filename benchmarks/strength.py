"""How strong the segmentation attacks are at equal gradients, alone, in the worst case over all, and without gradients.

On the CT bundle's victim, in network units (1 is 1400 HU). Every attack takes the same number of gradients, Square as
many predictions as they would cost (three a gradient). The ensemble is the worst of all rows, case by case.

    python benchmarks/strength.py --phantoms 2
    python benchmarks/strength.py --dataset_dir CT --gradients 300 --weights models/model_robust.pt
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from monai.transforms import Compose
from survival_study import around_lungs, victim_and_cases

from monai_smia.attacks import APGD, BIM, PGD, SEA_SCHEDULE, SMIA, Attack, CosPGD, Ensemble, Noise, SegPGD, Square
from monai_smia.victims import SegmentationVictim

REFERENCE = "PGD, cross entropy"


def members(eps: float, gradients: int) -> dict[str, Attack]:
    common = {"eps": eps, "autocast": "bfloat16", "seed": 0}
    steps = {**common, "steps": gradients}
    named: dict[str, Attack] = {
        "Noise": Noise(**common),
        REFERENCE: PGD(**steps),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir")
    parser.add_argument("--split", default="test")
    parser.add_argument("--phantoms", type=int, default=0)
    parser.add_argument("--crop", type=int, default=0, help="only a cube of so many voxels around the lungs' middle")
    parser.add_argument("--eps", type=float, default=0.03)
    parser.add_argument("--gradients", type=int, default=20)
    parser.add_argument("--weights", help="weights instead of the bundle's model.pt")
    args = parser.parse_args()
    args.output = Path(tempfile.mkdtemp())
    config, cases = victim_and_cases(args)
    network = config.get_parsed_content("network_def").eval()
    weights = args.weights or config.get_parsed_content("weights")
    network.load_state_dict(torch.load(weights, weights_only=True))
    loading = Compose([*config.get_parsed_content("load"), *config.get_parsed_content("preprocess")])
    victim = SegmentationVictim(network, inferer=config.get_parsed_content("inferer"))
    attacks = members(args.eps, args.gradients)
    ensemble = Ensemble(attacks=list(attacks.values()))
    jaccards: dict[str, list[float]] = {}
    for item in cases:
        case = loading(item)
        image, label = case["image"].as_tensor()[None].float(), case["label"].as_tensor()[None]
        if args.crop:
            place = around_lungs(label, args.crop)
            image, label = image[place].clone(), label[place].clone()
        damages = {"Clean": victim.damage(victim.infer(image), label)}
        for name, attack in attacks.items():
            damages[name] = victim.damage(victim.infer(attack(victim, image, label).adversarial), label)
            print(item["case"], name, round(1 - float(damages[name]), 3), flush=True)
        damages["Ensemble"] = torch.stack([d for n, d in damages.items() if n != "Clean"]).amax(0)
        for name, damage in damages.items():
            jaccards.setdefault(name, []).append(1 - float(damage))
    print(f"\neps {args.eps}, {args.gradients} gradients ({ensemble.planned_gradients} in all), {len(cases)} case(s)\n")
    print("| attack | Jaccard | less than PGD with cross entropy by |")
    print("|---|---|---|")
    for name, values in sorted(jaccards.items(), key=lambda pair: -float(np.mean(pair[1]))):
        gain = np.array(jaccards[REFERENCE]) - np.array(values)
        draws = np.random.default_rng(0).choice(gain, (2000, len(gain))).mean(1)
        low, high = np.percentile(draws, [2.5, 97.5])
        interval = f" ({low:.3f} to {high:.3f})" if len(gain) > 1 else ""
        print(f"| {name} | {np.mean(values):.3f} | {gain.mean():.3f}{interval} |")


if __name__ == "__main__":
    main()
