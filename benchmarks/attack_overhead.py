"""What an attack costs beside a loop written by hand, and beside torchattacks, Foolbox, ART and adv_lib.

The same 2-D network, images and steps in one run; ``keep="last"``, as the others do, or ``--keep best``, the default of
evaluations, which scores every iterate and predicts the last one, too. The hand-written loop is the least that the
algorithm needs. Peers that are not installed are left out (``make bench`` installs them); the segmentation
network is attacked by those that take class maps.

    python benchmarks/attack_overhead.py --pairs 20
    python benchmarks/attack_overhead.py --task segmentation
"""

from __future__ import annotations

import argparse

import torch
from measured import Claims, Row, Table, add_save, save
from monai.networks.nets import UNet, resnet18
from peers import EPS, STEP, STEPS, Run, peers
from timing import COLUMNS, add_clock, interleaved_ratio
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


def claims(rows: list[Row]) -> Claims:
    """What a call costs beside the network, and a step of SMIA beside one of BIM."""
    worst = max((row for row in rows if row["beside"] != "our BIM"), key=lambda row: row["ratio"])
    yield (
        f"No attack takes more than {worst['ratio']:.2f} times what it is measured beside "
        f"({worst['attack']}, {worst['beside']}).",
        worst["ratio"] < 1.1,
    )
    for row in rows:
        if row["attack"] == "SMIA":
            low, middle, high = (1 + STEPS * (row[k] - 1) / (STEPS - 1) for k in ("low", "ratio", "high"))
            told = f"One step of SMIA with stabilization costs {middle:.2f} ({low:.2f} to {high:.2f}) steps of BIM."
            yield told, 1.8 < middle < 2.2


TABLES = {"table": Table({"attack": "{attack}", "on": "{on}", "beside": "{beside}", **COLUMNS}, claims=claims)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("classification", "segmentation"), default="classification")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--attacks", nargs="+", default=["FGSM", "BIM", "MIFGSM", "PGD", "SMIA"])
    parser.add_argument("--keep", choices=("last", "best"), default="last")
    parser.add_argument("--skip-peers", action="store_true", help="leave out the other libraries")
    add_clock(parser)
    add_save(parser)
    args = parser.parse_args()

    network, victim, image, label = setting(args.task, args.batch, args.size)
    ours_label = label if label.ndim == 1 else label.unsqueeze(1)
    options = {"eps": EPS, "keep": args.keep, "progress": False}
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
    network_name = "U-Net" if args.task == "segmentation" else "resnet18"
    on = f"{network_name}, {args.batch} x {args.size}"
    rows: list[Row] = []

    def add(attack: str, beside: str, result: dict[str, float]) -> None:
        rows.append({"attack": attack, "on": on, "beside": beside, "pairs": args.pairs, **result})
        print(rows[-1], flush=True)

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
            add(name, other, result)
    if "SMIA" in args.attacks:
        result = interleaved_ratio(
            lambda: ours["SMIA"](victim, image, ours_label),
            lambda: ours["BIM"](victim, image, ours_label),
            args.pairs,
            args.clock,
        )
        add("SMIA", "our BIM", result)
    save(args.save, rows, seeds=[0])


if __name__ == "__main__":
    main()
