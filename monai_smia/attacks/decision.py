"""A decision-based attack on segmentation: queries that only ask for the final mask."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.result import AttackResult
from monai_smia.attacks.steps import steps
from monai_smia.attacks.trajectory import Trajectory
from monai_smia.victims.segmentation import SegmentationVictim

EXPLORED = (1, 2, 4, 8)  # voxels across a line or cube of the discrete noise that is tried first
FLIPPED = 0.3  # of the blocks, in a query
REFRESH = 4  # queries after which the point that is kept is asked for itself
HALVINGS = (0.2, 0.4, 0.6, 0.8)  # of the queries, after which blocks have half the size


@dataclass(kw_only=True, eq=False)
class DecisionSearch(Attack):
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

    needs_gradient: ClassVar[bool] = False

    queries: int = 200
    block: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fixed(norm="linf")
        self.require_fixed(keep="best")
        self.require_fixed(targeted=False)
        self.queries = self.require_count("queries", 1)
        self.block = self.require_count("block", 1)

    @property
    def knowledge(self) -> str:
        """Final decisions alone."""
        return "black box"

    @property
    def planned_gradients(self) -> int:
        """None."""
        return 0

    @torch.no_grad()
    def run(self, problem: AttackProblem) -> AttackResult:
        """Explore, then calibrate; every sample for itself, side by side."""
        victim = self.require_victim(problem.victim, SegmentationVictim)
        found = Trajectory(problem.image)
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
    """The signs that are kept, and what is known of the decision at every voxel.

    Attributes:
        signs: of the perturbation that is kept ``(B, C, *spatial)``.
        wrong: cost of the decision at every voxel there ``(B, 1, *spatial)``, on the grid of the image.
    """

    attack: DecisionSearch
    problem: AttackProblem
    victim: SegmentationVictim
    signs: Tensor = field(init=False)
    measured: bool = field(init=False)  # whether the point that is kept was asked for as a whole
    tried: Tensor = field(init=False)
    wrong: Tensor | None = field(init=False, default=None)
    best: Tensor = field(init=False)  # signs of the point of most damage
    most: Tensor = field(init=False)
    best_wrong: Tensor = field(init=False)

    def __post_init__(self) -> None:
        image = self.problem.image
        self.signs, self.measured = torch.zeros_like(image), True
        self.patterns = _patterns(image.shape[2:])
        self.explored = min(len(self.patterns), max(self.attack.queries // 3, 1))
        order = torch.randperm(len(self.patterns) - 2, generator=torch.Generator().manual_seed(0)) + 2
        self.order = [0, 1, *order.tolist()]

    def candidate(self, query: int) -> Tensor:
        """What is asked next; the clean image first."""
        self.tried = self._proposed(query)
        image, threat = self.problem.image, self.problem.threat
        radius = threat.radius.view(-1, *[1] * (image.ndim - 1)) if isinstance(threat.radius, Tensor) else threat.radius
        return threat.project(image + radius * self.tried, image)

    def _proposed(self, query: int) -> Tensor:
        image, spatial = self.problem.image, self.problem.image.shape[2:]
        if query == 0:
            return self.signs
        if query == 1 and self.problem.start is not None:
            return self.problem.start.sign()
        if query <= self.explored:
            kind, width = self.patterns[self.order[query - 1]]
            return torch.stack([_noise(kind, width, image[0], g) for g in self.problem.generators])
        if not self.measured and (query - self.explored) % REFRESH == 1:
            return self.signs
        size = self._size(query)
        grid = [max(-(-n // size), 1) for n in spatial]
        drawn = torch.stack(
            [torch.rand(image.shape[1], *grid, generator=g, device=image.device) for g in self.problem.generators]
        )
        shift = [
            int(torch.randint(size, (1,), generator=self.problem.generators[0], device=image.device)) for _ in grid
        ]
        flip = _upsampled(drawn < FLIPPED, size, shift, spatial)
        return torch.where(flip, -self.signs, self.signs)

    def _size(self, query: int) -> int:
        share = (query - self.explored) / max(self.attack.queries - self.explored, 1)
        return max(self.attack.block >> sum(share > moment for moment in HALVINGS), 1)

    def ask(self, query: int, candidate: Tensor) -> Tensor:
        """The damage of a candidate ``(B,)``; what it does better, block by block, is kept."""
        victim, problem = self.victim, self.problem
        prediction = victim.predict(candidate)
        if query == 0:
            victim.check_label(prediction, problem.label)
        damage = victim.damage(prediction, problem.label)
        wrong = self._wrong(prediction, damage)
        if query == 0:
            self.wrong, self.most, self.best = wrong, damage, self.signs
            self.best_wrong = wrong
            return damage
        assert self.wrong is not None
        own = bool((self.tried == self.signs).all())
        better = (damage > self.most).view(-1, *[1] * (wrong.ndim - 1))
        self.most = torch.maximum(damage, self.most)
        self.best, self.best_wrong = self.tried.where(better, self.best), wrong.where(better, self.best_wrong)
        if own:  # what was put together block by block, measured as a whole
            fell = (damage < self.most).view(better.shape)
            self.signs, self.wrong = self.best.where(fell, self.signs), self.best_wrong.where(fell, wrong)
            self.measured = True
            return damage
        size = self._size(max(query, self.explored + 1))
        gained = _pooled(wrong, size) > _pooled(self.wrong, size)
        if query == 1:
            gained = torch.ones_like(gained)
        self.measured = (self.measured and not bool(gained.any())) or bool(gained.all())
        self.signs, self.wrong = self.tried.where(gained, self.signs), wrong.where(gained, self.wrong)
        return damage

    def _wrong(self, prediction: Tensor, damage: Tensor) -> Tensor:
        """What the decision costs at every voxel of the image: a miss more than what is invented, as in 1 - Jaccard."""
        victim, problem = self.victim, self.problem
        target = victim.target(problem.label)
        decided = victim.decide(prediction)
        truth = target.unsqueeze(1) if target.ndim == decided.ndim - 1 else target
        kept = (1 - damage).clamp(0, 1).view(-1, *[1] * (decided.ndim - 1))
        wrong = (decided != truth).to(problem.image.dtype)
        cost = torch.where(truth > 0, wrong, wrong * kept.to(wrong)).sum(1, keepdim=True)
        if cost.shape[2:] == problem.image.shape[2:]:
            return cost
        return functional.interpolate(cost, size=problem.image.shape[2:], mode="nearest")


def _patterns(spatial: tuple[int, ...]) -> list[tuple[str, int]]:
    """Kinds of discrete noise, with their widths: two offsets first."""
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
    signs = torch.randint(0, 2, (image.shape[0], *grid), generator=generator, device=image.device).to(image) * 2 - 1
    for axis, (size, n) in enumerate(zip(sizes, spatial, strict=True), 1):
        signs = signs.repeat_interleave(size, axis).narrow(axis, 0, n)
    return signs


def _upsampled(blocks: Tensor, size: int, shift: list[int], spatial: tuple[int, ...]) -> Tensor:
    """Blocks ``(B, C, *grid)`` as voxels, moved by less than a block around the edge."""
    for axis, (n, moved) in enumerate(zip(spatial, shift, strict=True), 2):
        blocks = blocks.repeat_interleave(size, axis).roll(moved, axis).narrow(axis, 0, n)
    return blocks


def _pooled(cost: Tensor, size: int) -> Tensor:
    """The mean cost around every voxel, over twice the edge of a block."""
    pool = functional.avg_pool3d if cost.ndim == 5 else functional.avg_pool2d
    axes = range(cost.ndim - 2)
    for axis in (*axes, *axes):  # one after the other, which is the same and takes a fraction of the time
        n = cost.shape[axis + 2]
        edge = [min(size | 1, n - 1 + n % 2) if other == axis else 1 for other in axes]
        cost = pool(cost, edge, stride=1, padding=[each // 2 for each in edge], count_include_pad=False)
    return cost
