"""How close to the smallest perturbations known an attack comes: AttackBench's optimality (Cinà et al., AAAI 2025).

    python benchmarks/optimality.py --save optimality

Every attack looks for the smallest perturbation that changes a decision, with at most 2000 queries a sample (a forward
and a backward pass count one each). Its curve is the share of samples that no perturbation up to a radius breaks; the
reference is the lower envelope of the curves of all attacks, sample by sample. Optimality is the area between the clean
accuracy and the attack's curve, over that of the reference, up to the radius where the reference is 0.

The networks and digits are those of `standard_networks.py`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import Claims, Row, Table, add_save, save
from standard_networks import SEEDS, classifier
from standard_peers import adv_lib
from torch import Tensor, nn

from monai_smia.attacks import APGDT, FMNT, CriticalRadius
from monai_smia.victims import ClassificationVictim

OURS = "ours: FMNT, then bisection with APGDT"
BUDGET = 2000
SETTINGS = (("plain", "linf"), ("plain", "l2"), ("robust", "linf"), ("robust", "l2"), ("saturated", "linf"))
LARGEST = {"linf": 1.0, "l2": 8.0}  # of an image of 64 pixels in [0, 1], all of them from 0 to 1
Run = Callable[[Tensor, Tensor], Tensor]


class Counted:
    """Forward and backward passes of a network, of every sample of the batch that is attacked."""

    def __init__(self, network: nn.Module) -> None:
        self.passes = 0
        self.handles = [
            network.register_forward_hook(self._forward),
            network.register_full_backward_hook(self._backward),
        ]

    def _forward(self, module: nn.Module, images: Any, output: Tensor) -> None:
        self.passes += len(output)

    def _backward(self, module: nn.Module, images: Any, gradients: Any) -> None:
        self.passes += len(gradients[0])

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()


def ours(victim: ClassificationVictim, norm: str, image: Tensor, label: Tensor) -> Tensor:
    """The minimum-norm attack toward every class, and bisection from the smallest perturbation that it found."""
    options: dict[str, Any] = {"norm": norm, "eps": LARGEST[norm], "progress": False}
    first, then = FMNT(steps=88, **options), APGDT(steps=10, num_targets=1, **options)
    return CriticalRadius(then, first=first, share=0.0, precision=0.005)(victim, image, label).adversarial


def peers(network: nn.Module, norm: str) -> dict[str, Run]:
    """Minimum-norm attacks of other libraries with the same budget."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox
    library, order = adv_lib(), torch.inf if norm == "linf" else 2
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    linf = norm == "linf"
    fmn = (foolbox.attacks.LInfFMNAttack if linf else foolbox.attacks.L2FMNAttack)(steps=BUDGET // 2)
    found: dict[str, Run] = {
        "adv_lib: FMN": partial(library.fmn, network, norm=order, steps=BUDGET // 2 - 1),
        "adv_lib: PDGD" if not linf else "adv_lib: PDPGD": partial(
            library.pdpgd if linf else library.pdgd,
            network,
            num_steps=BUDGET // 2 - 1,
            **({"norm": order} if linf else {}),
        ),
        "adv_lib: FAB": partial(library.fab, network, norm=order, n_iter=BUDGET // 40),
        "Foolbox: FMN": lambda x, y: fmn.run(model, x, y),
    }
    if not linf:
        found["adv_lib: DDN"] = partial(library.ddn, network, steps=BUDGET // 2 - 1)
        found["adv_lib: ALMA"] = partial(library.alma, network, distance="l2", num_steps=BUDGET // 2 - 1)
    return found


def length(perturbation: Tensor, norm: str) -> Tensor:
    return torch.linalg.vector_norm(perturbation.flatten(1), torch.inf if norm == "linf" else 2, 1)


def rows_of(kind: str, norm: str, folder: Path, group: str, count: int) -> Iterator[Row]:
    """A row an attack."""
    victim, image, label = classifier(kind, group, folder)
    image, label = image[:count], label[:count]
    network = victim.network
    right = (network(image).argmax(1) == label).numpy()
    runs = {OURS: partial(ours, victim, norm)} | peers(network, norm)
    distances, spent, passes = {}, {}, {}
    for name, run in runs.items():
        counted, began = Counted(network), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = run(image, label).detach().clamp(0, 1)
        spent[name], passes[name] = time.process_time() - began, counted.passes / len(image)
        counted.close()
        with torch.no_grad():
            broken = (network(found).argmax(1) != label).numpy()
        size = length(found - image, norm).numpy().astype(float)
        distances[name] = np.where(right, np.where(broken, size, np.inf), 0.0)
    reference = np.min(list(distances.values()), 0)
    end = reference.max()
    for name, values in distances.items():
        middle = np.median(values[right])
        area = np.clip(end - values, 0, None)[right].sum() / (end - reference)[right].sum()
        row = {
            "network": kind, "norm": norm, "attack": name, "optimality": float(area), "passes": float(passes[name]),
            "median": float(middle) if np.isfinite(middle) else None, "seconds": spent[name],
            "samples": int(right.sum()), "smallest": int((values <= reference * 1.001)[right].sum()),
        }  # fmt: skip
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
        yield row


def table(rows: list[Row]) -> list[dict[str, str]]:
    """Attacks down, networks across."""
    names = list(dict.fromkeys(row["attack"] for row in rows))
    lines: dict[str, dict[str, str]] = {name: {"attack": name} for name in names}
    for row in rows:
        middle = "-" if row["median"] is None else f"{row['median']:.4f}"
        cell = f"{row['optimality']:.3f} ({middle}; {row['passes']:.0f})"
        lines[row["attack"]][f"{row['network']}, {row['norm']}"] = cell
    heads = list(dict.fromkeys(head for line in lines.values() for head in line))
    return [{head: line.get(head, "-") for head in heads} for line in lines.values()]


def claims(rows: list[Row]) -> Claims:
    """Ours beside the best of the others, within the budget."""
    own = [row for row in rows if row["attack"] == OURS]
    least = min(row["optimality"] for row in own)
    most = max(row["passes"] for row in own)
    first = sum(
        row["optimality"]
        >= max(r["optimality"] for r in rows if (r["network"], r["norm"]) == (row["network"], row["norm"]))
        for row in own
    )
    yield (
        f"Ours has an optimality of {least:.3f} at least, with {most:.0f} passes a sample at most; it is the highest "
        f"in {first} of {len(own)} settings.",
        most <= BUDGET,
    )


TABLES = {"optimality": Table(table, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="build/standard_networks", help="folder that the networks are kept in")
    parser.add_argument("--group", choices=SEEDS, default="test")
    parser.add_argument("--samples", type=int, default=60)
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [r for s in SETTINGS for r in rows_of(*s, Path(args.networks), args.group, args.samples)]
    save(args.save, rows, seeds=[SEEDS[args.group]])


if __name__ == "__main__":
    main()
