"""DeepFool."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks.iterative import Iterate, IterativeAttack, gradient_of
from monai_smia.threat import TINY, ThreatModel
from monai_smia.victims.base import Victim
from monai_smia.victims.classification import ClassificationVictim

LEAST_STEP = 1e-3  # as a share of the way so far


class DeepFool(IterativeAttack):
    """DeepFool (Moosavi-Dezfooli et al., 2016): step onto the nearest decision boundary of the linearized classifier.

    Every step linearizes the scores f of the true class and of the candidates around the iterate, and goes to the
    nearest of the hyperplanes f_k = f_y (its Algorithm 2): ``|f_k - f_y| / ||w_k||_2^2 * w_k`` in L2, and
    ``|f_k - f_y| / ||w_k||_1 * sign(w_k)`` in L-inf, with w_k the gradient of f_k - f_y. The image shown to the network
    is ``x + (1 + overshoot) * (sum of steps)``. A sample leaves the batch as soon as it is decided wrongly; the rest
    share one forward pass and one backward pass per candidate class.

    Where the valid range cuts the steps short, they would creep up to the boundary and not cross it: a step is at least
    a thousandth of the way so far.

    Without a radius it looks for the smallest perturbation, and what it finds is told by its norm. With a radius every
    iterate is projected onto the ball, so that it compares with other attacks of that radius; where the nearest
    boundary lies outside of the ball it does not get across.

    Args:
        eps: radius of the ball, or None for the smallest perturbation.
        norm: ``"l2"`` or ``"linf"``: which distance to a boundary counts, and the ball's.
        steps: steps at most.
        overshoot: how far to go beyond the boundary, as a share of the way to it, >= 0.
        candidates: how many classes are looked at, the true one included: those with the highest scores on the clean
            image, >= 2.
        **options: `clip`, `loss`, `seed`, `keep`, `progress` as for `Attack`.

    Raises:
        ValueError: if an argument is outside its range; in use, if the victim is no classifier that decides for one
            class.

    Example:
        >>> from monai_smia.attacks import DeepFool
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = network[1].weight.data.copy_(torch.tensor([[0.0, 0, 0, 0], [3.0, 0, 4.0, 0]]))
        >>> image = torch.full((1, 1, 2, 2), 0.5)  # f_1 - f_0 = 3.5, 0.7 away from the boundary
        >>> victim = ClassificationVictim(network)
        >>> result = DeepFool(norm="l2", overshoot=0.02, clip=None)(victim, image, torch.tensor([1]))
        >>> round(result.perturbation.norm().item(), 3), result.gradients.tolist()
        (0.714, [1])
    """

    minimizes = True

    def __init__(
        self,
        *,
        eps: float | None = None,
        norm: str = "l2",
        steps: int = 50,
        overshoot: float = 0.02,
        candidates: int = 10,
        **options: Any,
    ) -> None:
        fixed = {"step_size": None, "random_start": False, "restarts": 1, "targeted": False, "stop_at": 1.0}
        for name, value in fixed.items():
            if options.pop(name, value) != value:
                raise ValueError(f"{name} must be {value} for DeepFool, or left out.")
        if not 0 <= overshoot < float("inf"):
            raise ValueError(f"overshoot must be a finite number >= 0, got {overshoot}.")
        if candidates < 2 or int(candidates) != candidates:
            raise ValueError(f"candidates must be a whole number >= 2, the true class included, got {candidates}.")
        super().__init__(eps=eps, norm=norm, steps=steps, stop_at=1.0, **options)
        self.overshoot = overshoot
        self.candidates = int(candidates)

    def gradients_at(self, step: int) -> int:
        """One per candidate; fewer where there are fewer classes."""
        return self.candidates - 1

    def move(self, victim: Victim, iterate: Iterate, threat: ThreatModel) -> tuple[Tensor, int]:
        """From the iterate to the image plus all steps so far, overshot."""
        if not isinstance(victim, ClassificationVictim):
            raise ValueError(f"victim must be a ClassificationVictim for DeepFool, got {type(victim).__name__}.")
        scores = victim.scores(iterate.prediction)
        truth = victim.target(iterate.label).view(-1, 1).long()
        memory = iterate.memory
        if iterate.step == 0:
            rivals = scores.detach().scatter(1, truth, -torch.inf).argsort(1, descending=True)
            memory["rivals"] = rivals[:, : min(self.candidates, scores.shape[1]) - 1]
            memory["total"] = torch.zeros_like(iterate.image)
        rivals = memory["rivals"]
        gaps = scores.gather(1, rivals) - scores.gather(1, truth)  # (B, candidates - 1), below zero while right

        nearest = torch.full_like(gaps[:, 0], torch.inf).detach()
        direction = torch.zeros_like(iterate.image)
        for k in range(rivals.shape[1]):
            gradient = gradient_of(gaps[:, k].sum(), iterate.adversarial, again=k + 1 < rivals.shape[1])
            if threat.mask is not None:
                gradient = gradient * threat.mask
            slope = torch.linalg.vector_norm(gradient.flatten(1), 2 if self.norm == "l2" else 1, dim=1)
            distance = (gaps[:, k].detach().abs() / slope.clamp_min(TINY)).where(slope > 0, torch.inf)
            closer = distance < nearest
            nearest = torch.where(closer, distance, nearest)
            direction = torch.where(_wide(closer, gradient), threat.steepest(gradient), direction)
        so_far = torch.linalg.vector_norm(memory["total"].flatten(1), 2 if self.norm == "l2" else torch.inf, dim=1)
        length = torch.maximum(nearest.where(nearest.isfinite(), 0), LEAST_STEP * so_far)
        memory["total"] = memory["total"] + _wide(length, direction) * direction
        step = iterate.image + (1 + self.overshoot) * memory["total"] - iterate.adversarial.detach()
        return step, rivals.shape[1]


def _wide(value: Tensor, image: Tensor) -> Tensor:
    return value.view(-1, *[1] * (image.ndim - 1))
