"""PGD that lets go of the samples it has solved, beside torchattacks, Foolbox, ART and adv_lib, which take every step.

The digits and the trained CNN of `mnist.py`. How much it saves depends on how soon samples fall: the share of gradients
taken is printed with the times. Peers that are not installed are left out (``make bench`` installs them).

    python benchmarks/early_stop.py --eps 0.1 --pairs 20
"""

from __future__ import annotations

import argparse

import torch
from measured import Claims, Row, Table, add_save, save
from mnist import digits, trained_cnn
from peers import STEPS, peers
from timing import COLUMNS, add_clock, interleaved_ratio

from monai_smia.attacks import PGD
from monai_smia.victims import ClassificationVictim


def claims(rows: list[Row]) -> Claims:
    """Faster at the same success."""
    slowest, most = (max(row[name] for row in rows) for name in ("ratio", "gradients"))
    yield (
        f"Of {rows[0]['digits']} digits ours reaches as many as every peer, in at most {slowest:.2f} of the time: "
        f"it takes {most:.2f} of the gradients.",
        slowest < 1 and all(row["ours"] >= row["theirs"] - 0.01 for row in rows),
    )


COUNTS = {"success": "{ours:.3f}", "theirs": "{theirs:.3f}", "share of gradients": "{gradients:.2f}"}
TABLES = {"table": Table({"eps": "{eps:g}", "peer": "{peer}", **COLUMNS, **COUNTS}, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eps", type=float, nargs="+", default=[0.1, 0.2, 0.3])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=20)
    add_clock(parser)
    add_save(parser)
    args = parser.parse_args()
    images, labels, test, truth = digits()
    network = trained_cnn(images, labels, epochs=args.epochs)
    victim = ClassificationVictim(network)
    right = (victim.decide(victim.infer(test)) == truth).nonzero().flatten()[: args.batch]
    image, label = test[right], truth[right]

    def success(found: object) -> float:
        adversarial = found[1] if isinstance(found, (tuple, list)) else found  # Foolbox: raw, clipped, success
        return float((victim.decide(victim.infer(torch.as_tensor(adversarial))) != label).float().mean())

    rows: list[Row] = []
    for eps in args.eps:
        ours = PGD(eps=eps, steps=STEPS, step_size=eps / 4, stop_at=1.0, keep="last", progress=False)
        result = ours(victim, image, label)
        share = float(result.gradients.double().mean()) / STEPS
        for other, attacks in peers(network, 1, 28, eps=eps, step=eps / 4, classes=10).items():
            theirs = attacks["PGD"]
            found = success(theirs(image, label))
            ratio = interleaved_ratio(
                lambda ours=ours: ours(victim, image, label),
                lambda theirs=theirs: theirs(image, label),
                args.pairs,
                args.clock,
            )
            success_of = {"ours": success(result.adversarial), "theirs": found}
            rows.append({"eps": eps, "peer": other, "digits": len(image), "gradients": share, **success_of, **ratio})
            print(rows[-1], flush=True)
    save(args.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
