"""Does STA ever make the direct attack stronger at equal gradients? A search, judged on pictures that it did not see.

    python benchmarks/stabilization.py

The 1,797 digits of scikit-learn, doubled to 16 x 16: 1,097 to train three small CNNs (plain; trained against PGD; the
plain one with its logits times 50, whose softmax saturates and hides the gradient), 200 to search, 500 held out.

DEV is BIM of 19 steps, by the loss and the step size that are best for it on the 200. DEV + STA is SMIA of 10 steps,
which take 19 gradients as well, by the best of `--draws` draws of alpha, kernel, reading, loss, step size and schedule:
throughout, in the first half alone, or in the second. Beside both stands DEV with the loss and step size of the SMIA
that was chosen, so that those are not taken for STA. The radius is that at which DEV leaves nearest to 40 %.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from typing import Any

import torch
from measured import Claims, Row, Table, add_save, save
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from monai_smia.attacks import BIM, PGD, READINGS, SMIA
from monai_smia.victims import ClassificationVictim

STEPS, GRADIENTS = 10, 19
RADII = (0.04, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3)
LOSSES, FACTORS = ("cross_entropy", "margin"), (1.0, 2.5, 5.0)  # of a step: times eps / steps
ALPHAS, KERNELS = (0.03, 0.1, 0.3, 1.0, 3.0), ((3, 0.5), (5, 1.0), (9, 2.0))
SCHEDULES = ("throughout", "first half", "second half")
DEFAULT = {"alpha": 1.0, "kernel": (5, 1.0), "reading": READINGS[0], "loss": "cross_entropy", "factor": 2.5,
           "schedule": "throughout"}  # fmt: skip
Pictures = tuple[Tensor, Tensor]


def digits() -> tuple[Pictures, Pictures, Pictures]:
    """To train, to search, held out: images ``(N, 1, 16, 16)`` in [0, 1] and labels."""
    found = load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
    images = F.interpolate(torch.tensor(found.images / 16, dtype=torch.float32)[order, None], scale_factor=2)
    labels = torch.tensor(found.target, dtype=torch.long)[order]
    parts = [slice(0, 1097), slice(1097, 1297), slice(1297, None)]
    first, second, third = ((images[part], labels[part]) for part in parts)
    return first, second, third


def trained(images: Tensor, labels: Tensor, *, eps: float, epochs: int) -> nn.Module:
    """A small CNN; with a radius against PGD."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
              nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))  # fmt: skip
    network = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            shown = images[batch]
            if eps:
                victim = ClassificationVictim(network)
                shown = PGD(eps=eps, steps=5, progress=False)(victim, shown, labels[batch]).adversarial
            network.train()
            optimizer.zero_grad()
            F.cross_entropy(network(shown), labels[batch]).backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


