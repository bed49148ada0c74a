"""VAFA beside its authors' published code at equal settings, as damage on one network and as transfer to another.

Their code (github.com/asif-hanif/vafa) is not part of this project: give the folder of a checkout in the environment
variable MONAI_SMIA_VAFA, and install what it imports, torch-dct and pytorch-msssim. Cubes of CT around the lungs on the
grid of the network, values in [0, 1]; the paper's table of at most 20 gray levels, SSIM term, 20 steps, and for all of
them the same loss, 1 - soft Jaccard. Beside it PGD with as many gradients at radii of 4 and 8 gray levels, as the
authors have it. Every image goes to the network that it was made on, and to the other weights of the bundle.

    MONAI_SMIA_VAFA=<checkout> python benchmarks/vafa.py --dataset_dir CT --crop 96
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measured import Claims, Row, Table, add_save, save
from survival_study import BUNDLES, NAMES, Case, victim_and_cases
from torch import Tensor

from monai_smia.attacks import PGD, VAFA, Noise

CHECKOUT = "MONAI_SMIA_VAFA"
MODELS = ("model.pt", "model_robust.pt")
GRAY = 1 / 255
Q_MIN, Q_MAX = 5, 20  # gray levels
AUTHORS, LAST, WORST = "VAFA, the authors' code", "VAFA, last step", "VAFA, worst step"
Made = Callable[[Any, Tensor, Tensor], Tensor]


class Seen(torch.nn.Module):
    """The network as the victim asks it, with its windows, so that theirs and ours attack the same function."""

    def __init__(self, victim: Any) -> None:
        super().__init__()
        self.network, self.victim = victim.network, victim

    def forward(self, image: Tensor) -> Any:
        """Its prediction."""
        return self.victim.predict(image)


def authors(steps: int) -> Made:
    """Their attack.

    Raises:
        SystemExit: if there is no checkout, or it lacks a package.
    """
    folder = os.environ.get(CHECKOUT, "")
    if not (Path(folder) / "attacks" / "vafa" / "vafa.py").is_file():
        raise SystemExit(f"{CHECKOUT} must be the folder of a checkout of the authors' code, got {folder!r}.")
    sys.path.insert(0, folder)
    try:
        theirs: Any = importlib.import_module("attacks.vafa").VAFA  # type: ignore[attr-defined]
    except ImportError as error:
        raise SystemExit(f"the authors' code needs a package that is not installed: {error}") from None
    if not torch.cuda.is_available():  # it asks for a device in one place, whatever there is
        torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign,assignment]

    def made(victim: Any, image: Tensor, label: Tensor) -> Tensor:
        def loss(prediction: Tensor, target: Tensor) -> Tensor:
            return victim.loss(prediction, target).mean() / target[0].numel()

        sides = dict(zip(("height", "width", "depth"), image.shape[2:], strict=True))
        table = {"q_min": Q_MIN, "q_max": Q_MAX, "steps": steps, "use_ssim_loss": True, "verbose": False}
        attack = theirs(Seen(victim), loss, batch_size=1, channels=1, **sides, **table)
        result: Tensor = attack.forward(image, label)[0].detach()
        return result

    return made


def attacks(steps: int) -> dict[str, Made]:
    """All of them, by name."""

    def ours(attack: Any) -> Made:
        return lambda victim, image, label: attack(victim, image, label).adversarial

    shared: dict[str, Any] = {"clip": (0.0, 1.0), "seed": 0, "progress": False}
    table = {"q_min": Q_MIN * GRAY, "q_max": Q_MAX * GRAY, "step_size": GRAY, "stretch": True, "steps": steps}
    found = {"Clean": lambda victim, image, label: image, AUTHORS: authors(steps)}
    for name, keep in ((LAST, "last"), (WORST, "best")):
        found[name] = ours(VAFA(eps=1.0, keep=keep, **table, **shared))
    for radius in (4, 8):
        found[f"PGD, {radius} gray levels"] = ours(PGD(eps=radius * GRAY, steps=steps, **shared))
    return {**found, "Noise, 8 gray levels": ours(Noise(eps=8 * GRAY, **shared))}


def claims(rows: list[Row]) -> Claims:
    """Damage beside the authors' code, and transfer beside PGD."""
    by = {(row["made on"], row["attack"]): row for row in rows}
    for model in dict.fromkeys(row["made on"] for row in rows):
        theirs, ours, last = by[model, AUTHORS], by[model, WORST], by[model, LAST]
        enough = mean(ours["jaccard"]) <= mean(theirs["jaccard"]) + 0.01
        yield (
            f"On {model} the authors' code leaves {mean(theirs['jaccard']):.3f}, the worst step of ours "
            f"{mean(ours['jaccard']):.3f}, {'their level or more damage' if enough else 'less damage'}; the last step, "
            f"which is one update of the table further than theirs, {mean(last['jaccard']):.3f}.",
            True,
        )
        pgd = by[model, "PGD, 8 gray levels"]
        better = mean(ours["transfer"]) < mean(pgd["transfer"])
        yield (
            f"Carried over from {model} to {ours['to']} it leaves {mean(ours['transfer']):.3f}, "
            f"{'less' if better else 'not less'} than PGD of 8 gray levels, {mean(pgd['transfer']):.3f}.",
            True,
        )


