"""Does an attack on internal features pay as a further member of the preset `standard` for segmentations?

Signed ascent of the distance between the deepest features of the clean and of the attacked image, its best point by the
deployed decision (soft Jaccard), at as many gradients as the preset's first member; alone, and in the worst case beside
the preset. What an equal share of further gradients of the first member (other starts) brings stands beside it. On the
networks of `standard.py`, trained anew from another seed (the group `tune`).

    python benchmarks/features.py --dataset_dir CT
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import Claims, Row, Table, add_save, save
from standard_networks import segmenter
from torch import Tensor, nn

from monai_smia.attacks import APGD, PGD, Attack
from monai_smia.attacks.gradient import gradient_of
from monai_smia.attacks.iterative import Iterate
from monai_smia.evaluation import standard_attack
from monai_smia.threat import ThreatModel
from monai_smia.victims import Victim

SETTINGS = (("four classes", 0.01), ("lungs", 0.005), ("lungs robust", 0.03))


@contextmanager
def outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """What a module answers within the block."""
    found: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()


def deepest(network: nn.Module, image: Tensor) -> nn.Module:
    """The last module of those whose output has fewest places."""
    sizes: dict[nn.Module, int] = {}
    parts = [part for part in network.modules() if isinstance(part, nn.PReLU)]
    handles = [p.register_forward_hook(lambda m, _, y: sizes.update({m: y[0, 0].numel()})) for p in parts]
    with torch.no_grad():
        network(image)
    for handle in handles:
        handle.remove()
    least = min(sizes.values())
    return [part for part in parts if sizes.get(part) == least][-1]


@dataclass(kw_only=True, eq=False)
class FeatureAscent(PGD):
    """PGD on the distance of the deepest features from those of the clean image."""

    def initial_state(self, problem: Any) -> tuple[nn.Module, Tensor]:
        module = deepest(problem.victim.network, problem.image[:1])
        with outputs(module) as found, torch.no_grad():
            problem.victim.predict(problem.image)
        return module, found[0]

    def move(self, victim: Victim, iterate: Iterate, threat: ThreatModel) -> tuple[Tensor, int]:
        module, clean = iterate.state
        with outputs(module) as found:
            victim.predict(iterate.adversarial)
        gradient = gradient_of((found[0] - clean).square().sum(), iterate.adversarial)
        return self.step_size * gradient.sign(), 1


def members(eps: float, steps: int) -> dict[str, Attack]:
    first, *_ = standard_attack("segmentation", eps=eps, steps=steps).attacks
    assert isinstance(first, APGD)
    common: dict[str, Any] = {"eps": eps, "steps": steps, "progress": False}
    return {
        "standard": standard_attack("segmentation", eps=eps, steps=steps),
        "its first member, other starts": first,
        "features, steps of eps / 10": FeatureAscent(step_size=eps / 10, **common),
        "features, steps of eps / 3": FeatureAscent(step_size=eps / 3, **common),
    }


def measure(args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    for kind, eps in SETTINGS:
        victim, image, label = segmenter(kind, "tune", folder, args.dataset_dir)
        kept: dict[str, np.ndarray] = {}
        for number, (name, attack) in enumerate(members(eps, args.gradients).items()):
            seeds = [1000 * (number == 1) + n for n in range(len(image))]  # the first member's second chance
            found = attack(victim, image, label, seed=seeds).adversarial
            pairs = zip(found.split(1), label.split(1), strict=True)
            kept[name] = np.array([1 - float(victim.damage(victim.infer(x), y)) for x, y in pairs])
        for name, values in kept.items():
            both = np.minimum(values, kept["standard"])
            row = {"network": kind, "eps": eps, "gradients": args.gradients, "attack": name, "images": len(values)}
            yield {**row, "kept": float(values.mean()), "both": float(both.mean())}


def claims(rows: list[Row]) -> Claims:
    """What features bring beside what further starts bring."""
    by = {(row["network"], row["attack"]): row for row in rows}
    networks = dict.fromkeys(row["network"] for row in rows)
    gain = {
        name: max(by[n, "standard"]["kept"] - by[n, attack]["both"] for n in networks for attack in names)
        for name, names in {
            "features": [a for a in dict.fromkeys(row["attack"] for row in rows) if a.startswith("features")],
            "starts": ["its first member, other starts"],
        }.items()
    }
    yield (
        f"Beside `standard` the attacks on features take at most {gain['features']:.4f} of Jaccard away, other starts "
        f"of its first member at most {gain['starts']:.4f}: features are no member.",
        gain["features"] < max(gain["starts"], 0.002),
    )


TABLES = {
    "table": Table(
        {
            "network": "{network}",
            "radius": "{eps:g}",
            "attack": "{attack}",
            "Jaccard left": "{kept:.4f}",
            "worst case with `standard`": "{both:.4f}",
        },
        claims=claims,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--gradients", type=int, default=100)
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(args, Path(folder)))
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[100], data=[args.dataset_dir])


if __name__ == "__main__":
    main()
