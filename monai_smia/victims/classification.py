"""Classification networks."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_smia.victims.logits import LogitsVictim


class ClassificationVictim(LogitsVictim):
    """A classification network, 2-D or 3-D.

    Args:
        network: maps ``(B, C, *spatial)`` to raw logits ``(B, K)``.
        activation: ``"softmax"`` for K exclusive classes, labels ``(B,)``; ``"sigmoid"`` for several labels or a single
            logit, labels ``(B, K)`` of 0/1 (``(B,)`` for a single logit).
        ignore_index: label value that does not count (``"sigmoid"``).
        loss: ``"cross_entropy"``, ``"margin"`` (highest wrong logit minus the true one), a loss module, or a callable
            ``(prediction, label) -> (B,)``.
        divergence: ``"cross_entropy"`` (Eq. 3), ``"kl"`` (Eq. 5), ``"reverse_kl"``, or a callable
            ``(prediction, reference) -> (B,)``.
        **options: `inferer`, `preprocessing`, `image_key` as for `Victim`.

    Raises:
        ValueError: if an argument is outside its range; in use, if a label does not fit.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> victim = ClassificationVictim(network, loss="margin")
        >>> prediction = torch.tensor([[2.0, 0.0, 1.0]])
        >>> victim.loss(prediction, torch.tensor([0])).tolist(), victim.damage(prediction, torch.tensor([1])).tolist()
        ([-1.0], [1.0])
    """

    losses = {
        "cross_entropy": lambda victim, p, y: victim.cross_entropy(p, y),
        "margin": lambda victim, p, y: victim.margin(p, y),
    }

    def target(self, label: Tensor) -> Tensor:
        """Class numbers ``(B,)``, or 0/1 ``(B, K)``."""
        return label.unsqueeze(1) if self.activation == "sigmoid" and label.ndim == 1 else label

    def margin(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Highest wrong logit minus the true one ``(B,)``; with ``"sigmoid"`` the largest logit on the wrong side."""
        target = self.target(label)
        if self.activation == "sigmoid":
            return torch.where(target == 1, -prediction, prediction).amax(1)
        truth = self.output.one_hot(target, prediction.shape[1])
        return prediction.masked_fill(truth, -torch.inf).amax(1) - prediction[truth]

    @torch.no_grad()
    def decide(self, prediction: Tensor) -> Tensor:
        """Class numbers ``(B,)``, or 0/1 ``(B, K)``."""
        return self.output.decide(prediction)

    @torch.no_grad()
    def damage(self, prediction: Tensor, label: Tensor) -> Tensor:
        """1 where the decision is wrong; with several labels the share of wrong ones ``(B,)``."""
        target = self.target(label)
        wrong = self.output.decide(prediction) != target
        if self.activation == "softmax":
            return wrong.to(prediction.dtype)
        counted = torch.ones_like(wrong) if self.ignore_index is None else target != self.ignore_index
        return (wrong & counted).sum(1) / counted.sum(1).clamp_min(1)
