"""Which of two adversarial images is the better one, and the best of many."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackResult
from monai_smia.attacks.records import sizes


def is_better(damage: Tensor, loss: Tensor, old_damage: Tensor, old_loss: Tensor, *, targeted: bool) -> Tensor:
    """More damage, then higher deviation loss (targeted: less of both); anything is better than NaN."""
    if targeted:
        damage, loss, old_damage, old_loss = -damage, -loss, -old_damage, -old_loss
    return old_damage.isnan() | (damage > old_damage) | ((damage == old_damage) & (loss > old_loss))


def better_of(first: AttackResult, second: AttackResult, *, targeted: bool) -> AttackResult:
    """Per sample the better of two results; the gradients of both count."""
    take = is_better(second.damage, second.loss, first.damage, first.loss, targeted=targeted)
    volumes = take.view(-1, *[1] * (first.adversarial.ndim - 1))
    return AttackResult(
        adversarial=torch.where(volumes, second.adversarial, first.adversarial),
        perturbation=torch.where(volumes, second.perturbation, first.perturbation),
        loss_history=torch.where(take, second.loss_history, first.loss_history),
        cosine=torch.where(take, second.cosine, first.cosine),
        linf=torch.where(take, second.linf, first.linf),
        gradients=first.gradients + second.gradients,
        loss=torch.where(take, second.loss, first.loss),
        damage=torch.where(take, second.damage, first.damage),
        variance=_either(take, first.variance, second.variance),
        still_steps=None
        if first.still_steps is None or second.still_steps is None
        else first.still_steps + second.still_steps,
    )


def _either(take: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return None if first is None or second is None else torch.where(take, second, first)


class Best:
    """The best image so far of every sample, and the history of all that were looked at.

    Args:
        image: clean batch ``(B, C, *spatial)``.
        targeted: whether less damage is better.
    """

    def __init__(self, image: Tensor, *, targeted: bool = False) -> None:
        self.clean, self.image, self.targeted = image, image, targeted
        self.damage = torch.full((len(image),), torch.nan, dtype=image.dtype, device=image.device)
        self.loss = self.damage.clone()
        self.losses: list[Tensor] = []
        self.linf: list[Tensor] = []
        self.variance: list[Tensor] = []

    def add(self, candidate: Tensor, damage: Tensor, loss: Tensor, take: Tensor | None = None) -> None:
        """Look at one image of every sample.

        Args:
            candidate: of the clean batch's shape.
            damage: its damage ``(B,)``.
            loss: its deviation loss ``(B,)``.
            take: which samples to keep it for; None where it is better by damage, then loss.
        """
        damage, loss = damage.to(self.damage), loss.detach().to(self.loss)
        if take is None:
            take = is_better(damage, loss, self.damage, self.loss, targeted=self.targeted)
        self.damage, self.loss = torch.where(take, damage, self.damage), torch.where(take, loss, self.loss)
        self.image = torch.where(take.view(-1, *[1] * (candidate.ndim - 1)), candidate, self.image)
        self.losses.append(loss)
        largest, variance = sizes(candidate, self.clean)
        self.linf.append(largest)
        self.variance.append(variance)

    def result(
        self, *, gradients: int = 0, cosine: Tensor | None = None, still_steps: Tensor | None = None
    ) -> AttackResult:
        """The result, `gradients` having been taken of every sample."""
        none = torch.zeros_like(self.damage, dtype=torch.long)
        return AttackResult(
            adversarial=self.image,
            perturbation=self.image - self.clean,
            loss_history=torch.stack(self.losses),
            cosine=self.clean.new_zeros(0, len(self.clean)) if cosine is None else cosine,
            linf=torch.stack(self.linf),
            gradients=none + gradients,
            loss=self.loss,
            damage=self.damage,
            variance=torch.stack(self.variance),
            still_steps=none if still_steps is None else still_steps,
        )
