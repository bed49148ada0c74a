"""Predictions behind their gate: made, decided and scored only where they are finite and of the right shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from monai_smia.victims.gate import SeenShapes, check_prediction, tensors_of


def checked_predict(predict: Callable[..., Any]) -> Callable[..., Any]:
    """`predict`, refusing a prediction that is not finite, one entry per sample and of the same shape as before."""

    @wraps(predict)
    def check(victim: Gated, image: Tensor) -> Any:
        prediction = predict(victim, image)
        if victim.batch_size(prediction) != len(image):
            raise ValueError(
                f"the network must predict one entry per sample, {len(image)}, got {victim.batch_size(prediction)}, of "
                f"an image {tuple(image.shape)}, which must be a batch (B, C, *spatial)."
            )
        check_prediction(prediction)
        if victim._seen is not None:
            victim._seen.check(prediction)
        return prediction

    return check


def checked_decide(decide: Callable[..., Any]) -> Callable[..., Any]:
    """`decide`, refusing a prediction that is not finite; without gradient."""

    @wraps(decide)
    @torch.no_grad()
    def check(victim: Gated, prediction: Any) -> Any:
        check_prediction(prediction)
        return decide(victim, prediction)

    return check


def checked_damage(damage: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`damage`, refusing a prediction that is not finite and a damage outside of [0, 1]; without gradient."""

    @wraps(damage)
    @torch.no_grad()
    def check(victim: Gated, prediction: Any, label: Any) -> Tensor:
        check_prediction(prediction)
        found, count = damage(victim, prediction, label), victim.batch_size(prediction)
        if found.shape != (count,) or not all(0 <= value <= 1 for value in found.tolist()):
            raise ValueError(f"damage must be a value in [0, 1] for each of {count} samples, got {found.tolist()}.")
        return found

    return check


CHECKED: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "predict": checked_predict,
    "decide": checked_decide,
    "damage": checked_damage,
}


class Gated(ABC):
    """Predicts, decides and scores by three methods that check, whoever defines them.

    A prediction is finite, has an entry for every sample, and keeps its shape from call to call. Nobody can leave out
    the check: a subclass's own `predict`, `decide` or `damage` is wrapped in it.
    """

    _seen: SeenShapes | None

    def __init_subclass__(cls) -> None:
        for name, checked in CHECKED.items():
            if name in vars(cls):
                setattr(cls, name, checked(vars(cls)[name]))

    @abstractmethod
    def predict(self, image: Tensor) -> Any:
        """Raw prediction, before any decision; differentiable with respect to the image."""

    @abstractmethod
    def decide(self, prediction: Any) -> Any:
        """The decision (classes, masks or boxes), without gradient.

        Raises:
            ValueError: if the prediction is NaN or infinite.
        """

    @abstractmethod
    def damage(self, prediction: Any, label: Any) -> Tensor:
        """Damage of every sample ``(B,)``: 0 where the decision is right, 1 where it is all wrong; without gradient.

        Raises:
            ValueError: if the prediction is NaN or infinite, or the damage is not a value in [0, 1] per sample.
        """

    # ---- of batches of tensors; a victim of another prediction type overrides these

    def batch_size(self, prediction: Any) -> int:
        """Number of samples of a prediction: that of its first tensor."""
        return len(prediction if isinstance(prediction, Tensor) else tensors_of(prediction)[0])

    def detach(self, prediction: Any) -> Any:
        """The prediction without its graph."""
        return prediction.detach()

    def select_label(self, label: Any, index: Tensor) -> Any:
        """The labels of some samples."""
        return label[index]
