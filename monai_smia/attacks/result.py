"""The result of an attack."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

HISTORIES = ("loss_history", "cosine", "linf", "variance")  # (steps, B); all others begin with B


@dataclass(frozen=True)
class AttackResult:
    """Adversarial images and how the attack came to them; every tensor is detached.

    Args:
        adversarial: adversarial batch ``(B, C, *spatial)``, of the image's type (a MetaTensor keeps its affine).
        perturbation: adversarial minus image, same shape.
        loss_history: deviation loss of every iterate ``(steps + 1, B)``; ``steps`` rows with ``keep="last"`` and no
            `stop_at`. The value of a sample that stopped early is carried on. With restarts: the run that the sample
            was taken from.
        cosine: cosine between consecutive unprojected steps ``(steps - 1, B)``; NaN after an early stop.
        linf: largest absolute perturbation of every iterate ``(steps + 1, B)``.
        gradients: gradients taken per sample over all restarts ``(B,)``.
        loss: deviation loss of the returned image ``(B,)``; NaN with ``keep="last"`` and no `stop_at`.
        damage: the victim's damage of the returned image ``(B,)``; NaN with ``keep="last"`` and no `stop_at`.
        clean_damage: that of the clean image, which is no attack's ``(B,)``; NaN where `damage` is.
        variance: population variance of every iterate's perturbation ``(steps + 1, B)``.
        zero_gradient_steps: steps per sample whose gradient was zero everywhere ``(B,)``.
        unresolved: share of the perturbation that rounds away in the network's input, in the precision of the attack's
            `autocast`, weighed by its square ``(B,)``; NaN without, and of what `Attack.run` returns.
    """

    adversarial: Tensor
    perturbation: Tensor
    loss_history: Tensor
    cosine: Tensor
    linf: Tensor
    gradients: Tensor
    loss: Tensor
    damage: Tensor
    clean_damage: Tensor
    variance: Tensor
    zero_gradient_steps: Tensor
    unresolved: Tensor = field(default=None, kw_only=True)  # type: ignore[assignment]  # a tensor from here on

    def __post_init__(self) -> None:
        if self.unresolved is None:
            object.__setattr__(self, "unresolved", torch.full_like(self.damage, torch.nan))

    @property
    def added_damage(self) -> Tensor:
        """Damage of the returned image less that of the clean one: the attack's own ``(B,)``."""
        return self.damage - self.clean_damage

    @property
    def still_steps(self) -> Tensor:
        """Deprecated name of `zero_gradient_steps`."""
        warnings.warn(
            "AttackResult.still_steps is deprecated and will be removed in 0.3: use zero_gradient_steps.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.zero_gradient_steps


def spread(part: AttackResult, whole: AttackResult, index: Tensor) -> AttackResult:
    """A result of some samples of a batch as one of all: nothing is known of the others, and they took no gradient.

    Args:
        part: of the samples that `index` selects.
        whole: another result of the batch, whose shapes are taken; histories get as many rows as the longer of both.
        index: boolean mask ``(B,)``.
    """

    def of_all(name: str, samples_last: bool) -> Tensor:
        ours: Tensor = getattr(part, name)
        theirs: Tensor = getattr(whole, name)
        if not samples_last:
            full = theirs.clone() if ours.ndim > 1 else theirs.new_zeros(theirs.shape)
            if full.is_floating_point() and full.ndim == 1:
                full.fill_(torch.nan)
            full[index] = ours.to(full)
            return full
        full = theirs.new_full((max(len(ours), len(theirs)), theirs.shape[1]), torch.nan)
        full[: len(ours), index] = ours.to(full)
        return full

    return AttackResult(**{f.name: of_all(f.name, f.name in HISTORIES) for f in fields(AttackResult)})


def same_length(*results: AttackResult) -> list[AttackResult]:
    """Results with histories as long as the longest: the last value carried on, NaN for cosines."""

    def longer(result: AttackResult, name: str) -> Tensor:
        own: Tensor = getattr(result, name)
        missing = max(len(getattr(other, name)) for other in results) - len(own)
        last = own[-1:] if name != "cosine" and len(own) else own.new_full((1, own.shape[1]), torch.nan)
        return torch.cat([own, last.expand(missing, -1)])

    return [replace(result, **{name: longer(result, name) for name in HISTORIES}) for result in results]


def joined(results: Sequence[AttackResult]) -> AttackResult:
    """Results of parts of a batch, in their order, as one of all."""
    alike = same_length(*results)

    def together(name: str) -> Tensor:
        return torch.cat([getattr(result, name) for result in alike], dim=1 if name in HISTORIES else 0)

    return AttackResult(**{f.name: together(f.name) for f in fields(AttackResult)})
