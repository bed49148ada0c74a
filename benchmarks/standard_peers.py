"""What `standard.py` compares with: other libraries' attacks, and published attacks on segmentation and detection.

Other libraries return what they found; `worst_seen` takes of an attack without a radius the worst of its iterates, each
projected onto the ball, which is more than the library itself would report.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from monai_smia.attacks import APGD, DAG, PGD, SEA_SCHEDULE, SMIA, Attack, CosPGD, SegPGD
from monai_smia.attacks.gradient import gradient_of
from monai_smia.attacks.iterative import Iterate, State
from monai_smia.threat import ThreatModel
from monai_smia.victims import Victim

Run = Callable[[Tensor, Any], Tensor]
ABSENT = ("torchvision", "torchvision.models", "visdom")  # that adv_lib imports, and what is used here does not need


def classification_peers(network: nn.Module, norm: str, eps: float, steps: int, shape: torch.Size) -> dict[str, Run]:
    """The strongest of other libraries, each with its own defaults but radius and steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox
        import torchattacks
        from art.attacks.evasion import AutoProjectedGradientDescent
        from art.estimators.classification import PyTorchClassifier

    order, linf = np.inf if norm == "linf" else 2, norm == "linf"
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    estimator = PyTorchClassifier(
        network, nn.CrossEntropyLoss(), tuple(shape), 10, clip_values=(0, 1), device_type="cpu"
    )
    pgd = (foolbox.attacks.LinfPGD if linf else foolbox.attacks.L2PGD)(steps=steps, rel_stepsize=2.5 / steps)
    fmn = (foolbox.attacks.LInfFMNAttack if linf else foolbox.attacks.L2FMNAttack)(steps=steps)
    options = {"norm": order, "eps": eps, "eps_step": 2 * eps, "max_iter": steps, "nb_random_init": 1, "verbose": False}

    def art(loss: str) -> Run:
        attack = AutoProjectedGradientDescent(estimator, loss_type=loss, batch_size=1024, **options)
        return lambda image, label: torch.from_numpy(attack.generate(image.numpy(), np.eye(10)[label.numpy()]))

    library = adv_lib()
    bounded = {"norm": order, "n_iter": steps}
    return {
        "torchattacks: AutoAttack": torchattacks.AutoAttack(
            network, norm="Linf" if linf else "L2", eps=eps, version="standard", n_classes=10, seed=0
        ),
        "Foolbox: PGD": lambda x, y: pgd.run(model, x, y, epsilon=eps),
        "Foolbox: FMN": lambda x, y: fmn.run(model, x, y),
        "ART: Auto-PGD, CE": art("cross_entropy"),
        "ART: Auto-PGD, DLR": art("difference_logits_ratio"),
        "adv_lib: APGD, CE": lambda x, y: library.apgd(network, x, y, eps=eps, loss_function="ce", **bounded),
        "adv_lib: APGD, DLR": lambda x, y: library.apgd(network, x, y, eps=eps, loss_function="dlr", **bounded),
        "adv_lib: FMN": lambda x, y: library.fmn(network, x, y, norm=order, steps=steps),
    }