class Sharpened(nn.Module):
    """A network with its logits times 50: the same decisions, and a gradient that vanishes where it is sure."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = 50 * self.network(image)
        return logits


def wrong(victim: ClassificationVictim, pictures: Pictures, attack: Callable[..., Tensor]) -> Tensor:
    """Which pictures are decided wrongly after an attack ``(N,)``."""
    image, label = pictures
    return victim.damage(victim.infer(attack(victim, image, label)), label).bool()


def dev(eps: float, loss: str, factor: float) -> Callable[..., Tensor]:
    """BIM of as many gradients as SMIA takes."""
    attack = BIM(eps=eps, steps=GRADIENTS, step_size=factor * eps / GRADIENTS, loss=loss, progress=False)
    return lambda victim, image, label: attack(victim, image, label).adversarial


def dev_sta(eps: float, chosen: dict[str, Any]) -> Callable[..., Tensor]:
    """SMIA as it was drawn; in a half alone, BIM takes the other, from or to where SMIA is."""
    (size, sigma), half = chosen["kernel"], chosen["schedule"] != "throughout"
    shared: dict[str, Any] = {"eps": eps, "loss": chosen["loss"], "progress": False}
    steps = STEPS // 2 if half else STEPS
    options = {"alpha": chosen["alpha"], "kernel_size": size, "sigma": sigma, **chosen["reading"].arguments}
    smia = SMIA(steps=steps, step_size=chosen["factor"] * eps / STEPS, **options, **shared)
    rest = GRADIENTS - (2 * steps - 1)
    bim = BIM(steps=rest, step_size=chosen["factor"] * eps / GRADIENTS, **shared)
    order = {"throughout": (smia,), "first half": (smia, bim), "second half": (bim, smia)}[chosen["schedule"]]

    def attack(victim: ClassificationVictim, image: Tensor, label: Tensor) -> Tensor:
        start = None
        for part in order:
            start = part(victim, image, label, start=start).perturbation
        assert start is not None
        return image + start

    return attack


def share(which: Tensor) -> float:
    """Of the pictures."""
    return float(which.double().mean())


def difference(first: Tensor, second: Tensor, draws: int = 2000) -> tuple[float, float, float]:
    """Mean of a paired difference in per cent, with the 95 % bootstrap interval over pictures."""
    values = 100 * (first.double() - second.double())
    drawn = torch.randint(len(values), (draws, len(values)), generator=torch.Generator().manual_seed(0))
    low, high = values[drawn].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    return float(values.mean()), low, high


def searched(name: str, network: nn.Module, search: Pictures, held_out: Pictures, draws: int) -> Row:
    """The best of both on the pictures of the search, compared on the others."""
    victim = ClassificationVictim(network)
    eps = min(
        RADII, key=lambda radius: abs(0.6 - float(wrong(victim, search, dev(radius, LOSSES[0], 2.5)).double().mean()))
    )
    plain = {
        (loss, factor): share(wrong(victim, search, dev(eps, loss, factor))) for loss in LOSSES for factor in FACTORS
    }
    base = max(plain, key=lambda key: plain[key])
    generator, tried = random.Random(0), []
    pools = {"alpha": ALPHAS, "kernel": KERNELS, "reading": READINGS, "loss": LOSSES, "factor": FACTORS,
             "schedule": SCHEDULES}  # fmt: skip
    for _ in range(draws):
        chosen = {key: generator.choice(pool) for key, pool in pools.items()}
        tried.append((share(wrong(victim, search, dev_sta(eps, chosen))), chosen))
    best = max(tried, key=lambda each: each[0])[1]
    baseline = wrong(victim, held_out, dev(eps, *base))
    found, usual = (wrong(victim, held_out, dev_sta(eps, each)) for each in (best, DEFAULT))
    control = wrong(victim, held_out, dev(eps, best["loss"], best["factor"]))  # the same without STA
    gain, low, high = difference(found, baseline)
    own_gain, own_low, own_high = difference(found, control)
    usual_gain, usual_low, usual_high = difference(usual, baseline)
    clean = wrong(victim, held_out, lambda victim, image, label: image)
    return {
        "control": 100 * share(~control),
        "own_gain": own_gain,
        "own_low": own_low,
        "own_high": own_high,
        "victim": name, "eps": eps, "clean": 100 * share(~clean),
        "dev": 100 * share(~baseline), "sta": 100 * share(~found),
        "gain": gain, "low": low, "high": high, "usual": 100 * share(~usual),
        "usual_gain": usual_gain, "usual_low": usual_low, "usual_high": usual_high,
        "tried": draws, "stronger": sum(value > plain[base] for value, _ in tried), "dev_chosen": list(base),
        "reading": best["reading"].name, "alpha": best["alpha"], "kernel": list(best["kernel"]), "loss": best["loss"],
        "factor": best["factor"], "schedule": best["schedule"], "held_out": len(baseline),
    }  # fmt: skip


def claims(rows: list[Row]) -> Claims:
    """The answer, victim by victim."""
    yield (
        f"{rows[0]['held_out']} pictures held out; the search took {rows[0]['tried']} draws a victim on 200 "
        "others. The gain is of pictures that are decided wrongly, DEV + STA less DEV, paired, with its 95 % interval.",
        True,
    )
    for row in rows:
        low, high = min(row["low"], row["own_low"]), max(row["high"], row["own_high"])
        answer = "stronger than both" if low > 0 else "weaker than both" if high < 0 else "not stronger than both"
        default = "{usual_gain:+.1f} [{usual_low:.1f}, {usual_high:.1f}]".format(**row)
        yield (
            f"{row['victim']}: {row['stronger']} of {row['tried']} draws were stronger than DEV in the search. Held "
            f"out, the best of them is {answer}, DEV as it was chosen and DEV with the same loss and steps as this one "
            f"({row['gain']:+.1f} [{row['low']:.1f}, {row['high']:.1f}] and {row['own_gain']:+.1f} "
            f"[{row['own_low']:.1f}, {row['own_high']:.1f}]); the default, with the paper's alpha, is {default}.",
            True,
        )


TABLES = {
    "table": Table(
        {
            "victim": "{victim}",
            "eps": "{eps:g}",
            "clean accuracy": "{clean:.1f}",
            "DEV": "{dev:.1f}",
            "DEV, as STA's": "{control:.1f}",
            "DEV + STA, best": "{sta:.1f}",
            "gain over DEV": "{gain:+.1f} [{low:.1f}, {high:.1f}]",
            "over DEV as STA's": "{own_gain:+.1f} [{own_low:.1f}, {own_high:.1f}]",
            "reading": "{reading}",
            "alpha": "{alpha:g}",
            "kernel": "{kernel}",
            "loss": "{loss}",
            "schedule": "{schedule}",
            "as in the paper": "{usual:.1f}",
        },
        claims=claims,
    )
}


def main() -> None:
    """Train, search, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40, help="of the search, a victim")
    parser.add_argument("--epochs", type=int, default=15, help="of the trainings")
    add_save(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    train, search, held_out = digits()
    standard = trained(*train, eps=0.0, epochs=options.epochs)
    victims = {
        "plain": standard,
        "trained against PGD": trained(*train, eps=0.15, epochs=options.epochs),
        "masked (logits times 50)": Sharpened(standard),
    }
    rows = []
    for name, network in victims.items():
        rows.append(searched(name, network, search, held_out, options.draws))
        print(rows[-1], flush=True)
    save(options.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
