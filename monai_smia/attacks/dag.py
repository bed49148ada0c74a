"""Dense adversary generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.gradient import gradient_of
from monai_smia.attacks.iterative import Iterate, IterativeAttack, State
from monai_smia.threat import TINY, ThreatModel, per_sample
from monai_smia.victims.base import Victim
from monai_smia.victims.detection import DetectionVictim
from monai_smia.victims.segmentation import SegmentationVictim

GAMMA = 0.5 / 255  # the paper's step, half a grey level
NO_TARGET = -1


@dataclass
class DAGState(State):
    """The targets of every sample.

    Args:
        draw: number from which the wrong classes are drawn ``(B,)``.
        truth: class of every target ``(B, N)``, -1 for none.
        wrong: class that it is pushed to.
        active: T_m: whether it is still of the true class.
    """

    draw: Tensor
    truth: Tensor
    wrong: Tensor
    active: Tensor


@dataclass(kw_only=True, eq=False)
class DAG(IterativeAttack):
    """Dense adversary generation (Xie et al., 2017): every voxel, or every proposal of a detector, to a wrong class.

    The targets are all voxels that the label covers, or a detector's proposals: anchors whose box on the clean image
    overlaps an object (IoU > 0.1) and gives its class a score > 0.1, fixed over the iterations. Each true class l gets
    one random wrong class l' per image: one that the image does not hold, if there is any. The targets T_m that are
    still of the true class are found again in every iteration; the step is ``gamma * r / ||r||_inf`` with
    ``r = sum over T_m of grad(f_l' - f_l)`` on scores f before the softmax. It ends when T_m is empty.

    The background is no wrong class to turn a proposal to, with one exception: a detector of a single class has no
    other, and there DAG makes objects vanish. A voxel is of the true class while that has the highest score, as in
    the paper. A RetinaNet's classes are independent, unlike the paper's softmax: a box of the true class is decided
    beside any of higher score, so that a proposal stays in T_m until its true class falls below the score from which
    boxes are decided (`DetectionVictim.dense_held`).

    As published, the perturbation is not bounded: that is ``eps=None``. With a radius every iterate is projected onto
    the ball, so that DAG compares at equal radius and steps; its default step is then ten times the radius, since a
    step that is scaled by its largest component leaves most voxels far short of it.

    Args:
        eps: radius of the ball, or None.
        steps: iterations at most; the paper takes 200 for segmentation and 150 for detection.
        step_size: gamma, the largest change of a voxel in one step, in the image's unit; None for 0.5 / 255 (the
            paper's, for images in [0, 1]) without a radius, and ``10 * eps`` with one.

    The other arguments are those of `IterativeAttack` and `Attack`; the paper has no `clip` and keeps the last iterate.

    Raises:
        ValueError: if an argument is outside its range; in use, if the victim is neither a segmenter nor a detector.

    Example:
        >>> network = torch.nn.Conv2d(1, 3, 1)
        >>> victim, image = SegmentationVictim(network), torch.rand(1, 1, 8, 8)
        >>> label = victim.decide(victim.predict(image))
        >>> result = DAG(steps=20)(SegmentationVictim(network, allow_empty=True), image, label)
        >>> bool(result.perturbation.abs().max() <= 20 * 0.5 / 255 + 1e-6)
        True
    """

    minimizes: ClassVar[bool] = True

    eps: float | None = None
    steps: int = 150

    def __post_init__(self) -> None:
        self.require_fixed(norm="linf", random_start=False, restarts=1, targeted=False)
        super().__post_init__()

    def default_step_size(self, eps: float | Tensor | None) -> float | Tensor:
        """The paper's gamma without a ball, ten radii with one."""
        return GAMMA if eps is None else 10 * eps

    def start(self, problem: AttackProblem) -> Tensor:
        """The image: the targets are those of its prediction."""
        return problem.image

    def initial_state(self, problem: AttackProblem) -> DAGState:
        """A number per sample from which its wrong classes are drawn; the first prediction tells the targets."""
        device = problem.image.device
        draws = [torch.randint(2**31, (), generator=g) for g in problem.generators]
        none = torch.empty(len(draws), 0, dtype=torch.long, device=device)
        return DAGState(torch.stack(draws).to(device), none, none, none)

    def done(self, victim: Victim, iterate: Iterate) -> Tensor:
        """Samples without a target of the true class; T_m is found on the way."""
        targets, state = self._dense(victim), iterate.state
        scores = targets.dense_scores(iterate.prediction)
        if iterate.step == 0:
            background = scores.shape[2] - 1 if isinstance(targets, DetectionVictim) else None
            state.truth = targets.dense_truth(iterate.prediction, iterate.label)
            pairs = zip(state.truth, state.draw, strict=True)
            state.wrong = torch.stack([wrong_classes(t, scores.shape[2], int(d), background) for t, d in pairs])
        state.active = targets.dense_held(scores, state.truth)
        return ~state.active.any(1)

    def objective(self, victim: Victim, iterate: Iterate) -> Tensor:
        """Sum of f_l' - f_l over the active targets ``(B,)``."""
        scores, state = self._dense(victim).dense_scores(iterate.prediction), iterate.state
        wrong, truth = (
            scores.gather(2, classes.clamp_min(0)[..., None])[..., 0] for classes in (state.wrong, state.truth)
        )
        return ((wrong - truth) * state.active).sum(1)

    def move(self, victim: Victim, iterate: Iterate, threat: ThreatModel) -> tuple[Tensor, int]:
        """``gamma * r / ||r||_inf``."""
        gradient = gradient_of(self.objective(victim, iterate).sum(), iterate.adversarial)
        if threat.mask is not None:
            gradient = gradient * threat.mask
        largest = gradient.flatten(1).abs().amax(1).clamp_min(TINY)
        gamma = self.default_step_size(threat.eps) if self.step_size is None else self.step_size
        return per_sample(gamma, gradient) * gradient / per_sample(largest, gradient), 1

    def _dense(self, victim: Victim) -> SegmentationVictim | DetectionVictim:
        if not isinstance(victim, SegmentationVictim | DetectionVictim):
            raise ValueError(f"victim must be a SegmentationVictim or a DetectionVictim, got {type(victim).__name__}.")
        return victim


def wrong_classes(truth: Tensor, classes: int, draw: int, background: int | None = None) -> Tensor:
    """One random wrong class for each true class, for every target of an image.

    Args:
        truth: class of every target ``(N,)``, -1 for none.
        classes: number of classes, the background included.
        draw: seed.
        background: a class to take only where there is no other.

    Returns:
        ``(N,)``, -1 where there is no target.

    Example:
        >>> wrong_classes(torch.tensor([0, 0, 1, -1]), classes=3, draw=0).tolist()  # 2 is not in the image
        [2, 2, 2, -1]
    """
    generator = torch.Generator().manual_seed(draw)
    held = set(truth[truth != NO_TARGET].unique().tolist())
    wrong = torch.full_like(truth, NO_TARGET)
    for true in sorted(held):
        others = [c for c in range(classes) if c not in (true, background)]
        choice = [c for c in others if c not in held] or others or [classes - 1 if background is None else background]
        wrong[truth == true] = choice[int(torch.randint(len(choice), (), generator=generator))]
    return wrong
