"""What an attack costs beside a loop written by hand, and beside torchattacks, Foolbox, ART and adv_lib.

The same 2-D network, images and steps in one run; ``keep="last"``, as the others do. The hand-written loop is the least
that the algorithm needs. Peers that are not installed are left out (``make bench`` installs them); the segmentation
network is attacked by those that take class maps.

    python benchmarks/attack_overhead.py --pairs 20
    python benchmarks/attack_overhead.py --task segmentation
"""

from __future__ import annotations

import argparse

import torch
from monai.networks.nets import UNet, resnet18
from peers import EPS, STEP, STEPS, Run, peers
from timing import add_clock, interleaved_ratio, one_line
from torch.nn import functional as F

from monai_smia.attacks import BIM, FGSM, MIFGSM, PGD, SMIA
from monai_smia.victims import ClassificationVictim, SegmentationVictim, Victim

CLASSES = 5


def by_hand(network: torch.nn.Module, *, start: bool = False, steps: int = STEPS, step: float = STEP) -> Run:
    """Projected signed ascent, nothing else."""

    def attack(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        adversarial = image + torch.empty_like(image).uniform_(-EPS, EPS) if start else image.clone()
        adversarial = adversarial.clamp(0, 1)
        for _ in range(steps):
            adversarial.requires_grad_(True)
            loss = F.cross_entropy(network(adversarial), label, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, adversarial)
            moved = adversarial.detach() + step * gradient.sign()
            adversarial = (image + (moved - image).clamp(-EPS, EPS)).clamp(0, 1)
        return adversarial

    return attack


def gradient(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    """One gradient, as SMIA takes two a step."""
    image = image.clone().requires_grad_(True)
    return torch.autograd.grad(network(image).logsumexp(1).sum(), image)[0]


def setting(task: str, batch: int, size: int) -> tuple[torch.nn.Module, Victim, torch.Tensor, torch.Tensor]:
    """Network, victim, images of 8 bits and the network's own decisions as labels."""
    torch.manual_seed(0)
    image = torch.randint(0, 256, (batch, 3, size, size)) / 255
    if task == "classification":
        network = resnet18(spatial_dims=2, n_input_channels=3, num_classes=CLASSES).eval()
        victim: Victim = ClassificationVictim(network)
    else:
        network = UNet(2, 3, CLASSES, (16, 32, 64, 128), (2, 2, 2), num_res_units=2, norm="batch").eval()
        victim = SegmentationVictim(network, allow_empty=True)
    with torch.no_grad():
        return network, victim, image, network(image).argmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("classification", "segmentation"), default="classification")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--attacks", nargs="+", default=["FGSM", "BIM", "MIFGSM", "PGD", "SMIA"])
    parser.add_argument("--skip-peers", action="store_true", help="leave out the other libraries")
    add_clock(parser)
    args = parser.parse_args()

    network, victim, image, label = setting(args.task, args.batch, args.size)
    ours_label = label if label.ndim == 1 else label.unsqueeze(1)
    options = {"eps": EPS, "keep": "last", "progress": False}
    iterated = {**options, "steps": STEPS, "step_size": STEP}
    ours = {
        "FGSM": FGSM(**options),
        "BIM": BIM(**iterated),
        "MIFGSM": MIFGSM(**iterated),
        "PGD": PGD(**iterated),
        "SMIA": SMIA(**iterated),
    }
    hand = {
        "FGSM": by_hand(network, steps=1, step=EPS),
        "BIM": by_hand(network),
        "PGD": by_hand(network, start=True),
    }
    others = {} if args.skip_peers else peers(network, 3, args.size, classes=CLASSES)
    if args.task == "segmentation":
        others = {name: attacks for name, attacks in others.items() if name == "torchattacks"}
    print(f"{args.task}, {args.batch} x 3 x {args.size} x {args.size}, {STEPS} steps, {args.pairs} interleaved pairs\n")
    print("| attack | beside | ours / theirs | 95 % interval | ours (s) | theirs (s) |\n|---|---|---|---|---|---|")
    for other, attacks in {"by hand": hand, **others}.items():
        for name, theirs in attacks.items():
            if name not in args.attacks:
                continue
            result = interleaved_ratio(
                lambda name=name: ours[name](victim, image, ours_label),
                lambda theirs=theirs: theirs(image, label),
                args.pairs,
                args.clock,
            )
            print(f"| {name} | {other} | {one_line(result)} |", flush=True)
    if "SMIA" not in args.attacks:
        return
    both = torch.cat([image, image])
    result = interleaved_ratio(
        lambda: gradient(network, both), lambda: [gradient(network, image) for _ in range(2)], args.pairs, args.clock
    )
    print(f"| two gradients in one batch | one by one | {one_line(result)} |")
    result = interleaved_ratio(
        lambda: ours["SMIA"](victim, image, ours_label),
        lambda: ours["BIM"](victim, image, ours_label),
        args.pairs,
        args.clock,
    )
    print(f"| SMIA | our BIM | {one_line(result)} |\n")
    low, middle, high = (1 + STEPS * (result[k] - 1) / (STEPS - 1) for k in ("low", "ratio", "high"))
    print(
        f"One SMIA step with stabilization (all but the first) costs {middle:.3f} ({low:.3f} to {high:.3f}) BIM steps."
    )


if __name__ == "__main__":
    main()
