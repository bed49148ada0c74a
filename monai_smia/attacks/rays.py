"""A decision-based attack on classifications: queries that only ask for the final class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.queries import QueryAttack, one_by_one
from monai_smia.attacks.result import AttackResult
from monai_smia.attacks.trajectory import Trajectory

PRECISION = 0.05  # of the radius, to which the decision's boundary is found along a direction


@dataclass(kw_only=True, eq=False)
class RayS(QueryAttack):
    """RayS (Chen & Gu, KDD 2020), L-inf: asks for the final decision alone, no score and no gradient.

    Looks for the direction, plus or minus one at every voxel, along which the decision turns the soonest. Blocks of the
    direction are flipped, which get smaller; where the flipped one turns the decision at the smallest radius known, its
    own radius is found by bisection. It draws nothing at random, and ends as soon as it is inside of the ball.

    Queries on the way may lie outside of the ball, and never outside of the valid range; what is returned lies inside.
    Where no direction turns the decision there, it is the point of the nearest one.

    Args:
        queries: predictions of a sample at most, beside that of the clean image.
        success: damage in (0, 1] that counts as turned: 1 for a wrong class, 0.5 for a Jaccard index of one half.

    The other arguments are those of `Attack`; the norm is ``"linf"``.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> image = torch.rand(2, 1, 8, 8)
        >>> label = network(image).argmax(1)
        >>> result = RayS(eps=0.5, queries=200)(ClassificationVictim(network), image, label)
        >>> result.damage.tolist(), result.gradients.tolist()
        ([1.0, 1.0], [0, 0])
    """

    success: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.success <= 1:
            raise ValueError(f"success must lie in (0, 1], got {self.success}.")

    @torch.no_grad()
    def run(self, problem: AttackProblem) -> AttackResult:
        """One sample after the other."""
        return one_by_one(lambda alone: _Search(self, alone).run(), problem)


@dataclass
class _Search:
    """The search on one sample.

    Attributes:
        radius: of the ball.
        reach: the largest radius that is asked at: the width of the valid range, or of the image's values.
        left: queries that are left.
    """

    attack: RayS
    problem: AttackProblem
    found: Trajectory = field(init=False)
    radius: float = field(init=False)
    reach: float = field(init=False)
    left: int = field(init=False)

    def __post_init__(self) -> None:
        image, threat = self.problem.image, self.problem.threat
        self.found = Trajectory(image, targeted=self.attack.targeted)
        self.radius, self.left = float(threat.radius), self.attack.queries
        low, high = (float(end) for end in (threat.clip or image.aminmax()))
        self.reach = max(high - low, self.radius)

    def run(self) -> AttackResult:
        """The result, its histories carried on to as many queries as there may be."""
        image, start, queries = self.problem.image, self.problem.start, self.attack.queries
        turned = self._ask(image, first=True)
        if not turned and start is not None:
            self.left -= 1
            turned = self._ask(self.problem.beginning)
        if not turned and self.radius > 0:
            self._search(torch.ones_like(image) if start is None else torch.ones_like(image).where(start >= 0, -1))
        return replace(self.found.result(steps=queries, losses=queries + 1), cosine=image.new_zeros(0, 1))

    def _search(self, direction: Tensor) -> None:
        nearest = math.inf
        for block in _blocks(direction.numel()):
            tried = direction.clone()
            tried.view(-1)[block] *= -1
            if self._turns(tried, min(nearest, self.reach)):
                direction, nearest = tried, self._boundary(tried, min(nearest, self.reach))
            elif nearest == math.inf:  # nothing turns it so far, and one flip after the other leads further away
                direction = tried
            if not self.left or nearest <= self.radius:
                return

    def _boundary(self, direction: Tensor, high: float) -> float:
        """The radius at which the decision turns along a direction, from above; that of the ball where it is inside."""
        low = self.radius
        if high <= low or self._turns(direction, low):
            return low
        while high - low > PRECISION * self.radius and self.left:
            middle = (low + high) / 2
            if self._turns(direction, middle):
                high = middle
            else:
                low = middle
        return high

    def _turns(self, direction: Tensor, radius: float) -> bool:
        """Whether the decision is turned at a radius along a direction; False where no query is left."""
        if not self.left:
            return False
        image = self.problem.image
        point = replace(self.problem.threat, eps=radius).project(image + radius * direction, image)
        self.left -= 1
        return self._ask(point, inside=radius <= self.radius)

    def _ask(self, point: Tensor, *, first: bool = False, inside: bool = True) -> bool:
        victim, label, found = self.problem.victim, self.problem.label, self.found
        prediction = victim.predict(point)
        if first:
            victim.check_label(prediction, label)
        damage = victim.damage(prediction, label)
        found.add_loss(damage)
        found.add_size(point, self.problem.image)
        if first:
            found.note_clean(damage)
        if inside and (first or bool(damage <= found.damage if self.attack.targeted else damage >= found.damage)):
            found.take(point, damage, damage, torch.ones_like(damage, dtype=torch.bool))
        return float(1 - damage if self.attack.targeted else damage) >= self.attack.success


def _blocks(count: int) -> Iterator[slice]:
    """None of a direction's voxels, all of them, halves, quarters and so on, down to one voxel; then again."""
    yield slice(0)
    while True:
        parts = 1
        while parts < 2 * count:
            edges = [count * number // parts for number in range(parts + 1)]
            yield from (slice(a, b) for a, b in itertools.pairwise(edges) if b > a)
            parts *= 2
