"""A shift with its parameters smoothed: draws around doing nothing, and around the points that look worst."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from monai_smia.attacks.shift_search import Found, ShiftSearch
from monai_smia.attacks.steps import steps
from monai_smia.shifts.smoothed import from_normal


@dataclass(kw_only=True, eq=False)
class SmoothedShift(ShiftSearch):
    """Draws from which a certificate is made, and an attack on what it certifies: `monai_smia.certificates.median`.

    Parameters are drawn normal around doing nothing, in units of the box (`monai_smia.shifts.smoothed.from_normal`).
    What is certified is the median over such draws: how it moves as their center moves. The attack moves the center
    away from nothing, along the direction in which damage grows (the gradient of the smoothed damage by its score
    function: the mean of the draws, weighted with their damage), and draws around it at every one of `distances`. The
    image returned is the worst of all draws, which no certificate of the median speaks for.

    Args:
        draws: around doing nothing.
        sigma: standard deviation of the draws, in units of the box.
        probes: draws around every other center.
        distances: of the other centers, in units of the box.

    The other arguments are those of `ShiftSearch`; `eps` is 0. The points are in `ShiftResult.tried` in this order.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> from monai_smia.shifts import HUOffset
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
        >>> network[1].weight.data = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1]])
        >>> image = torch.full((1, 1, 2, 2), 30.0)  # decided as 1 down to an offset of -30 HU, of a box of 40
        >>> attack = SmoothedShift(HUOffset(severity=5), clip=None, draws=60, probes=20, distances=(1.0,))
        >>> result = attack(ClassificationVictim(network), image, torch.tensor([1]))
        >>> float(result.tried_damage[:60].mean()) < 0.5, float(result.tried_damage[60:].mean()) > 0.5
        (True, True)
    """

    draws: int = 60
    sigma: float = 1.0
    probes: int = 20
    distances: tuple[float, ...] = (1.0, 2.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fixed(eps=0.0)
        for name, least in (("draws", 1), ("probes", 1)):
            self.require_count(name, least)
        if not 0 < self.sigma < math.inf:
            raise ValueError(f"sigma must be a finite number > 0, got {self.sigma}.")
        if not all(0 < float(distance) < math.inf for distance in self.distances):
            raise ValueError(f"distances must be finite numbers > 0, got {self.distances!r}.")
        self.distances = tuple(sorted(float(distance) for distance in self.distances))

    @property
    def planned_gradients(self) -> int:
        """None."""
        return 0

    @property
    def queries(self) -> int:
        """Of the unshifted image and all draws."""
        return 1 + self.draws + self.probes * len(self.distances)

    @property
    def knowledge(self) -> str:
        """Predictions alone."""
        return "black box"

    def search(self, found: Found) -> None:
        """The draws around nothing, then those around centers farther and farther away."""
        places = self._drawn(found, self.draws)
        damages = []
        for number in steps(self.draws, name=f"{self.name}, draws", show=self.progress):
            damages.append(found.try_values(self._values(found, places[number]), listed=True)[0])
        direction = _worse(places, torch.stack(damages).to(places))
        for distance in self.distances:
            around = self._drawn(found, self.probes) + distance * direction
            for number in steps(self.probes, name=f"{self.name}, at {distance:g}", show=self.progress):
                found.try_values(self._values(found, around[number]), listed=True)

    def _values(self, found: Found, places: Tensor) -> Tensor:
        return from_normal(self.shift, places, found.dims).to(found.problem.image)

    def _drawn(self, found: Found, count: int) -> Tensor:
        """Points around nothing ``(count, B, P)``, each sample's from its own generator."""
        size = len(self.shift.neutral(found.dims))
        drawn = [
            torch.randn(count, size, generator=generator, dtype=torch.float64, device=generator.device)
            for generator in found.problem.generators
        ]
        return self.sigma * torch.stack(drawn, 1)


def _worse(places: Tensor, damages: Tensor) -> Tensor:
    """Unit vectors ``(B, P)`` along which damage grows: of points ``(N, B, P)`` with their damages ``(N, B)``."""
    pulled = ((damages - damages.mean(0))[..., None] * places).sum(0)
    length = pulled.norm(dim=1, keepdim=True)
    first = places[0] / places[0].norm(dim=1, keepdim=True)  # nothing did damage: any direction is as good
    return torch.where(length > 0, pulled / length.clamp_min(1e-300), first)
