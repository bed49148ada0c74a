"""The fundus bundle under attack on real photographs, in batches: accuracy and kappa, as `attack_eval` has them.

`attack_eval` of the bundle also stores every photograph, reads it back, measures perturbations and draws figures, a
photograph at a time; this prints the computed figures alone, in a fraction of the time. `--smallest` looks for the
smallest perturbation instead of filling a radius: DeepFool without one, and the norms of what it finds.

    python benchmarks/fundus_attacks.py <fundus> --attacks Noise PGD --eps 4
    python benchmarks/fundus_attacks.py <fundus> --smallest
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from monai_smia.attacks import Attack, DeepFool
from monai_smia.data import LoadPhotograph, fundus_datalist
from monai_smia.evaluation import paper_comparison
from monai_smia.metrics import quadratic_weighted_kappa, wilson_interval
from monai_smia.victims import ClassificationVictim

BUNDLE = Path(__file__).parents[1] / "bundles" / "fundus_dr_grading"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset_dir")
    parser.add_argument("--attacks", nargs="+", help="names of rows; all of them by default")
    parser.add_argument("--eps", type=float, nargs="+", default=[1, 2, 4], help="radii in grey levels")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--smallest", action="store_true", help="DeepFool without a radius")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    config = ConfigParser()
    config.read_config(BUNDLE / "configs" / "attack_eval.yaml")
    config["bundle_root"] = str(BUNDLE)
    network = config.get_parsed_content("network")
    network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
    victim = config.get_parsed_content("victim")
    extra = config.get_parsed_content("comparison::extra")
    items = fundus_datalist(arguments.dataset_dir, split="test")
    batches = []
    for start in range(0, len(items), arguments.batch):
        chosen = items[start : start + arguments.batch]
        images = torch.stack([LoadPhotograph()(item["image"]).as_tensor() for item in chosen])
        batches.append((images, torch.tensor([item["label"] for item in chosen])))

    def row(attack: Attack | None) -> None:
        truth, decided, gradients = [], [], 0
        for images, labels in batches:
            result = None if attack is None else attack(victim, images, labels)
            attacked = images if result is None else result.adversarial
            truth += labels.tolist()
            decided += victim.decide(victim.infer(attacked)).tolist()
            gradients += 0 if result is None else int(result.gradients.sum())
        right = sum(y == d for y, d in zip(truth, decided, strict=True))
        low, high = wilson_interval(right, len(truth))
        name, eps = ("Clean", "-") if attack is None else (type(attack).__name__, f"{attack.eps:g}")
        print(
            f"| {name} | {eps} | {right / len(truth):.2f} ({low:.2f} - {high:.2f}) "
            f"| {quadratic_weighted_kappa(truth, decided, 5):.3f} | {gradients / len(truth):.1f} |",
            flush=True,
        )

    if arguments.smallest:
        smallest(victim, batches)
        return
    print("| attack | eps (grey levels) | accuracy (95 % interval) | kappa | gradients |\n|---|---|---|---|---|")
    row(None)
    plan = paper_comparison(arguments.eps, clip=(0.0, 255.0), stop_at=1.0, extra=extra, progress=False)
    for planned in plan:
        wanted = not arguments.attacks or planned.name in arguments.attacks
        if planned.attack is not None and planned.setting == "equal radius" and wanted:
            row(planned.attack)


def smallest(victim: ClassificationVictim, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Norms of DeepFool's perturbations of the photographs that are graded right, in grey levels."""
    print(
        "| norm | graded right | brought over | L2: median (quartiles) | L-inf | gradients |\n|---|---|---|---|---|---|"
    )
    for norm in ("l2", "linf"):
        attack = DeepFool(norm=norm, candidates=5, clip=(0.0, 255.0), progress=False)
        found = []
        for images, labels in batches:
            right = victim.decide(victim.infer(images)) == labels
            if right.any():
                result = attack(victim, images[right], labels[right])
                eta = result.perturbation.flatten(1)
                found.append(torch.stack([result.damage, eta.norm(dim=1), eta.abs().amax(1), result.gradients], 1))
        damage, l2, linf, gradients = torch.cat(found).unbind(1)
        over = damage == 1
        print(
            f"| {norm} | {len(damage)} | {int(over.sum())} | {_quartiles(l2[over])} | {_quartiles(linf[over])} "
            f"| {gradients.mean():.1f} |",
            flush=True,
        )


def _quartiles(values: Tensor) -> str:
    low, middle, high = values.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    return f"{middle:.3g} ({low:.3g} - {high:.3g})"


if __name__ == "__main__":
    main()
