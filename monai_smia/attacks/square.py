"""Square attack."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from monai_smia.attacks.arguments import check_stop_at
from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.queries import QueryAttack
from monai_smia.attacks.result import AttackResult
from monai_smia.attacks.steps import steps
from monai_smia.attacks.trajectory import Trajectory
from monai_smia.threat import per_sample

HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the queries, after which squares have half the size


@dataclass(kw_only=True, eq=False)
class Square(QueryAttack):
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

    queries: int = 1000
    p: float = 0.8
    stop_at: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.p <= 1:
            raise ValueError(f"p must lie in (0, 1], got {self.p}.")
        check_stop_at(self.stop_at)

    @torch.no_grad()
    def run(self, problem: AttackProblem) -> AttackResult:
        """Random search, all samples side by side, each with its own draws."""
        victim, image, label = problem.victim, problem.image, problem.label
        sign = -1.0 if self.targeted else 1.0
        found = Trajectory(image, targeted=self.targeted)
        squares = _Squares.drawn(problem, self.queries)
        value = image.new_full((len(image),), -torch.inf)
        point = image.clone()  # the search's own: what is painted and kept is written into it
        for query in steps(self.queries + 1, name=self.name, show=self.progress):
            if query <= 1:
                candidate = image if query == 0 else squares.stripes if problem.start is None else problem.beginning
            else:
                candidate = squares.painted(point, query, self.side(query, image.shape[2:]))
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
                rises = (sign * loss > value).nonzero()[:, 0]
                value[rises], point[rises] = (sign * loss)[rises], candidate[rises]
            going = self._unsolved(damage)
            if going is None:
                continue
            if not bool(going.any()):
                break
            if not bool(going.all()):
                found.drop(going)
                problem, point, value = problem.subset(going), point[going], value[going]
                victim, image, label, squares = problem.victim, problem.image, problem.label, squares.subset(going)
        return replace(found.result(), cosine=found.clean.new_zeros(0, len(found.clean)))

    def _unsolved(self, damage: Tensor) -> Tensor | None:
        """Samples that this prediction does not solve ``(B,)``; None where none ever is."""
        if self.stop_at is None:
            return None
        return (1 - damage if self.targeted else damage) < self.stop_at

    def side(self, query: int, shape: torch.Size) -> int:
        """Voxels along the edge of a square at this query."""
        share = self.p * 0.5 ** sum(query > moment * self.queries for moment in HALVINGS)
        return min(max(round((share * shape.numel()) ** (1 / len(shape))), 1), min(shape))


@dataclass(frozen=True)
class _Squares:
    """All that a search draws, and the two images that it paints with.

    Args:
        low, high: the images with the radius taken off everywhere and added everywhere ``(B, C, *spatial)``.
        stripes: each one or the other, along the first spatial axis.
        corners: where the square of a query begins, in [0, 1) of its places ``(B, queries, axes)``.
        raised: whether a channel of it is raised ``(B, queries, C)``.
        lines: what a square covers along an axis, by the lengths of both: made once, shared by all parts.
    """

    low: Tensor
    high: Tensor
    stripes: Tensor
    corners: Tensor
    raised: Tensor
    lines: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @classmethod
    def drawn(cls, problem: AttackProblem, queries: int) -> _Squares:
        """Those of a problem, each sample's from its own generator."""
        image, threat = problem.image, problem.threat
        radius = per_sample(threat.radius, image)
        low, high = threat.project(image - radius, image), threat.project(image + radius, image)
        shape, channels = image.shape[2:], image.shape[1]
        stripes, corners, raised = [], [], []
        for generator in problem.generators:
            stripes.append(torch.randint(0, 2, (channels, 1, *shape[1:]), generator=generator))
            corners.append(torch.rand(queries, len(shape), generator=generator, dtype=torch.float64))
            raised.append(torch.randint(0, 2, (queries, channels), generator=generator))
        stripe, corner, up = (torch.stack(each).to(image.device) for each in (stripes, corners, raised))
        return cls(low, high, torch.where(stripe == 1, high, low), corner, up == 1)

    def painted(self, point: Tensor, query: int, side: int) -> Tensor:
        """A copy of the points with one square of a query painted into each."""
        shape, inside = point.shape[2:], None
        for axis, n in enumerate(shape):
            first = (self.corners[:, query - 1, axis] * (n - side + 1)).long()
            within = self._lines(n, side)[first].view(-1, 1, *[n if a == axis else 1 for a in range(len(shape))])
            inside = within if inside is None else inside & within
        assert inside is not None
        raised = self.raised[:, query - 1].view(*self.raised.shape[::2], *[1] * len(shape))
        return torch.where(inside, torch.where(raised, self.high, self.low), point)

    def _lines(self, n: int, side: int) -> Tensor:
        """Of every place of a square along an axis, the voxels that it covers ``(n - side + 1, n)``."""
        if (n, side) not in self.lines:
            voxel, first = torch.arange(n, device=self.low.device), torch.arange(n - side + 1, device=self.low.device)
            offset = voxel - first.unsqueeze(1)
            self.lines[n, side] = (offset >= 0) & (offset < side)
        return self.lines[n, side]

    def subset(self, index: Tensor) -> _Squares:
        """Of some samples, by a boolean mask ``(B,)``."""
        parts = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name != "lines"}
        return replace(self, **parts)
