"""The better one of two adversarial images."""

from __future__ import annotations

import torch
from torch import Tensor

from monai_smia.attacks.measures import where
from monai_smia.attacks.result import AttackResult


def is_better(damage: Tensor, loss: Tensor, old_damage: Tensor, old_loss: Tensor, *, targeted: bool) -> Tensor:
    """More damage, then higher deviation loss (targeted: less of both); anything is better than NaN."""
    if targeted:
        damage, loss, old_damage, old_loss = -damage, -loss, -old_damage, -old_loss
    return old_damage.isnan() | (damage > old_damage) | ((damage == old_damage) & (loss > old_loss))


def better_of(first: AttackResult, second: AttackResult, *, targeted: bool) -> AttackResult:
    """Per sample the better of two results; the gradients of both count."""
    take = is_better(second.damage, second.loss, first.damage, first.loss, targeted=targeted)
    return taken(first, second, take)


def taken(first: AttackResult, second: AttackResult, take: Tensor) -> AttackResult:
    """Of two results the second where `take` says so ``(B,)``; the gradients of both count."""
    return AttackResult(
        adversarial=where(take, second.adversarial, first.adversarial),
        perturbation=where(take, second.perturbation, first.perturbation),
        loss_history=torch.where(take, second.loss_history, first.loss_history),
        cosine=torch.where(take, second.cosine, first.cosine),
        linf=torch.where(take, second.linf, first.linf),
        gradients=first.gradients + second.gradients,
        loss=torch.where(take, second.loss, first.loss),
        damage=torch.where(take, second.damage, first.damage),
        clean_damage=first.clean_damage,
        variance=torch.where(take, second.variance, first.variance),
        zero_gradient_steps=first.zero_gradient_steps + second.zero_gradient_steps,
    )
