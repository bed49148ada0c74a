"""Networks that predict numbers: landmarks of an image, an age, a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from monai_smia.victims.base import Victim
from monai_smia.victims.choice import Choice
from monai_smia.victims.gate import check_prediction, plain_of

HALF = (torch.float16, torch.bfloat16)


def mean_error(output: Errors, prediction: Tensor, target: Tensor) -> Tensor:
    """Mean error, which one value that is far off may make alone."""
    return output.mean(output.errors(prediction, target), target)


def squared_error(output: Errors, prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of the squared errors."""
    return output.mean(output.errors(prediction, target).square(), target)


def soft_beyond(output: Errors, prediction: Tensor, target: Tensor) -> Tensor:
    """The share of values that are too far off, made smooth: an error of ``within`` counts half, none counts 0."""
    errors = output.errors(prediction, target)
    return output.mean(errors / (errors + output.within), target)


@dataclass(frozen=True)
class Errors:
    """How far predicted numbers are off: each by itself, or points by their distance.

    Args:
        within: error up to which a value counts as right.
        point_axis: axis that holds the coordinates of a point; None where every number is a value of its own.

    Example:
        >>> found, truth = torch.tensor([[[3.0, 1.0], [4.0, 0.0]]]), torch.zeros(1, 2, 2)
        >>> Errors(2.0, point_axis=1).errors(found, truth).tolist(), Errors(2.0).errors(found, truth).flatten().tolist()
        ([[5.0, 1.0]], [3.0, 1.0, 4.0, 0.0])
    """

    within: float
    point_axis: int | None = None

    def errors(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The error of every value or point; 0 of one whose target is NaN.

        Where prediction and target are the same, as they are when a clean prediction is the reference, the gradient is
        that of any one direction, and not 0: an attack could not leave the clean image.
        """
        prediction = prediction.float() if prediction.dtype in HALF else prediction
        difference = prediction - target.to(prediction)
        difference = difference.where(difference.isfinite(), 0)
        if self.point_axis is None:
            return difference.where(difference.detach() >= 0, -difference)
        axis = self.point_axis
        length = difference.detach().norm(dim=axis, keepdim=True)
        anywhere = torch.full_like(difference, difference.shape[axis] ** -0.5)
        direction = anywhere.where(length == 0, difference.detach() / length)
        return (difference * direction).sum(axis)

    def counted(self, target: Tensor) -> Tensor:
        """Which values or points have a target."""
        known = target.isfinite()
        return known if self.point_axis is None else known.all(self.point_axis)

    def mean(self, values: Tensor, target: Tensor) -> Tensor:
        """The mean over the values or points of each sample that have a target ``(B,)``."""
        counted = self.counted(target).to(values).reshape(len(values), -1)
        return (values.reshape(len(values), -1) * counted).sum(1) / counted.sum(1)


@dataclass(kw_only=True, eq=False)
class RegressionVictim(Victim):
    """A network that predicts numbers ``(B, ...)``, such as landmarks ``(B, 2, N)``; 2-D or 3-D images.

    A label has the shape of the prediction and NaN where a value is not known. Damage is the share of values that are
    further off than `within`; of points it is 1 - the success detection rate at that distance.

    Args:
        network: maps ``(B, C, *spatial)`` to numbers ``(B, ...)``, in a unit of their own.
        within: error up to which a value counts as right, > 0, in that unit.
        point_axis: axis of the prediction that holds the coordinates of a point (1 of ``(B, 2, N)``), whose error is
            the Euclidean distance; None where every number is a value of its own.
        loss: ``"mean_error"``, ``"squared_error"``, ``"soft_beyond"`` (the share that is too far off, made smooth), or
            a callable ``(prediction, label) -> (B,)``.
        divergence: ``"mean_error"``, ``"squared_error"``, or a callable ``(prediction, reference) -> (B,)``.
        inferer, preprocessing, image_key, straight_through, degradation: as for `Victim`.

    Raises:
        ValueError: if an argument is outside its range; in use, if a label does not fit.

    Example:
        >>> victim = RegressionVictim(torch.nn.Identity(), within=2.0, point_axis=1)
        >>> found, label = torch.tensor([[[5.0, 1.0], [4.0, 0.0]]]), torch.tensor([[[5.0, 1.0], [1.0, 1.0]]])
        >>> victim.damage(found, label).tolist()
        [0.5]
    """

    losses = {"mean_error": mean_error, "squared_error": squared_error, "soft_beyond": soft_beyond}
    divergences = {"mean_error": mean_error, "squared_error": squared_error}

    within: float
    point_axis: int | None = None
    loss: Choice = Choice("mean_error")
    divergence: Choice = Choice("squared_error")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(self.within)
        if self.point_axis is not None and (type(self.point_axis) is not int or self.point_axis == 0):
            raise ValueError(f"point_axis must be a whole number other than 0, or None, got {self.point_axis!r}.")

    @property
    def output(self) -> Errors:
        """How far numbers are off."""
        return Errors(self.within, self.point_axis)

    def forward(self, network_input: Tensor) -> Tensor:
        """The network's numbers, those of half precision in float32.

        Raises:
            ValueError: if it returns anything but one tensor ``(B, ...)`` that has the axis of the points.
        """
        numbers = super().forward(network_input)
        if not isinstance(numbers, Tensor):
            raise ValueError(f"the network must return one tensor of numbers, got {type(numbers).__name__}.")
        axis = self.point_axis
        if axis is not None and (not -numbers.ndim < axis < numbers.ndim or axis == 0):
            raise ValueError(
                f"point_axis must be an axis behind the first of what the network returns, {tuple(numbers.shape)}, "
                f"got {axis}."
            )
        return numbers.float() if numbers.dtype in HALF else numbers

    def as_label(self, label: Any) -> Any:
        """Numbers without metadata, integers as float32."""
        if not isinstance(label, Tensor):
            return label
        return plain_of(label) if label.is_floating_point() else plain_of(label).float()

    def errors(self, prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """The error of every value or point, and which of them have a target.

        Raises:
            ValueError: if the label does not fit, or what was predicted is NaN or infinite: nobody knows how far off.
        """
        target = self.target(label)
        self.check_label(prediction, target)
        check_prediction(prediction)
        return self.output.errors(prediction, target).detach(), self.output.counted(target)

    def decide(self, prediction: Tensor) -> Tensor:
        """The numbers."""
        return prediction.detach()

    def damage(self, prediction: Tensor, label: Tensor) -> Tensor:
        """The share of values or points that are further off than `within` ``(B,)``."""
        errors, _ = self.errors(prediction, label)
        return self.output.mean((errors > self.within).to(errors), self.target(label))

    def check_label(self, prediction: Any, label: Any) -> None:
        """Raise where the label does not hold a number for each that is predicted, or none that is known."""
        if not isinstance(label, Tensor) or label.shape != prediction.shape:
            got = tuple(label.shape) if isinstance(label, Tensor) else type(label).__name__
            raise ValueError(f"label must hold numbers of the shape {tuple(prediction.shape)}, got {got}.")
        if bool(label.isinf().any()):
            raise ValueError("label must hold numbers, or NaN where one is not known, got infinite ones.")
        if not bool(self.output.counted(label).reshape(len(label), -1).any(1).all()):
            raise ValueError("label must hold a number that is known for every sample, got NaN throughout.")


def check_within(within: Any) -> None:
    """Raise where an error up to which a value is right is none."""
    if isinstance(within, bool) or not isinstance(within, (int, float)) or not 0 < within < float("inf"):
        raise ValueError(
            "within must be a number > 0, the error up to which a predicted number counts as right, in its own unit, "
            f"got {within!r}."
        )
