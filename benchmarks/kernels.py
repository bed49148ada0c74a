"""SMIA's Gaussian kernel: sizes and sigmas, at equal radius, on the classifier of benchmarks/fisher.py.

python benchmarks/kernels.py

Accuracy under attack, accuracy after the attacked image was smoothed once (sigma 1), variance of eta / eps and Cos.
BIM is SMIA without the term. 95 % bootstrap intervals over images.
"""

from __future__ import annotations

import torch
from fisher import classifier, pictures  # beside this file
from torch import Tensor

from monai_smia.analysis.statistics import Sample, mean_intervals
from monai_smia.attacks import BIM, SMIA
from monai_smia.metrics.perturbation import positive_cosine, variance
from monai_smia.victims import ClassificationVictim

EPS, STEPS, COUNT = 0.02, 10, 120


def interval(values: Tensor) -> str:
    """Mean in percent with its interval."""
    samples = [Sample(str(i), str(i), {"value": float(v)}) for i, v in enumerate(values)]
    low, high = mean_intervals(samples, ["value"])["value"] or (float("nan"),) * 2
    return f"{100 * values.mean():5.1f} [{100 * low:5.1f}, {100 * high:5.1f}]"


def main() -> None:
    """Print one line per kernel."""
    torch.set_num_threads(1)
    network, (images, labels) = classifier(), pictures(COUNT, 2)
    victim = ClassificationVictim(network)
    smooth = SMIA(eps=EPS).smooth
    print(f"{COUNT} images, eps {EPS}, {STEPS} steps; clean {interval((network(images).argmax(1) == labels).double())}")
    print("size  sigma   accuracy              after smoothing       variance  Cos")
    attacks = [("-     -  ", BIM(eps=EPS, steps=STEPS))]
    for size in (3, 5, 7, 9):
        for sigma in (0.5, 1.0, 2.0, 4.0):
            attacks.append((f"{size}     {sigma:3g}", SMIA(eps=EPS, steps=STEPS, kernel_size=size, sigma=sigma)))
    for name, attack in attacks:
        result = attack(victim, images, labels)
        right, after = (
            (network(x).argmax(1) == labels).double() for x in (result.adversarial, smooth(result.adversarial))
        )
        spread, cosine = variance(result.perturbation, EPS).mean(), positive_cosine(result.cosine).nanmean()
        print(f"{name}   {interval(right)}   {interval(after)}   {spread:.3f}     {cosine:5.1f}")


if __name__ == "__main__":
    main()
