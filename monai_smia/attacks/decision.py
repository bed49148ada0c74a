"""A decision-based attack on segmentation: queries that only ask for the final mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.queries import QueryAttack, one_by_one
from monai_smia.attacks.result import AttackResult
from monai_smia.attacks.steps import steps
from monai_smia.attacks.trajectory import Trajectory
from monai_smia.threat import per_sample
from monai_smia.victims.segmentation import SegmentationVictim

EXPLORED = (1, 2, 4, 8)  # voxels across a line or cube of the discrete noise that is tried first
FLIPPED = 0.3  # of the blocks, in a query
REFRESH = 4  # queries after which the point that is kept is asked for itself
HALVINGS = (0.2, 0.4, 0.6, 0.8)  # of the queries, after which blocks have half the size


@dataclass(kw_only=True, eq=False)
class DecisionSearch(QueryAttack):
    """Decision-based search on segmentations, L-inf: asks for the final mask alone, no score and no gradient.

    Every voxel is moved by plus or minus the radius, so that what is asked is what can be stored. As in the Discrete
    Linear Attack (DLA; Chen et al., Delving into Decision-based Black-box Attacks on Semantic Segmentation, 2024), a
    few queries explore discrete noise (constant offsets, lines along every axis, cubes) and the rest calibrate it by
    flipping blocks, which get smaller. Unlike there, a block is judged by the voxels that are decided wrongly in and
    next to it, not by one number of the whole image, so that one query tries many blocks at once.

    Args:
        queries: predictions of a sample, beside that of the clean image.
        block: voxels along the edge of the first blocks, halved four times.

    The other arguments are those of `Attack`; the norm is ``"linf"``.

    Raises:
        ValueError: if an argument is outside its range; in use, if the victim is no `SegmentationVictim`.

    Example:
        >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> image = torch.rand(1, 1, 16, 16)
        >>> victim = SegmentationVictim(network, allow_empty=True)
        >>> label = victim.decide(network(image))
        >>> result = DecisionSearch(eps=0.1, queries=20)(victim, image, label)
        >>> len(result.loss_history), result.gradients.tolist(), bool(result.damage >= result.clean_damage)
        (21, [0], True)
    """

    block: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.block = self.require_count("block", 1)

    @torch.no_grad()
    def run(self, problem: AttackProblem) -> AttackResult:
        """Explore, then calibrate: one sample after the other."""
        return one_by_one(self._alone, problem)

    def _alone(self, problem: AttackProblem) -> AttackResult:
        """A batch of one."""
        victim = self.require_victim(problem.victim, SegmentationVictim)
        found = Trajectory(problem.image, targeted=self.targeted)
        search = _Search(self, problem, victim)
        for query in steps(self.queries + 1, name=self.name, show=self.progress):
            candidate = search.candidate(query)
            damage = search.ask(query, candidate)
            found.add_loss(damage)
            found.add_size(candidate, problem.image)
            found.take_better(candidate, damage, damage)
            if query == 0:
                found.note_clean(damage)
        return replace(found.result(), cosine=found.clean.new_zeros(0, len(found.clean)))


@dataclass
class _Search:
    """A search on one sample: the signs that are kept, and what is known of the decision at every voxel.

    Attributes:
        signs: of the perturbation that is kept ``(1, C, *spatial)``.
        wrong: cost of the decision there at every voxel ``(1, 1, *spatial)``, on the grid of the image.
        measured: whether that point was asked for as a whole, and not put together from several.
        tried: signs of what is asked now.
        best: signs, cost and damage of the point of most damage (of least, where the label is a target).
    """

    attack: DecisionSearch
    problem: AttackProblem
    victim: SegmentationVictim
    signs: Tensor = field(init=False)
    wrong: Tensor = field(init=False)
    measured: bool = field(init=False, default=True)
    tried: Tensor = field(init=False)
    best: tuple[Tensor, Tensor, float] = field(init=False)

    def __post_init__(self) -> None:
        self.generator = self.problem.generators[0]
        self.signs = self.wrong = torch.zeros_like(self.problem.image)
        first, *rest = _patterns(self.problem.image.shape[2:])
        order = torch.randperm(len(rest), generator=torch.Generator().manual_seed(0)).tolist()
        self.patterns = [first, *[rest[number] for number in order]]
        self.explored = min(len(self.patterns), max(self.attack.queries // 3, 1))

    def candidate(self, query: int) -> Tensor:
        """What is asked next; the clean image first."""
        image, threat = self.problem.image, self.problem.threat
        self.tried = self._proposed(query)
        return threat.project(image + per_sample(threat.radius, image) * self.tried, image)

    def _proposed(self, query: int) -> Tensor:
        image, start = self.problem.image, self.problem.start
        if query == 0:
            return self.signs
        if query == 1 and start is not None:
            return start.sign()
        if query <= self.explored:
            kind, width = self.patterns[query - 1]
            return _noise(kind, width, image[0], self.generator)[None]
        if not self.measured and (query - self.explored) % REFRESH == 1:
            return self.signs
        size = self._size(query)
        grid = [-(-n // size) for n in image.shape[2:]]
        generator = self.generator
        drawn = (torch.rand(1, image.shape[1], *grid, generator=generator) < FLIPPED).to(image.device)
        shift = [int(torch.randint(size, (1,), generator=generator)) for _ in grid]
        return torch.where(_as_voxels(drawn, size, shift, image.shape[2:]), -self.signs, self.signs)

    def _size(self, query: int) -> int:
        share = (query - self.explored) / max(self.attack.queries - self.explored, 1)
        return max(self.attack.block >> sum(share > moment for moment in HALVINGS), 1)

    def ask(self, query: int, candidate: Tensor) -> Tensor:
        """The damage of a candidate ``(1,)``; what it does better, block by block, is kept."""
        victim, label = self.victim, self.problem.label
        prediction = victim.predict(candidate)
        if query == 0:
            victim.check_label(prediction, label)
        damage = victim.damage(prediction, label)
        wrong = self._cost(prediction, damage)
        goal = -float(damage) if self.attack.targeted else float(damage)
        if query == 0 or goal > self.best[2]:
            self.best = self.tried, wrong, goal
        if query <= 1:
            self.signs, self.wrong = self.tried, wrong
        elif self.tried is self.signs:  # put together block by block, and now asked for as a whole
            self.signs, self.wrong = (self.tried, wrong) if goal == self.best[2] else self.best[:2]
            self.measured = True
        else:
            size = self._size(max(query, self.explored + 1))
            gained = _around(wrong, size) > _around(self.wrong, size)
            self.measured = bool(gained.all()) or (self.measured and not bool(gained.any()))
            self.signs, self.wrong = self.tried.where(gained, self.signs), wrong.where(gained, self.wrong)
        return damage

    def _cost(self, prediction: Tensor, damage: Tensor) -> Tensor:
        """What the decision costs at every voxel of the image: a miss more than what is invented, as in 1 - Jaccard."""
        target = self.victim.target(self.problem.label)
        decided = self.victim.decide(prediction)
        truth = target.unsqueeze(1) if target.ndim == decided.ndim - 1 else target
        invented = float((1 - damage).clamp(0, 1))
        cost = ((decided != truth) * torch.where(truth > 0, 1.0, invented)).sum(1, keepdim=True)
        spatial = self.problem.image.shape[2:]
        cost = -cost if self.attack.targeted else cost
        return cost if cost.shape[2:] == spatial else functional.interpolate(cost, size=spatial, mode="nearest")


def _patterns(spatial: Sequence[int]) -> list[tuple[str, int]]:
    """Kinds of discrete noise, with their widths; an offset first."""
    lines = [(f"lines{axis}", width) for width in EXPLORED for axis in range(len(spatial))]
    return [("down", 0), ("up", 0), *lines, *[("cubes", width) for width in EXPLORED]]


def _noise(kind: str, width: int, image: Tensor, generator: torch.Generator) -> Tensor:
    """Signs of one sample ``(C, *spatial)``."""
    spatial = image.shape[1:]
    if kind in ("down", "up"):
        return torch.full_like(image, -1.0 if kind == "down" else 1.0)
    along = None if kind == "cubes" else int(kind.removeprefix("lines"))
    sizes = [n if along is not None and axis != along else width for axis, n in enumerate(spatial)]
    grid = [-(-n // size) for n, size in zip(spatial, sizes, strict=True)]
    drawn = torch.randint(0, 2, (image.shape[0], *grid), generator=generator)
    signs = drawn.to(image) * 2 - 1
    for axis, (size, n) in enumerate(zip(sizes, spatial, strict=True), 1):
        signs = signs.repeat_interleave(size, axis).narrow(axis, 0, n)
    return signs


def _as_voxels(blocks: Tensor, size: int, shift: Sequence[int], spatial: Sequence[int]) -> Tensor:
    """Blocks ``(B, C, *grid)`` as voxels, moved by less than a block around the edge."""
    for axis, (n, moved) in enumerate(zip(spatial, shift, strict=True), 2):
        blocks = blocks.repeat_interleave(size, axis).roll(moved, axis).narrow(axis, 0, n)
    return blocks


def _around(cost: Tensor, size: int) -> Tensor:
    """The mean cost around every voxel, over twice the edge of a block."""
    pool = functional.avg_pool3d if cost.ndim == 5 else functional.avg_pool2d
    axes = range(cost.ndim - 2)
    for axis in (*axes, *axes):  # one after the other, which is the same and takes a fraction of the time
        n = cost.shape[axis + 2]
        edge = [min(size | 1, n - 1 + n % 2) if other == axis else 1 for other in axes]
        cost = pool(cost, edge, stride=1, padding=[each // 2 for each in edge], count_include_pad=False)
    return cost