def segmentation_published(eps: float, steps: int) -> dict[str, Attack]:
    """Attacks of the literature with the settings of their papers, at equal gradients."""
    common: dict[str, Any] = {"eps": eps, "steps": steps, "progress": False}
    sea = {**common, "schedule": SEA_SCHEDULE}
    return {
        "SEA: masked CE": APGD(loss="masked_cross_entropy", **sea),
        "SEA: balanced CE": APGD(loss="balanced_cross_entropy", **sea),
        "SEA: Jensen-Shannon": APGD(loss="jensen_shannon", **sea),
        "CosPGD, steps of eps / 3": CosPGD(**common),
        "SegPGD, steps of eps / 3": SegPGD(**common),
        "PGD, CE": PGD(**common),
        "PAdam, CE": PAdam(**common),
        "SMIA": SMIA(**{**common, "steps": (steps + 1) // 2}),
    }


def segmentation_peers(victim: Victim, eps: float, steps: int, classes: int) -> dict[str, Run]:
    """adv_lib's attacks, which minimize the perturbation: the worst of their iterates on the ball.

    ALMA prox takes the three highest logits, which two classes do not have.
    """
    library, threat = adv_lib("segmentation"), ThreatModel(eps)
    attacks = {
        "adv_lib: ALMA prox": partial(library.alma_prox, num_steps=steps, lr_init=eps / 10),
        "adv_lib: PDPGD": partial(library.pdpgd, norm=float("inf"), num_steps=steps),
        "adv_lib: DAG": partial(library.dag, max_iter=steps, γ=eps / 10, adv_threshold=1.1),  # none leaves the batch
    }
    return {
        name: partial(worst_seen, victim, threat, attack)
        for name, attack in attacks.items()
        if classes > 2 or "ALMA" not in name
    }


def detection_published(eps: float, steps: int) -> dict[str, Attack]:
    """PGD on the detector's own loss (what ART attacks), towards an empty frame (TOG), and DAG in the ball."""
    common: dict[str, Any] = {"eps": eps, "steps": steps, "progress": False}
    return {
        "PGD, focal loss": PGD(loss="focal", **common),
        "PGD, cross entropy": PGD(loss="bce", **common),
        "TOG-vanishing": PGD(loss="focal", targeted=True, keep="last", step_size=eps / 4, **common),
        "TOG-untargeted": PGD(loss="focal", keep="last", step_size=eps / 4, **common),
        "DAG": DAG(**common),
        "SMIA": SMIA(**{**common, "steps": (steps + 1) // 2}),
    }


def worst_seen(victim: Victim, threat: ThreatModel, attack: Callable[..., Any], image: Tensor, label: Tensor) -> Tensor:
    """Of every image the projected iterate of most damage."""
    if image.ndim > 4 and len(image) > 1:  # adv_lib's weights fit a batch of pictures or one volume
        alone = zip(image.split(1), label.split(1), strict=True)
        return torch.cat([worst_seen(victim, threat, attack, x, y) for x, y in alone])
    seen = Seen(victim)
    attack(seen, image, label[:, 0])
    points = [threat.project(point, image) for point in seen.points]
    damage = torch.stack([victim.damage(victim.infer(point), label) for point in points])
    return torch.stack([points[int(best)][k] for k, best in enumerate(damage.argmax(0))])


class Seen(nn.Module):
    """A victim as a module, which keeps what it is shown."""

    def __init__(self, victim: Victim) -> None:
        super().__init__()
        self.victim = victim
        self.points: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.points.append(image.detach().clone())
        return self.victim.predict(image)


def adv_lib(part: str = "") -> Any:
    """Its attacks, without the packages that those used here do not need."""
    absent = {name: types.ModuleType(name) for name in ABSENT if name not in sys.modules}
    if "torchvision" in absent:
        absent["torchvision"].models = absent["torchvision.models"]  # type: ignore[attr-defined]
    sys.modules.update(absent)
    try:
        import adv_lib.attacks.segmentation
    finally:
        for name in absent:
            del sys.modules[name]
    return getattr(adv_lib.attacks, part) if part else adv_lib.attacks


@dataclass
class AdamState(State):
    """Running means of the gradient and of its square."""

    mean: Tensor
    square: Tensor


@dataclass(kw_only=True, eq=False)
class PAdam(PGD):
    """Adam-like ascent whose step falls to zero along a line (after "Trying Harder Pays Off", arXiv 2407.09150)."""

    share: float = 0.25  # of the radius, the first step

    def initial_state(self, problem: Any) -> AdamState:
        return AdamState(torch.zeros_like(problem.image), torch.zeros_like(problem.image))

    def move(self, victim: Victim, iterate: Iterate, threat: ThreatModel) -> tuple[Tensor, int]:
        gradient = gradient_of(self.objective(victim, iterate).sum(), iterate.adversarial)
        state, count = iterate.state, iterate.step + 1
        state.mean = 0.9 * state.mean + 0.1 * gradient
        state.square = 0.999 * state.square + 0.001 * gradient.square()
        size = (state.square / (1 - 0.999**count)).sqrt().clamp_min(1e-20)
        step = self.share * threat.radius * (1 - iterate.step / self.steps)
        return step * state.mean / (1 - 0.9**count) / size, 1
