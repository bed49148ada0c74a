"""PGD that lets go of the samples it has solved, beside torchattacks, Foolbox and ART, which take every step.

How much it saves depends on how soon samples fall: the share of gradients taken is printed with the times. Peers that
are not installed are left out (``make bench`` installs them).

    python benchmarks/early_stop.py --pairs 10
"""

from __future__ import annotations

import argparse

import torch
from attack_overhead import EPS, STEP, STEPS, peers
from monai.networks.nets import resnet18
from timing import interleaved_ratio

from monai_smia.attacks import PGD
from monai_smia.victims import ClassificationVictim


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    torch.manual_seed(0)
    network = resnet18(spatial_dims=2, n_input_channels=3, num_classes=5).eval()
    image = torch.rand(args.batch, 3, args.size, args.size)
    with torch.no_grad():
        label = network(image).argmax(1)
    victim = ClassificationVictim(network)
    ours = PGD(eps=EPS, steps=STEPS, step_size=STEP, stop_at=1.0, keep="last", progress=False)

    def success(adversarial: torch.Tensor) -> float:
        with torch.no_grad():
            return float((network(torch.as_tensor(adversarial)).argmax(1) != label).float().mean())

    result = ours(victim, image, label)
    share = float(result.gradients.double().mean()) / STEPS
    print(f"resnet18, {args.batch} x 3 x {args.size} x {args.size}, {STEPS} steps, {args.pairs} interleaved pairs")
    print(f"ours: success {success(result.adversarial):.3f}, {share:.2f} of the gradients taken\n")
    print("| peer | time ours / theirs (95 % interval) | their success |")
    print("|---|---|---|")
    for other, attacks in peers(network, 3, args.size).items():
        theirs = attacks["PGD"]
        found = theirs(image, label)
        found = found[1] if isinstance(found, (tuple, list)) else found  # Foolbox: raw, clipped, success
        ratio = interleaved_ratio(
            lambda: ours(victim, image, label), lambda theirs=theirs: theirs(image, label), args.pairs
        )
        print(
            f"| {other} | {ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}) | {success(found):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
