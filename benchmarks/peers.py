"""Other libraries' attacks behind one signature, as far as they are installed (``make bench`` installs them)."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from unittest import mock

import torch

EPS, STEPS, STEP = 8 / 255, 10, 2 / 255
Run = Callable[[torch.Tensor, torch.Tensor], object]


def peers(
    network: torch.nn.Module, channels: int, size: int, *, eps: float = EPS, step: float = STEP, classes: int = 5
) -> dict[str, dict[str, Run]]:
    """FGSM, BIM, MIFGSM and PGD of every library, in 10 steps, on images ``(B, channels, size, size)``."""
    found = {
        "torchattacks": torchattacks_of,
        "foolbox": foolbox_of,
        "art": lambda *args: art_of(*args, (channels, size, size), classes),
        "adv_lib": adv_lib_of,
    }
    return {name: of(network, eps, step) for name, of in found.items() if importlib.util.find_spec(name)}


def torchattacks_of(network: torch.nn.Module, eps: float, step: float) -> dict[str, Run]:
    """Takes classes ``(B,)`` and class maps ``(B, H, W)``."""
    import torchattacks

    iterated = {"eps": eps, "alpha": step, "steps": STEPS}
    return {
        "FGSM": torchattacks.FGSM(network, eps=eps),
        "BIM": torchattacks.BIM(network, **iterated),
        "MIFGSM": torchattacks.MIFGSM(network, **iterated),
        "PGD": torchattacks.PGD(network, **iterated),
    }


def foolbox_of(network: torch.nn.Module, eps: float, step: float) -> dict[str, Run]:
    import foolbox

    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")

    def run_of(attack: foolbox.Attack) -> Run:
        return lambda image, label: attack.run(model, image, label, epsilon=eps)

    options = {"abs_stepsize": step, "steps": STEPS}
    return {
        "FGSM": run_of(foolbox.attacks.FGSM()),
        "BIM": run_of(foolbox.attacks.LinfBasicIterativeAttack(**options)),
        "PGD": run_of(foolbox.attacks.LinfPGD(**options)),
    }


def art_of(
    network: torch.nn.Module, eps: float, step: float, shape: tuple[int, int, int], classes: int
) -> dict[str, Run]:
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        network, torch.nn.CrossEntropyLoss(), shape, classes, clip_values=(0, 1), device_type="cpu"
    )

    def run_of(attack: FastGradientMethod | ProjectedGradientDescent) -> Run:
        return lambda image, label: torch.from_numpy(attack.generate(image.numpy(), label.numpy()))

    batch = {"eps": eps, "batch_size": 1024}
    iterated = {**batch, "eps_step": step, "max_iter": STEPS, "verbose": False}
    return {
        "FGSM": run_of(FastGradientMethod(classifier, **batch)),
        "BIM": run_of(ProjectedGradientDescent(classifier, num_random_init=0, **iterated)),
        "PGD": run_of(ProjectedGradientDescent(classifier, num_random_init=1, **iterated)),
    }


def adv_lib_of(network: torch.nn.Module, eps: float, step: float) -> dict[str, Run]:
    absent = {name: types.ModuleType(name) for name in ("torchvision", "visdom")}  # of attacks that are not used here
    absent["torchvision"].models = None  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, absent):
        from adv_lib.attacks import pgd_linf

    def run_of(start: bool) -> Run:
        options = {"steps": STEPS, "absolute_step_size": step, "random_init": start}
        return lambda image, label: pgd_linf(network, image, label, eps, **options)

    return {"BIM": run_of(False), "PGD": run_of(True)}
