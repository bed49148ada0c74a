"""DeepFool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.gradient import gradient_of
from monai_smia.attacks.iterative import Iterate, IterativeAttack, State
from monai_smia.attacks.measures import where
from monai_smia.threat import TINY, ThreatModel, per_sample
from monai_smia.victims.base import Victim
from monai_smia.victims.classification import ClassificationVictim

LEAST_STEP = 1e-3  # as a share of the way so far


@dataclass
class DeepFoolState(State):
    """Candidate classes ``(B, candidates - 1)`` and the sum of steps ``(B, C, *spatial)``."""

    rivals: Tensor
    total: Tensor


@dataclass(kw_only=True, eq=False)
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

    The other arguments are those of `Attack`; those of `IterativeAttack` leave no choice.

    Raises:
        ValueError: if an argument is outside its range; in use, if the victim is no classifier that decides for one
            class.

    Example:
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> _ = network[1].weight.data.copy_(torch.tensor([[0.0, 0, 0, 0], [3.0, 0, 4.0, 0]]))
        >>> image = torch.full((1, 1, 2, 2), 0.5)  # f_1 - f_0 = 3.5, 0.7 away from the boundary
        >>> victim = ClassificationVictim(network)
        >>> result = DeepFool(norm="l2", overshoot=0.02, clip=None)(victim, image, torch.tensor([1]))
        >>> round(result.perturbation.norm().item(), 3), result.gradients.tolist()
        (0.714, [1])
    """

    minimizes: ClassVar[bool] = True

    eps: float | None = None
    norm: str = "l2"
    steps: int = 50
    stop_at: float | None = 1.0
    overshoot: float = 0.02
    candidates: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fixed(step_size=None, random_start=False, restarts=1, targeted=False, stop_at=1.0)
        if not 0 <= self.overshoot < float("inf"):
            raise ValueError(f"overshoot must be a finite number >= 0, got {self.overshoot}.")
        self.candidates = self.require_count("candidates", 2)

    def start(self, problem: AttackProblem) -> Tensor:
        """The image: the way to the nearest boundary begins there."""
        return problem.image

    def gradients_at(self, step: int) -> int:
        """One per candidate; fewer where there are fewer classes."""
        return self.candidates - 1

    def initial_state(self, problem: AttackProblem) -> DeepFoolState:
        """No candidates, which the first prediction tells, and no step."""
        rivals = torch.empty(len(problem.image), 0, dtype=torch.long, device=problem.image.device)
        return DeepFoolState(rivals, torch.zeros_like(problem.image))

    def move(self, victim: Victim, iterate: Iterate, threat: ThreatModel) -> tuple[Tensor, int]:
        """From the iterate to the image plus all steps so far, overshot."""
        classifier = self.require_victim(victim, ClassificationVictim)
        scores = classifier.scores(iterate.prediction)
        truth = classifier.target(iterate.label).view(-1, 1).long()
        state: DeepFoolState = iterate.state
        if iterate.step == 0:
            rivals = scores.detach().scatter(1, truth, -torch.inf).argsort(1, descending=True)
            state.rivals = rivals[:, : min(self.candidates, scores.shape[1]) - 1]
        rivals = state.rivals
        gaps = scores.gather(1, rivals) - scores.gather(1, truth)  # (B, candidates - 1), below zero while right

        nearest = torch.full_like(gaps[:, 0], torch.inf).detach()
        direction = torch.zeros_like(iterate.image)
        for k in range(rivals.shape[1]):
            gradient = gradient_of(gaps[:, k].sum(), iterate.adversarial, retain_graph=k + 1 < rivals.shape[1])
            if threat.mask is not None:
                gradient = gradient * threat.mask
            slope = torch.linalg.vector_norm(gradient.flatten(1), 2 if self.norm == "l2" else 1, dim=1)
            distance = (gaps[:, k].detach().abs() / slope.clamp_min(TINY)).where(slope > 0, torch.inf)
            closer = distance < nearest
            nearest = torch.where(closer, distance, nearest)
            direction = where(closer, threat.steepest(gradient), direction)
        so_far = torch.linalg.vector_norm(state.total.flatten(1), 2 if self.norm == "l2" else torch.inf, dim=1)
        length = torch.maximum(nearest.where(nearest.isfinite(), 0), LEAST_STEP * so_far)
        state.total = state.total + per_sample(length, direction) * direction
        step = iterate.image + (1 + self.overshoot) * state.total - iterate.adversarial.detach()
        return step, rivals.shape[1]
