"""How small a change is enough for the graders of the fundus bundle: what the preset ``standard`` leaves by radius.

Per photograph the members of the preset, with few gradients, from the smallest radius up to the first at which one of
them succeeds. Radii are grey levels of the photograph, of which an 8-bit file holds whole ones. A photograph that is
graded wrongly as it is has none. Choices are made on photographs of a fold that the robust training held out:

    python benchmarks/fundus_radii.py FUNDUS
    python benchmarks/fundus_radii.py FUNDUS --fold 0 --weights A.pt B.pt
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

BUNDLE = ROOT / "bundles" / "fundus_dr_grading"
MODELS = BUNDLE / "models"
RADII = (0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
NETWORKS = {
    "model.pt": ("attack_eval",),
    "model_robust.pt": ("attack_eval",),
    "model_efficient.pt": ("attack_eval", "efficient"),
}


def share(eps: float) -> str:
    """The name of what a radius leaves."""
    return f"at_{eps:g}".replace(".", "_")


def survived(victim: Any, image: torch.Tensor, label: torch.Tensor, gradients: int) -> float | None:
    """The largest radius up to which no attack succeeds; 0 if there is none, None if the clean grade is wrong."""
    if int(victim.decide(victim.infer(image))) != int(label):
        return None
    held = 0.0
    for eps in RADII:
        attack = standard_attack("classification", eps=eps, clip=(0.0, 255.0), steps=gradients)
        found = attack(victim, image, label).adversarial
        if int(victim.decide(victim.infer(found))) != int(label):
            break
        held = eps
    return held


def chosen(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Some of the split test, or of a fold of the split train."""
    if options.fold is None:
        return fundus_datalist(options.fundus, split="test", max_cases=options.cases)
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "train.yaml")
    parser.update({"bundle_root": str(BUNDLE), "dataset_dir": str(options.fundus), "fold": options.fold})
    held = parser.get_parsed_content("held_out_fold")
    return list(held[:: max(len(held) // options.cases, 1)][: options.cases])


def measured(weights: Path, cases: list[dict[str, Any]], gradients: int) -> Row:
    """What one network leaves of some photographs at every radius."""
    parser = ConfigParser()
    configs = NETWORKS.get(weights.name, ("attack_eval",))
    parser.read_config([BUNDLE / "configs" / f"{config}.yaml" for config in configs])
    parser["bundle_root"] = str(BUNDLE)
    parser.get_parsed_content("network").load_state_dict(torch.load(weights, weights_only=True))
    victim, load = (parser.get_parsed_content(part) for part in ("victim", "load"))
    radii: list[float | None] = []
    for item in cases:
        image = load({"image": item["image"]})["image"].as_tensor()[None]
        radii.append(survived(victim, image, torch.tensor([item["label"]]), gradients))
        print(weights.name, item["case"], item["label"], radii[-1], flush=True)
    right = [radius for radius in radii if radius is not None]
    left = {share(eps): sum(radius >= eps for radius in right) / len(radii) for eps in RADII}
    median = statistics.median(right) if right else None
    about = {
        "network": weights.name,
        "sha256": digest(weights)[:12],
        "cases": len(radii),
        "clean": len(right) / len(radii),
    }
    return {**about, **left, "radii": radii, "median": median}


def claims(rows: list[Row]) -> Claims:
    for row in rows:
        held = [eps for eps in RADII if row[share(eps)] >= row["clean"] / 2]
        largest = f"{max(held):g} grey levels" if held else f"less than {RADII[0]:g} grey levels"
        right = sum(radius is not None for radius in row["radii"])
        yield f"{row['network']}: half of the {right} that are graded rightly still are within {largest}.", True
        yield f"{row['network']}: within one grey level {row[share(1.0)]:.0%} of the photographs are.", True


COLUMNS = {"network": "{network}", "photographs": "{cases}", "clean": "{clean:.2f}"}
COLUMNS |= {f"{eps:g}": f"{{{share(eps)}:.2f}}" for eps in RADII}
TABLES = {"table": Table({**COLUMNS, "median radius": "{median:.3g}", "SHA-256": "{sha256}"}, claims=claims)}


def main() -> None:
    """Print a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fundus", type=Path)
    parser.add_argument("--cases", type=int, default=16, help="a random subset of the split test")
    parser.add_argument("--gradients", type=int, default=10, help="of the first attack of the preset")
    parser.add_argument("--fold", type=int, help="of the split train, instead of the split test")
    parser.add_argument("--weights", nargs="+", type=Path, default=[MODELS / name for name in NETWORKS])
    add_save(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = chosen(options)
    rows = [measured(weights.resolve(), cases, options.gradients) for weights in options.weights]
    print(TABLES["table"].markdown(rows))
    shipped = [weights for weights in options.weights if weights.resolve().parent == MODELS]
    save(options.save, rows, seeds=[0], weights=shipped, data=[options.fundus])


if __name__ == "__main__":
    main()
