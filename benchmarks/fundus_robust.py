"""The fundus bundle's EfficientNet-Lite0 before and after adversarial training: what the preset ``standard`` leaves.

Per photograph the members of the preset, with few gradients, from the largest radius down to the first that it
survives; smaller radii then leave it, too. Radii are grey levels of the photograph, of which an 8-bit file holds whole
ones. A photograph that is graded wrongly as it is has none. Without an attack all of the split test is graded.

    python benchmarks/fundus_robust.py output/model_efficient_robust.pt FUNDUS
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
from measured import ROOT, Claims, Row, Table, add_save, digest, save
from monai.bundle import ConfigParser

from monai_smia.data import fundus_datalist
from monai_smia.evaluation import standard_attack
from monai_smia.metrics import quadratic_weighted_kappa

BUNDLE = ROOT / "bundles" / "fundus_dr_grading"
RADII = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
SHIPPED = BUNDLE / "models" / "model_efficient.pt"


def share(eps: float) -> str:
    """The name of what a radius leaves."""
    return f"at_{eps:g}".replace(".", "_")


def survived(victim: Any, image: torch.Tensor, label: torch.Tensor, gradients: int) -> float | None:
    """The largest of the radii that no attack succeeds in; 0 if there is none, None if the clean grade is wrong."""
    if int(victim.decide(victim.infer(image))) != int(label):
        return None
    for eps in RADII:
        attack = standard_attack("classification", eps=eps, clip=(0.0, 255.0), steps=gradients)
        found = attack(victim, image, label).adversarial
        if int(victim.decide(victim.infer(found))) == int(label):
            return eps
    return 0.0


def measured(name: str, weights: Path, folder: Path, cases: int, gradients: int) -> Row:
    """The grades of one network without an attack, and what it leaves of some photographs at every radius."""
    parser = ConfigParser()
    parser.read_config([BUNDLE / "configs" / f"{config}.yaml" for config in ("attack_eval", "efficient")])
    parser["bundle_root"] = str(BUNDLE)
    parser.get_parsed_content("network").load_state_dict(torch.load(weights, weights_only=True))
    victim, load = (parser.get_parsed_content(part) for part in ("victim", "load"))

    def photograph(item: dict[str, Any]) -> torch.Tensor:
        image: torch.Tensor = load({"image": item["image"]})["image"].as_tensor()[None]
        return image

    test = fundus_datalist(folder, split="test")
    truth = [int(item["label"]) for item in test]
    graded = [int(victim.decide(victim.infer(photograph(item)))) for item in test]
    known = sum(one == other for one, other in zip(truth, graded, strict=True)) / len(test)
    about = {
        "network": name,
        "sha256": digest(weights)[:12],
        "all": len(test),
        "known": known,
        "kappa": quadratic_weighted_kappa(truth, graded, 5),
    }
    about |= {"most": max(set(graded), key=graded.count)}
    about |= {"share": graded.count(about["most"]) / len(test)}
    print(about, flush=True)
    items = fundus_datalist(folder, split="test", max_cases=cases)
    radii: list[float | None] = []
    for item in items:
        image = photograph(item)
        radii.append(survived(victim, image, torch.tensor([item["label"]]), gradients))
        print(name, item["case"], item["label"], radii[-1], flush=True)
    right = [radius for radius in radii if radius is not None]
    left = {share(eps): sum(radius >= eps for radius in right) / len(items) for eps in RADII}
    clean = len(right) / len(items)
    median = statistics.median(right) if right else None
    return {**about, "cases": len(items), "clean": clean, **left, "radii": radii, "median": median}


def claims(rows: list[Row]) -> Claims:
    plain, robust = rows
    yield (
        f"Adversarial training changes the accuracy on all {plain['all']} photographs by "
        f"{robust['known'] - plain['known']:+.2f}, and kappa by {robust['kappa'] - plain['kappa']:+.2f}.",
        True,
    )
    if robust["share"] == 1:
        yield f"It grades every photograph {robust['most']}: what it leaves under attack is no robustness.", True
        return
    for eps, text in ((1.0, "one grey level"), (2.0, "two grey levels")):
        before, after = (row[share(eps)] / row["clean"] for row in rows)
        yield f"At {text} {after:.0%} stay of what is right without an attack; before it {before:.0%} did.", True


COLUMNS = {
    "network": "{network}",
    "accuracy": "{known:.2f}",
    "kappa": "{kappa:.3f}",
    "attacked": "{cases}",
    "clean": "{clean:.2f}",
}
COLUMNS |= {f"{eps:g}": f"{{{share(eps)}:.2f}}" for eps in reversed(RADII)}
TABLES = {"table": Table({**COLUMNS, "median radius": "{median:.3g}", "SHA-256": "{sha256}"}, claims=claims)}


def main() -> None:
    """Print a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="what the adversarial training gave")
    parser.add_argument("fundus", type=Path)
    parser.add_argument("--cases", type=int, default=12, help="a random subset of the split test")
    parser.add_argument("--gradients", type=int, default=10, help="of the first attack of the preset")
    add_save(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = {"model_efficient.pt": SHIPPED, "adversarially trained": options.weights.resolve()}
    rows = [measured(name, file, options.fundus, options.cases, options.gradients) for name, file in files.items()]
    print(TABLES["table"].markdown(rows))
    save(options.save, rows, seeds=[0], weights=[SHIPPED], data=[options.fundus])


if __name__ == "__main__":
    main()
