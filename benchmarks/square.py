"""Our Square beside torchattacks': processor time of a query, and what is broken by equal queries.

The digits and the trained CNN of `mnist.py`, those that it has right. A query is one image shown to the network, which
a hook counts: both leave out what they have broken. Interleaved pairs, processor time of one thread.

    python benchmarks/square.py --queries 500 --pairs 10
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torchattacks
from measured import Row, Table, add_save, save
from mnist import digits, trained_cnn
from timing import ratio_of
from torch import Tensor

from monai_smia.attacks import Square
from monai_smia.victims import ClassificationVictim


def measure(args: argparse.Namespace) -> list[Row]:
    """A row of every radius."""
    images, labels, test, truth = digits()
    network = trained_cnn(images, labels, epochs=args.epochs)
    victim = ClassificationVictim(network)
    right = (victim.decide(victim.infer(test)) == truth).nonzero().flatten()[: args.batch]
    image, label = test[right], truth[right]
    shown: list[int] = []
    network.register_forward_hook(lambda module, given, prediction: shown.append(len(prediction)))

    def timed(attack: Callable[[], Tensor]) -> tuple[float, int, float]:
        """Seconds a query, the queries, and the share that is broken."""
        shown.clear()
        start = time.process_time()
        adversarial = attack()
        seconds, queries = time.process_time() - start, sum(shown)
        broken = float((victim.decide(victim.infer(adversarial)) != label).float().mean())
        return seconds / queries, queries, broken

    rows: list[Row] = []
    for eps in args.eps:
        square = Square(eps=eps, queries=args.queries, loss="margin", stop_at=1.0, progress=False)
        peer = torchattacks.Square(network, norm="Linf", eps=eps, n_queries=args.queries, n_restarts=1, seed=0)
        ways: tuple[Callable[[], Tensor], ...] = (
            lambda square=square: square(victim, image, label).adversarial,
            lambda peer=peer: peer(image, label),
        )
        found = []
        for pair in range(args.pairs + 1):  # the first warms up
            one, two = (0, 1) if pair % 2 == 0 else (1, 0)
            results = {way: timed(ways[way]) for way in (one, two)}
            found.append((results[0], results[1]))
        ratio = ratio_of([(ours[0], theirs[0]) for ours, theirs in found[1:]])
        (_, ours_queries, ours), (_, theirs_queries, theirs) = found[-1]
        row = {"eps": eps, "images": len(image), "limit": args.queries, "pairs": args.pairs, "ours": ours}
        row |= {"theirs": theirs, "ours_queries": ours_queries, "theirs_queries": theirs_queries, **ratio}
        rows.append(row)
        print(row, flush=True)
    return rows


TABLES = {
    "table": Table(
        {
            "eps": "{eps}",
            "queries at most": "{limit}",
            "time of a query, ours / theirs (95 % interval)": "{ratio:.2f} ({low:.2f} to {high:.2f})",
            "broken": "{ours:.3f}",
            "theirs": "{theirs:.3f}",
            "queries": "{ours_queries}",
            "queries of theirs": "{theirs_queries}",
        }
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eps", type=float, nargs="+", default=[0.1, 0.2])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=5)
    add_save(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(args)
    print(TABLES["table"].markdown(rows))
    save(args.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
