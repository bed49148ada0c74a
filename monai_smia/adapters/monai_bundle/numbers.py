"""Bundles whose network predicts numbers, such as landmarks: how they are read, and their twin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from monai_smia.adapters.monai_bundle.ensembles import EnsembleNetwork, of_every_network
from monai_smia.victims.preprocessing import as_plain
from monai_smia.victims.regression import RegressionVictim, check_within

REGRESSION = "regression"


@dataclass(frozen=True)
class NumberRule:
    """How a bundle decides numbers: as its network has them.

    Args:
        shape: of the network's prediction of a case ``(1, ...)``.
        within: error up to which a number counts as right.
        point_axis: axis of the prediction that holds a point's coordinates; None where numbers stand by themselves.
        left: shape that postprocessing leaves it in, which a label may have, too.

    Example:
        >>> rule = NumberRule((1, 2, 1), within=1.0)
        >>> rule.decided(torch.tensor([3.0, 4.0])).tolist()
        [[[3.0], [4.0]]]
    """

    shape: tuple[int, ...]
    within: float
    point_axis: int | None = None
    left: tuple[int, ...] = ()
    kind: ClassVar[str] = REGRESSION
    prompts: ClassVar[tuple[int, ...]] = ()
    probabilities: ClassVar[bool] = False

    @property
    def channels(self) -> int:
        """Numbers of a case."""
        return math.prod(self.shape)

    @property
    def is_planar(self) -> bool:
        """Whether it predicts points of two coordinates."""
        return self.point_axis is not None and self.shape[self.point_axis] == 2

    @property
    def told(self) -> str:
        """What is to be said of it."""
        shape = " x ".join(map(str, self.shape[1:]))
        if self.point_axis is None:
            return (
                f"The network predicts numbers ({shape}), each of which counts by itself; where they are coordinates, "
                f"say along which axis with --attack#point_axis. Right is what is at most {self.within:g} off."
            )
        points = self.channels // self.shape[self.point_axis]
        return f"The network predicts {points} points ({shape}); right are those that are at most {self.within:g} off."

    def decided(self, prediction: Any, *, partly: bool = False) -> Tensor:
        """What postprocessing left of a case as the network has it ``(1, ...)``.

        Raises:
            ValueError: if it has left another number of numbers.
        """
        return self._shaped("postprocessing must leave the network's numbers", prediction)

    def label(self, label: Any) -> Tensor:
        """The label of a case as the network has it, without the batch.

        Raises:
            ValueError: if it is of another shape, axes of length 1 aside: the same numbers, but of other points.
        """
        numbers = torch.as_tensor(label)
        wanted = "the label must hold the numbers that the network predicts"
        shaped = self._shaped(wanted, numbers)[0]
        if not any(_long(numbers.shape) == _long(shape) for shape in (self.shape, self.left)):
            raise ValueError(f"{wanted}, {self.shape[1:]}, got {tuple(numbers.shape)}.")
        return shaped

    def is_interpolated(self, prediction: Any) -> bool:
        """Numbers are not resampled."""
        return False

    def agreement(self, first: Tensor, second: Tensor) -> float:
        """The share of two predictions that is equal but for rounding."""
        near = 1e-3 * self.within + 1e-4 * second.abs()
        return float(((first.to(second) - second).abs() <= near).double().mean())

    def _shaped(self, wanted: str, numbers: Any) -> Tensor:
        values = as_plain(numbers).detach()
        if values.numel() != self.channels:
            raise ValueError(f"{wanted}, {self.shape[1:]}, got {tuple(values.shape)}.")
        return (values if values.dtype == torch.float64 else values.float()).reshape(self.shape)


def _long(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]


@dataclass(kw_only=True, eq=False)
class RegressionTwin(RegressionVictim):
    """A regression bundle's twin."""

    def forward(self, network_input: Tensor) -> Tensor:
        """The network's numbers, of several networks those that they give together."""
        if isinstance(self.network, EnsembleNetwork):
            return of_every_network(self, super().forward, network_input)
        return super().forward(network_input)


def number_rule(raw: Tensor, within: float | None, point_axis: int | None, left: Sequence[int] = ()) -> NumberRule:
    """The rule of a bundle whose network predicts numbers.

    Args:
        raw: what it predicts of a case ``(1, ...)``.
        within, point_axis, left: as for `NumberRule`.

    Raises:
        ValueError: if an argument is outside its range; `within` has to be given.
    """
    check_within(within)
    assert within is not None
    axes = [axis for axis in range(-raw.ndim + 1, raw.ndim) if axis]
    if point_axis is not None and (type(point_axis) is not int or point_axis not in axes):
        raise ValueError(
            f"point_axis must be one of the axes {axes} of what the network predicts, {tuple(raw.shape)}, got "
            f"{point_axis!r}."
        )
    return NumberRule(tuple(raw.shape), float(within), point_axis, tuple(left))
