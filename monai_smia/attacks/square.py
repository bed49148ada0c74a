"""Square attack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from monai_smia.attacks.arguments import check_stop_at
from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.measures import where
from monai_smia.attacks.result import AttackResult
from monai_smia.attacks.steps import steps
from monai_smia.attacks.trajectory import Trajectory
from monai_smia.threat import per_sample

HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the queries, after which squares have half the size


@dataclass(kw_only=True, eq=False)
class Square(Attack):
    """Square attack (Andriushchenko et al., ECCV 2020), L-inf: random search that only asks for scores.

    Starts from random stripes of plus and minus eps; every query paints one square (2-D) or cube (3-D) of a sample with
    a random sign of eps a channel and keeps it where the deviation loss rises. Squares shrink as in the paper, from the
    share `p` of the voxels. No gradient is taken or needed, neither of the network nor of its preprocessing.

    Args:
        queries: predictions of a sample.
        p: share of the voxels in the first squares, in (0, 1].
        stop_at: damage in (0, 1] at which a sample is solved; None never.

    The other arguments are those of `Attack`; the norm is ``"linf"``.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> image, label = torch.rand(2, 1, 8, 8), torch.tensor([0, 2])
        >>> result = Square(eps=0.1, queries=20, loss="margin")(ClassificationVictim(network), image, label)
        >>> bool((result.loss >= result.loss_history[0]).all()), result.gradients.tolist()
        (True, [0, 0])
    """

    needs_gradient: ClassVar[bool] = False

    queries: int = 1000
    p: float = 0.8
    stop_at: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fixed(norm="linf")
        self.require_fixed(keep="best")
        self.queries = self.require_count("queries", 1)
        if not 0 < self.p <= 1:
            raise ValueError(f"p must lie in (0, 1], got {self.p}.")
        check_stop_at(self.stop_at)

    @property
    def knowledge(self) -> str:
        """Predictions alone."""
        return "black box"

    @property
    def planned_gradients(self) -> int:
        """None."""
        return 0

    @torch.no_grad()
    def run(self, problem: AttackProblem) -> AttackResult:
        """Random search, all samples side by side, each with its own draws."""
        victim, image, label = problem.victim, problem.image, problem.label
        sign = -1.0 if self.targeted else 1.0
        found = Trajectory(image, targeted=self.targeted)
        point, value = image, image.new_full((len(image),), -torch.inf)
        for query in steps(self.queries + 1, name=self.name, show=self.progress):
            candidate = self._candidate(query, point, problem)
            prediction = victim.predict(candidate)
            if query == 0:
                victim.check_label(prediction, label)
            loss = victim.checked_loss(prediction, label).to(image.dtype)
            damage = victim.damage(prediction, label)
            found.add_loss(loss)
            found.add_size(candidate, image)
            found.take_better(candidate, damage, loss)
            if query == 0:
                found.note_clean(damage)
            else:  # the search starts from the stripes
                rises = sign * loss > value
                value, point = torch.where(rises, sign * loss, value), where(rises, candidate, point)
            going = self._unsolved(damage)
            if not bool(going.any()):
                break
            if not bool(going.all()):
                found.drop(going)
                problem, point, value = problem.subset(going), point[going], value[going]
                victim, image, label = problem.victim, problem.image, problem.label
        return replace(found.result(), cosine=found.clean.new_zeros(0, len(found.clean)))

    def _unsolved(self, damage: Tensor) -> Tensor:
        """Samples that this prediction does not solve ``(B,)``."""
        if self.stop_at is None:
            return torch.ones_like(damage, dtype=torch.bool)
        return (1 - damage if self.targeted else damage) < self.stop_at

    def side(self, query: int, shape: torch.Size) -> int:
        """Voxels along the edge of a square at this query."""
        share = self.p * 0.5 ** sum(query > moment * self.queries for moment in HALVINGS)
        return min(max(round((share * shape.numel()) ** (1 / len(shape))), 1), min(shape))

    def _candidate(self, query: int, point: Tensor, problem: AttackProblem) -> Tensor:
        image, threat, generators = problem.image, problem.threat, problem.generators
        if query == 0:
            return image
        radius = per_sample(threat.radius, image)
        if query == 1 and problem.start is not None:
            return problem.beginning
        if query == 1:  # stripes along the first spatial axis
            stripes = [_signs((image.shape[1], 1, *image.shape[3:]), g, image) for g in generators]
            return threat.project(image + radius * torch.stack(stripes), image)
        side, shape = self.side(query, image.shape[2:]), image.shape[2:]
        change = torch.zeros_like(image)
        for sample, generator in zip(change, generators, strict=True):
            starts = [int(torch.randint(n - side + 1, (), generator=generator, device=image.device)) for n in shape]
            place = (slice(None), *(slice(start, start + side) for start in starts))
            sample[place] = _signs((image.shape[1], *[1] * len(shape)), generator, image)
        return threat.project(torch.where(change == 0, point, image + radius * change), image)


def _signs(shape: tuple[int, ...], generator: torch.Generator, image: Tensor) -> Tensor:
    draws = torch.randint(0, 2, shape, generator=generator, device=image.device)
    return (draws * 2 - 1).to(image.dtype)
