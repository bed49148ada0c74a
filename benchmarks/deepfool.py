"""DeepFool beside Foolbox's L2DeepFoolAttack: norm of what is found, and time.

The CNN and the test digits of ``mnist.py``, the same steps, overshoot and candidate classes. Norms are compared sample
by sample where both succeed; times are interleaved pairs on one thread.

    python benchmarks/deepfool.py --samples 200 --pairs 10
"""

from __future__ import annotations

import argparse

import torch
from measured import Claims, Row, Table, add_save, save
from mnist import digits, trained_cnn
from timing import interleaved_ratio

from monai_smia.attacks import DeepFool
from monai_smia.victims import ClassificationVictim


def claims(rows: list[Row]) -> Claims:
    """As small, and faster."""
    ours = rows[0]
    yield (
        f"Digit by digit our norm is {ours['mean']:.4f} of Foolbox's on average and {ours['largest']:.4f} at most.",
        ours["largest"] < 1.05 and ours["over"] >= rows[1]["over"],
    )
    yield f"It takes {ours['ratio']:.2f} ({ours['low']:.2f} to {ours['high']:.2f}) of the time.", ours["high"] < 1


COLUMNS = {
    "": "{library}",
    "brought over": "{over} of {digits}",
    "mean L2 norm": "{l2:.4f}",
    "seconds": "{seconds:.2f}",
}
TABLES = {"table": Table(COLUMNS, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=10)
    add_save(parser)
    arguments = parser.parse_args()
    import foolbox  # only `make bench` installs it

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
    time = interleaved_ratio(
        lambda: ours(victim, test, truth), lambda: peer(model, test, truth, epsilons=None), arguments.pairs
    )
    counts = (int(mine.damage.sum()), int(success.sum()))
    rows: list[Row] = [
        {"library": name, "digits": len(test), "over": over, "l2": float(norm.mean()), "seconds": time[seconds]}
        for name, over, norm, seconds in zip(("ours", "Foolbox"), counts, norms, ("ours_s", "theirs_s"), strict=True)
    ]
    rows[0] |= {"largest": float(ratio.max()), "mean": float(ratio.mean()), **time}
    print(*rows, sep="\n")
    save(arguments.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
