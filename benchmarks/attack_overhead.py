"""What an attack costs beside a loop written by hand, and beside torchattacks, Foolbox and ART.

The same 2-D network, images and steps in one run; ``keep="last"``, as the others do. The hand-written loop is the least
that the algorithm needs. Peers that are not installed are left out (``make bench`` installs them).

    python benchmarks/attack_overhead.py --pairs 20
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable

import torch
from monai.networks.nets import resnet18
from timing import interleaved_ratio
from torch.nn import functional as F

from monai_smia.attacks import BIM, FGSM, MIFGSM, PGD, SMIA
from monai_smia.victims import ClassificationVictim

EPS, STEPS, STEP = 8 / 255, 10, 2 / 255
Attack = Callable[[torch.Tensor, torch.Tensor], object]


def by_hand(network: torch.nn.Module, *, start: bool = False, steps: int = STEPS, step: float = STEP) -> Attack:
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


def peers(network: torch.nn.Module, channels: int, size: int) -> dict[str, dict[str, Attack]]:
    """BIM, PGD and FGSM of the libraries that are installed."""
    found: dict[str, dict[str, Attack]] = {}
    if importlib.util.find_spec("torchattacks"):
        import torchattacks

        found["torchattacks"] = {
            "FGSM": torchattacks.FGSM(network, eps=EPS),
            "BIM": torchattacks.BIM(network, eps=EPS, alpha=STEP, steps=STEPS),
            "MIFGSM": torchattacks.MIFGSM(network, eps=EPS, alpha=STEP, steps=STEPS),
            "PGD": torchattacks.PGD(network, eps=EPS, alpha=STEP, steps=STEPS),
        }
    if importlib.util.find_spec("foolbox"):
        import foolbox

        model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")

        def with_foolbox(attack: foolbox.Attack) -> Attack:
            return lambda image, label: attack.run(model, image, label, epsilon=EPS)

        options = {"abs_stepsize": STEP, "steps": STEPS}
        found["foolbox"] = {
            "FGSM": with_foolbox(foolbox.attacks.FGSM()),
            "BIM": with_foolbox(foolbox.attacks.LinfBasicIterativeAttack(**options)),
            "PGD": with_foolbox(foolbox.attacks.LinfPGD(**options)),
        }
    if importlib.util.find_spec("art"):
        from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
        from art.estimators.classification import PyTorchClassifier

        classifier = PyTorchClassifier(
            network, torch.nn.CrossEntropyLoss(), (channels, size, size), 5, clip_values=(0, 1), device_type="cpu"
        )

        def with_art(attack: FastGradientMethod | ProjectedGradientDescent) -> Attack:
            return lambda image, label: attack.generate(image.numpy(), label.numpy())

        batch = {"eps": EPS, "batch_size": 64}
        iterated = {**batch, "eps_step": STEP, "max_iter": STEPS, "verbose": False}
        found["ART"] = {
            "FGSM": with_art(FastGradientMethod(classifier, **batch)),
            "BIM": with_art(ProjectedGradientDescent(classifier, num_random_init=0, **iterated)),
            "PGD": with_art(ProjectedGradientDescent(classifier, num_random_init=1, **iterated)),
        }
    return found


def show(name: str, other: str, result: dict[str, float]) -> None:
    print(
        f"{name:8} / {other:20} {result['ratio']:.3f}  (95 % interval {result['low']:.3f} to {result['high']:.3f}; "
        f"{result['ours_s']:.2f} s and {result['theirs_s']:.2f} s)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--skip-peers", action="store_true", help="leave out the other libraries")
    args = parser.parse_args()

    torch.manual_seed(0)
    network = resnet18(spatial_dims=2, n_input_channels=3, num_classes=5).eval()
    image = torch.randint(0, 256, (args.batch, 3, args.size, args.size)) / 255
    label = torch.arange(args.batch) % 5
    victim = ClassificationVictim(network)
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
    print(f"resnet18, {args.batch} x 3 x {args.size} x {args.size}, {STEPS} steps, {args.pairs} interleaved pairs")
    others = {} if args.skip_peers else peers(network, 3, args.size)
    for other, attacks in {"by hand": hand, **others}.items():
        for name, theirs in attacks.items():
            show(
                name,
                other,
                interleaved_ratio(
                    lambda name=name: ours[name](victim, image, label),
                    lambda theirs=theirs: theirs(image, label),
                    args.pairs,
                ),
            )
    step_ratio = interleaved_ratio(
        lambda: ours["SMIA"](victim, image, label), lambda: ours["BIM"](victim, image, label), args.pairs
    )
    show("SMIA", "our BIM", step_ratio)
    per_step = 1 + (step_ratio["ratio"] * STEPS - STEPS) / (STEPS - 1)  # its first step has no stabilization term
    print(f"one SMIA step with stabilization costs {per_step:.3f} BIM steps")


if __name__ == "__main__":
    main()
