"""The iterates of one run: what is measured of each, and the best one of every sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from monai_smia.attacks.best import is_better
from monai_smia.attacks.measures import cosine, is_zero, length, perturbation_stats
from monai_smia.attacks.result import AttackResult


class Trajectory:
    """Histories of all samples of a batch, some of which may have left it, and the images to return.

    Args:
        image: clean batch ``(B, C, *spatial)``.
        start: first iterate, returned where nothing else is taken; None for the image.
        targeted: whether less damage is better.
    """

    def __init__(self, image: Tensor, start: Tensor | None = None, *, targeted: bool = False) -> None:
        self.clean, self.targeted = image, targeted
        self.returned = image if start is None else start
        self._owned = False  # whether nobody else holds `returned`, and it may be written into
        self.damage, self.clean_damage = self._blank(), self._blank()
        self.loss = self._blank()
        self.gradients = torch.zeros_like(self.damage, dtype=torch.long)
        self.zero_gradient_steps = torch.zeros_like(self.gradients)
        self._losses: list[Tensor] = []
        self._linf: list[Tensor] = []
        self._variance: list[Tensor] = []
        self._cosine: list[Tensor] = []
        self._length = self._blank()  # of the step before
        # the samples still attacked: by number, and as an index that is free of charge while it is all of them
        self._number = torch.arange(len(image), device=image.device)
        self._index: slice | Tensor = slice(None)

    def add_size(self, adversarial: Tensor, image: Tensor) -> None:
        """Measure the perturbation of an iterate of the samples still attacked."""
        largest, variance = perturbation_stats(adversarial, image)
        self._linf.append(self._row(largest))
        self._variance.append(self._row(variance))

    def add_loss(self, loss: Tensor) -> None:
        """Note the deviation loss of an iterate ``(B,)``."""
        self._losses.append(self._row(loss.detach()))

    def add_step(
        self,
        step: Tensor,
        previous: Tensor | None,
        gradients: int,
        going: Tensor | None = None,
        zero_gradient: Tensor | None = None,
    ) -> None:
        """Note an unprojected step of the samples that go on.

        Args:
            step: of all samples still attacked.
            previous: the step before, None before the second.
            gradients: taken for it, per sample.
            going: which samples take the step ``(B,)``; None for all of them.
            zero_gradient: which samples had no gradient ``(B,)``; None for those whose step is zero.
        """
        size = length(step)
        if zero_gradient is None:
            zero_gradient = size == 0
            if bool(zero_gradient.any()):  # seldom: the exact answer takes another pass
                zero_gradient = is_zero(step)
        if previous is not None:
            found = cosine(step, previous, size * self._length)
            self._cosine.append(self._row(found if going is None else found.where(going, torch.nan)))
        self._length = size if going is None else size[going]
        if going is None and isinstance(self._index, slice):
            self.gradients += gradients
            self.zero_gradient_steps += zero_gradient
        else:
            there = self._number if going is None else self._number[going]
            self.gradients[there] += gradients
            self.zero_gradient_steps[there] += zero_gradient if going is None else zero_gradient[going]

    def take_better(self, adversarial: Tensor, damage: Tensor, loss: Tensor) -> None:
        """Return this iterate where it does more damage than those before, or as much at a higher loss."""
        self.take(adversarial, damage, loss, self.is_better(damage, loss))

    def is_better(self, damage: Tensor, loss: Tensor) -> Tensor:
        """Whether an iterate of this damage and loss would be taken ``(B,)``."""
        damage, loss = damage.to(self.damage), loss.detach().to(self.loss)
        return is_better(damage, loss, self.damage[self._index], self.loss[self._index], targeted=self.targeted)

    def take(self, adversarial: Tensor, damage: Tensor, loss: Tensor, which: Tensor) -> None:
        """Return this iterate of the samples that `which` says ``(B,)``."""
        if not bool(which.any()):
            return
        loss, damage = loss.detach().to(self.loss), damage.to(self.damage)
        if isinstance(self._index, slice) and bool(which.all()):  # held, not copied
            self.returned, self._owned, self.loss, self.damage = adversarial.detach(), False, loss, damage
            return
        taken = self._number[which]
        self._own()
        self.returned[taken] = adversarial.detach()[which]
        self.loss = self.loss.index_copy(0, taken, loss[which])
        self.damage = self.damage.index_copy(0, taken, damage[which])

    def note_clean(self, damage: Tensor) -> None:
        """Note the damage of the clean batch ``(B,)``."""
        self.clean_damage = damage.to(self.damage)

    def return_as_is(self, adversarial: Tensor) -> None:
        """Return the last iterate of the samples still attacked, whatever it is worth."""
        if isinstance(self._index, slice):
            self.returned, self._owned = adversarial.detach(), False
        else:
            self._own()
            self.returned[self._index] = adversarial

    def _own(self) -> None:
        """Make `returned` a tensor that may be written into."""
        if not self._owned:
            self.returned, self._owned = self.returned.clone(), True

    def drop(self, going: Tensor) -> None:
        """Go on with these samples of those still attacked."""
        self._index = self._number = self._number[going]

    def result(self, *, steps: int | None = None, losses: int | None = None) -> AttackResult:
        """The result.

        Args:
            steps: how many were planned: histories are carried on to this length; None for as many as there were.
            losses: rows of the loss history, with `steps`.
        """
        self._own()  # neither the caller's image nor an attack's own iterate
        count = len(self._linf) - 1 if steps is None else steps
        return AttackResult(
            adversarial=self.returned,
            perturbation=self.returned - self.clean,
            loss_history=_carried_on(self._stacked(self._losses, len(self._losses) if losses is None else losses)),
            cosine=self._stacked(self._cosine, max(count - 1, 0)),
            linf=_carried_on(self._stacked(self._linf, count + 1)),
            gradients=self.gradients,
            loss=self.loss,
            damage=self.damage,
            clean_damage=self.clean_damage,
            variance=_carried_on(self._stacked(self._variance, count + 1)),
            zero_gradient_steps=self.zero_gradient_steps,
        )

    def _blank(self) -> Tensor:
        return self.clean.new_full((len(self.clean),), torch.nan)

    def _row(self, values: Tensor) -> Tensor:
        """Values of the samples still attacked as those of all; NaN for the others."""
        if isinstance(self._index, slice):
            return values.to(self.damage)
        row = self._blank()
        row[self._index] = values.to(row)
        return row

    def _stacked(self, rows: Sequence[Tensor], count: int) -> Tensor:
        """As many rows as there are to be; NaN in those that were never reached."""
        return (
            torch.stack([*rows, *[self._blank()] * (count - len(rows))])
            if count
            else self.clean.new_zeros(0, len(self.clean))
        )


def _carried_on(history: Tensor) -> Tensor:
    """The history with the last value of a sample that stopped in the rows that it has none for."""
    missing = history.isnan()
    if not bool(missing.any()):
        return history
    row = torch.arange(len(history), device=history.device).unsqueeze(1)
    return history.gather(0, row.where(~missing, 0).cummax(0).values)
