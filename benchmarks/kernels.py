"""SMIA's Gaussian kernel: sizes and sigmas, at equal radius, on the classifier of benchmarks/fisher.py.

python benchmarks/kernels.py [--save kernels]

Accuracy under attack, accuracy after the attacked image was smoothed once (sigma 1), variance of eta / eps and Cos.
The row without a kernel is BIM, SMIA without the term. 95 % Wilson intervals.
"""

from __future__ import annotations

import argparse

import torch
from fisher import classifier, pictures  # beside this file
from measured import Claims, Row, Table, add_save, save
from torch import Tensor

from monai_smia.attacks import BIM, SMIA, Attack
from monai_smia.metrics import wilson_interval
from monai_smia.metrics.perturbation import positive_cosine, variance
from monai_smia.victims import ClassificationVictim

EPS, STEPS, COUNT = 0.02, 10, 120


def interval(right: Tensor) -> tuple[float, float, float]:
    """Per cent, with the 95 % interval of a share (Wilson)."""
    low, high = wilson_interval(int(right.sum()), len(right))
    assert low is not None
    assert high is not None
    return 100 * float(right.double().mean()), 100 * low, 100 * high


def claims(rows: list[Row]) -> Claims:
    """What the term does, on this classifier."""
    bim, default = rows[0], next(row for row in rows if (row["size"], row["sigma"]) == (5, 1))
    yield f"{COUNT} pictures, eps {EPS}, {STEPS} steps; clean accuracy {100 * rows[0]['clean']:.0f} %.", True
    yield (
        f"The term produces perturbations of small variance: **reproduced** ({default['variance']:.3f} against "
        f"{bim['variance']:.3f} at the default kernel).",
        default["variance"] < 0.5 * bim["variance"],
    )
    yield (
        f"It makes attacks stronger: **not reproduced**: an accuracy of {default['accuracy']:.0f} % against "
        f"{bim['accuracy']:.0f} %.",
        default["low"] > bim["high"],
    )
    yield (
        f"It makes the steps agree more (Cos): **not reproduced**: {default['cos']:.0f} against {bim['cos']:.0f}.",
        default["cos"] < bim["cos"],
    )
    yield (
        "After smoothing the two are within each other's intervals.",
        default["smoothed_low"] <= bim["smoothed_high"] and bim["smoothed_low"] <= default["smoothed_high"],
    )


SHARE = {"accuracy": "{accuracy:.1f} [{low:.1f}, {high:.1f}]"}
SHARE |= {"after smoothing": "{smoothed:.1f} [{smoothed_low:.1f}, {smoothed_high:.1f}]"}
TABLES = {
    "table": Table(
        {"size": "{size}", "sigma": "{sigma:g}", **SHARE, "Var": "{variance:.3f}", "Cos": "{cos:.1f}"}, claims=claims
    )
}


def main() -> None:
    """One row a kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network, (images, labels) = classifier(), pictures(COUNT, 2)
    victim = ClassificationVictim(network)
    smooth = SMIA(eps=EPS).smooth
    clean = float((network(images).argmax(1) == labels).double().mean())
    attacks: list[tuple[int | None, float | None, Attack]] = [(None, None, BIM(eps=EPS, steps=STEPS, progress=False))]
    for size in (3, 5, 7, 9):
        for sigma in (0.5, 1.0, 2.0, 4.0):
            smia = SMIA(eps=EPS, steps=STEPS, kernel_size=size, sigma=sigma, progress=False)
            attacks.append((size, sigma, smia))
    rows: list[Row] = []
    for size, sigma, attack in attacks:
        result = attack(victim, images, labels)
        right, after = (
            interval(network(x).argmax(1) == labels) for x in (result.adversarial, smooth(result.adversarial))
        )
        spread, cosine = variance(result.perturbation, EPS).mean(), positive_cosine(result.cosine).nanmean()
        row: Row = {"size": size, "sigma": sigma, "clean": clean, "variance": float(spread), "cos": float(cosine)}
        row |= dict(zip(("accuracy", "low", "high"), right, strict=True))
        row |= dict(zip(("smoothed", "smoothed_low", "smoothed_high"), after, strict=True))
        rows.append(row)
        print(row)
    save(args.save, rows, seeds=[0, 2])


if __name__ == "__main__":
    main()
