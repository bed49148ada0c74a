"""DeepFool beside Foolbox's L2DeepFoolAttack: norm of what is found, and time.

The CNN and the test digits of ``mnist.py``, the same steps, overshoot and candidate classes. Norms are compared sample
by sample where both succeed; times are interleaved pairs on one thread.

    python benchmarks/deepfool.py --samples 200 --pairs 10
"""

from __future__ import annotations

import argparse

import foolbox
import torch
from mnist import digits, trained_cnn
from timing import interleaved_ratio

from monai_smia.attacks import DeepFool
from monai_smia.victims import ClassificationVictim


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, labels, test, truth = digits()
    network = trained_cnn(images, labels)
    victim = ClassificationVictim(network)
    with torch.no_grad():
        right = network(test).argmax(1) == truth
    test, truth = test[right][: arguments.samples], truth[right][: arguments.samples]

    settings = {"steps": 50, "overshoot": 0.02, "candidates": 10}
    ours = DeepFool(**settings, progress=False)
    peer, model = foolbox.attacks.L2DeepFoolAttack(**settings), foolbox.PyTorchModel(network, (0, 1), device="cpu")
    mine = ours(victim, test, truth)
    _, theirs, success = peer(model, test, truth, epsilons=None)
    both = success & (mine.damage == 1)
    norms = [(a - test).flatten(1).norm(dim=1)[both] for a in (mine.adversarial, theirs)]
    ratio = norms[0] / norms[1]
    found = f"ours {int(mine.damage.sum())}, Foolbox {int(success.sum())}, both {len(ratio)}"
    print(f"{len(test)} digits; successes: {found}")
    print(f"mean L2 norm: ours {norms[0].mean():.4f}, Foolbox {norms[1].mean():.4f}")
    print(f"ratio sample by sample: mean {ratio.mean():.4f}, median {ratio.median():.4f}, largest {ratio.max():.4f}")
    time = interleaved_ratio(
        lambda: ours(victim, test, truth), lambda: peer(model, test, truth, epsilons=None), arguments.pairs
    )
    print(
        f"time: {time['ours_s']:.2f} s, Foolbox {time['theirs_s']:.2f} s, ratio {time['ratio']:.2f} "
        f"[{time['low']:.2f}, {time['high']:.2f}]"
    )


if __name__ == "__main__":
    main()
