"""Square attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from monai_smia.attacks.base import Attack, AttackResult
from monai_smia.attacks.best import Best
from monai_smia.threat import ThreatModel, per_sample
from monai_smia.victims.base import Victim

HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the queries, after which squares have half the size


class Square(Attack):
    """Square attack (Andriushchenko et al., ECCV 2020), L-inf: random search that only asks for scores.

    Starts from random stripes of plus and minus eps; every query paints one square (2-D) or cube (3-D) of a sample with
    a random sign of eps a channel and keeps it where the deviation loss rises. Squares shrink as in the paper, from the
    share `p` of the voxels. No gradient is taken or needed, neither of the network nor of its preprocessing.

    Args:
        queries: predictions of a sample.
        p: share of the voxels in the first squares, in (0, 1].
        stop_at: damage in (0, 1] at which a sample is solved; None never.
        **options: as for `Attack`; the norm is ``"linf"``.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import Square
        >>> from monai_smia.victims import ClassificationVictim
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> image, label = torch.rand(2, 1, 8, 8), torch.tensor([0, 2])
        >>> result = Square(eps=0.1, queries=20, loss="margin")(ClassificationVictim(network), image, label)
        >>> bool((result.loss >= result.loss_history[0]).all()), result.gradients.tolist()
        (True, [0, 0])
    """

    needs_gradient = False

    def __init__(
        self,
        *,
        queries: int = 1000,
        p: float = 0.8,
        stop_at: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if self.norm != "linf":
            raise ValueError(f"norm must be 'linf' for Square, got {self.norm!r}.")
        if queries < 1 or int(queries) != queries:
            raise ValueError(f"queries must be a whole number >= 1, got {queries}.")
        if not 0 < p <= 1:
            raise ValueError(f"p must lie in (0, 1], got {p}.")
        if stop_at is not None and not 0 < stop_at <= 1:
            raise ValueError(f"stop_at must lie in (0, 1], or be None, got {stop_at}.")
        self.queries = int(queries)
        self.p = p
        self.stop_at = stop_at

    @property
    def planned_gradients(self) -> int:
        """None."""
        return 0

    @torch.no_grad()
    def run(
        self,
        victim: Victim,
        image: Tensor,
        label: Any,
        threat: ThreatModel,
        generators: Sequence[torch.Generator],
    ) -> AttackResult:
        """Random search, all samples side by side, each with its own draws."""
        sign = -1.0 if self.targeted else 1.0
        found = Best(image, targeted=self.targeted)
        point, value = image, image.new_full((len(image),), -torch.inf)
        for query in tqdm(range(self.queries + 1), desc="Square", disable=not self.progress, delay=5, leave=False):
            candidate = self._candidate(query, point, image, threat, generators)
            prediction = victim.predict(candidate)
            if query == 0:
                victim.check_label(prediction, label)
            loss = victim.checked_loss(prediction, label).to(image.dtype)
            found.add(candidate, victim.damage(prediction, label), loss)
            if query == 0:
                continue  # the search starts from the stripes
            rises = sign * loss > value
            value = torch.where(rises, sign * loss, value)
            point = torch.where(rises.view(-1, *[1] * (image.ndim - 1)), candidate, point)
            reached = 1 - found.damage if self.targeted else found.damage
            if self.stop_at is not None and bool((reached >= self.stop_at).all()):
                break
        return found.result()

    def side(self, query: int, shape: torch.Size) -> int:
        """Voxels along the edge of a square at this query."""
        share = self.p * 0.5 ** sum(query > moment * self.queries for moment in HALVINGS)
        return min(max(round((share * shape.numel()) ** (1 / len(shape))), 1), min(shape))

    def _candidate(
        self, query: int, point: Tensor, image: Tensor, threat: ThreatModel, generators: Sequence[torch.Generator]
    ) -> Tensor:
        if query == 0:
            return image
        radius = per_sample(threat.eps, image)  # type: ignore[arg-type]
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
