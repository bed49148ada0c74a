"""Classification networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from monai_smia.victims import logit_losses
from monai_smia.victims.logits import LogitsVictim
from monai_smia.victims.outputs import Ordinal


@dataclass(kw_only=True, eq=False)
class ClassificationVictim(LogitsVictim):
    """A classification network, 2-D or 3-D.

    Args:
        network: maps ``(B, C, *spatial)`` to raw logits ``(B, K)``; ``(B, K - 1)`` of an ordinal grader.
        activation: ``"softmax"`` for K exclusive classes, labels ``(B,)``; ``"sigmoid"`` for several labels or a single
            logit, labels ``(B, K)`` of 0/1 (``(B,)`` for a single logit); ``"ordinal"`` for K ordered grades, whose
            k-th logit says "more than grade k", labels ``(B,)`` of 0 to K - 1.
        ignore_index: label value that does not count (``"sigmoid"``).
        loss: ``"cross_entropy"``, ``"margin"`` (highest wrong logit minus the true one), a loss module, or a callable
            ``(prediction, label) -> (B,)``.
        divergence: ``"cross_entropy"`` (Eq. 3), ``"kl"`` (Eq. 5), ``"reverse_kl"``, or a callable
            ``(prediction, reference) -> (B,)``.
        inferer, preprocessing, image_key, straight_through, degradation: as for `Victim`.

    Raises:
        ValueError: if an argument is outside its range; in use, if a label does not fit.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> victim = ClassificationVictim(network, loss="margin")
        >>> prediction = torch.tensor([[2.0, 0.0, 1.0]])
        >>> victim.loss(prediction, torch.tensor([0])).tolist(), victim.damage(prediction, torch.tensor([1])).tolist()
        ([-1.0], [1.0])
    """

    losses = {"cross_entropy": logit_losses.cross_entropy, "margin": logit_losses.margin}

    def target(self, label: Tensor) -> Tensor:
        """Class numbers ``(B,)``, or 0/1 ``(B, K)``."""
        label = self.as_label(label)
        return label.unsqueeze(1) if self.activation == "sigmoid" and label.ndim == 1 else label

    def scores(self, prediction: Tensor) -> Tensor:
        """One score a class ``(B, K)``, differentiable; the decision is the class with the highest.

        Raises:
            ValueError: with several labels, where the decision is no single class.
        """
        if isinstance(self.output, Ordinal):  # the k-th minus the one before is the logit of the threshold between them
            passed = self.output.ordered(prediction).cumsum(1)
            return torch.cat([torch.zeros_like(passed[:, :1]), passed], 1)
        if self.activation == "softmax":
            return prediction
        if prediction.shape[1] > 1:
            raise ValueError(f"one class must be decided for: activation='sigmoid' has {prediction.shape[1]} labels.")
        return torch.cat([torch.zeros_like(prediction), prediction], 1)

    def decide(self, prediction: Tensor) -> Tensor:
        """Class numbers or grades ``(B,)``, or 0/1 ``(B, K)``."""
        return self.output.decide(prediction)

    def damage(self, prediction: Tensor, label: Tensor) -> Tensor:
        """1 where the decision is wrong; with several labels, of those that count, the share of wrong ones ``(B,)``."""
        target = self.target(label)
        self.check_fits(prediction, label, target)
        wrong = self.output.decide(prediction) != target
        if wrong.ndim == 1:
            return wrong.to(prediction.dtype)
        counted = self.output.counted(target)
        counted = torch.ones_like(wrong) if counted is None else counted
        return (wrong & counted).sum(1) / counted.sum(1)
