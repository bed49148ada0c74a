"""Predictions behind their gate: made, decided and scored only where they are finite and of the right shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import torch
from torch import Tensor

from monai_smia.victims.gate import SeenShapes, check_prediction, tensors_of

GATED = {"predict": "forward", "decide": "decision_of", "damage": "damage_of"}  # final methods and what is behind them


class Gated(ABC):
    """Predicts, decides and scores by three final methods that check; a task puts its own behind them.

    A prediction is finite, has an entry for every sample, and keeps its shape from call to call. Nobody can leave out
    the check: a subclass that defines one of the final methods is a TypeError.
    """

    _seen: SeenShapes | None

    def __init_subclass__(cls) -> None:
        for name, own in GATED.items():
            if name in vars(cls):
                raise TypeError(f"{cls.__name__}.{name} checks every prediction and is final: define `{own}` instead.")

    @final
    def predict(self, image: Tensor) -> Any:
        """Raw prediction, before any decision; differentiable with respect to the image.

        Args:
            image: ``(B, C, *spatial)``; on the case's own grid where the victim holds its preprocessing.

        Raises:
            ValueError: if the prediction is NaN or infinite, not one entry per sample, or of another shape than before.
        """
        prediction = self.forward(self.network_input(image))
        if self.batch_size(prediction) != len(image):
            raise ValueError(
                f"the network must predict one entry per sample, {len(image)}, got {self.batch_size(prediction)}."
            )
        check_prediction(prediction)
        if self._seen is not None:
            self._seen.check(prediction)
        return prediction

    @final
    @torch.no_grad()
    def decide(self, prediction: Any) -> Any:
        """The decision (classes, masks or boxes), without gradient.

        Raises:
            ValueError: if the prediction is NaN or infinite.
        """
        check_prediction(prediction)
        return self.decision_of(prediction)

    @final
    @torch.no_grad()
    def damage(self, prediction: Any, label: Any) -> Tensor:
        """Damage of every sample ``(B,)``: 0 where the decision is right, 1 where it is all wrong.

        Raises:
            ValueError: if the prediction is NaN or infinite, or the damage is not a value in [0, 1] per sample.
        """
        check_prediction(prediction)
        damage = self.damage_of(prediction, label)
        count = self.batch_size(prediction)
        if damage.shape != (count,) or not bool(((damage >= 0) & (damage <= 1)).all()):
            raise ValueError(f"damage must be a value in [0, 1] for each of {count} samples, got {damage.tolist()}.")
        return damage

    @abstractmethod
    def decision_of(self, prediction: Any) -> Any:
        """The decision of a checked prediction; `decide` is what is called."""

    @abstractmethod
    def damage_of(self, prediction: Any, label: Any) -> Tensor:
        """The damage by a checked prediction ``(B,)``, in [0, 1]; `damage` is what is called."""

    @abstractmethod
    def network_input(self, image: Tensor) -> Tensor:
        """The image as the network is given it."""

    @abstractmethod
    def forward(self, network_input: Tensor) -> Any:
        """The raw prediction of what the network is given; `predict` is what is called."""

    # ---- of batches of tensors; a victim of another prediction type overrides these

    def batch_size(self, prediction: Any) -> int:
        """Number of samples of a prediction: that of its first tensor."""
        return len(next(tensors_of(prediction)))

    def detach(self, prediction: Any) -> Any:
        """The prediction without its graph."""
        return prediction.detach()

    def select_label(self, label: Any, index: Tensor) -> Any:
        """The labels of some samples."""
        return label[index]