def mean(values: list[float]) -> float:
    """Of some numbers."""
    return sum(values) / len(values)


def lines(rows: list[Row]) -> list[dict[str, str]]:
    """The table: means over cases."""
    return [
        {
            "made on": row["made on"],
            "attack": row["attack"],
            "Jaccard": f"{mean(row['jaccard']):.3f}",
            "Jaccard on the other weights": f"{mean(row['transfer']):.3f}",
            "largest change, gray levels": f"{mean(row['largest']):.1f}",
            "root mean square, gray levels": f"{mean(row['rms']):.2f}",
            "cases": str(len(row["jaccard"])),
        }
        for row in rows
    ]


TABLES = {"table": Table(lines, claims=claims)}


def jaccard(victim: Any, image: Tensor, label: Tensor) -> float:
    """What a network leaves of a case."""
    return 1 - float(victim.damage(victim.predict(image), label))


def measured(args: argparse.Namespace, models: list[Path]) -> list[Row]:
    """A row for every network and attack."""
    found: dict[tuple[str, str], Row] = {}
    victims, cases = [], list[Case]()
    for model in models:
        args.model = model
        victim, own = victim_and_cases(args)
        victims.append(victim.with_loss("soft_jaccard"))
        cases = cases or list(own)
    chosen = attacks(args.steps)
    for case in cases:
        for place, model in enumerate(models):
            victim, other = victims[place].bind(case.image, case.label)[0], victims[1 - place]
            for name, make in chosen.items():
                image = make(victim, case.image, case.label)
                key = {"made on": model.name, "attack": name, "to": models[1 - place].name}
                row = found.setdefault((model.name, name), {**key, "jaccard": [], "transfer": [], "largest": []})
                row["jaccard"].append(jaccard(victim, image, case.label))
                row["transfer"].append(jaccard(other.bind(case.image, case.label)[0], image, case.label))
                change = (image - case.image) / GRAY
                row["largest"].append(float(change.abs().max()))
                row.setdefault("rms", []).append(float(change.square().mean().sqrt()))
                print(case.name, model.name, name, round(row["jaccard"][-1], 3), flush=True)
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, help="CT; or give --phantoms")
    parser.add_argument("--phantoms", type=int, default=0, help="that many synthetic thoraxes instead")
    parser.add_argument("--split", nargs="+", default=["test"], help="of the CT")
    parser.add_argument("--cases", type=int, default=None)
    parser.add_argument("--crop", type=int, default=96, help="a multiple of 16")
    parser.add_argument("--steps", type=int, default=20)
    add_save(parser)
    args = parser.parse_args(namespace=argparse.Namespace(bundle="ct", weights=[], model=None))
    torch.set_num_threads(1)
    models = [BUNDLES / NAMES["ct"] / "models" / name for name in MODELS]
    with tempfile.TemporaryDirectory() as folder:
        args.output = Path(folder)
        rows = measured(args, models)
    print(TABLES["table"].markdown(rows))
    files = [str(model.relative_to(BUNDLES.parent)) for model in models]
    save(args.save, rows, seeds=[0], weights=files, data=[args.dataset_dir] if args.dataset_dir else [])


if __name__ == "__main__":
    main()
