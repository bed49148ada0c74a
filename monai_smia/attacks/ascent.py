"""One run of a projected ascent: its iterates, the samples still attacked, and what is recorded of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackResult
from monai_smia.attacks.best import is_better
from monai_smia.attacks.records import cosine, sizes, stands_still
from monai_smia.inferers import wanted_within
from monai_smia.threat import ThreatModel
from monai_smia.victims.base import Victim

if TYPE_CHECKING:
    from monai_smia.attacks.iterative import IterativeAttack


@dataclass
class Iterate:
    """One point of an ascent, as `IterativeAttack.objective` sees it; batches hold the samples still attacked."""

    step: int
    image: Tensor  # clean
    adversarial: Tensor  # requires grad
    label: Any
    prediction: Any  # of `adversarial`
    loss: Tensor  # deviation loss (B,)
    deviation: Tensor  # what is ascended: the deviation loss, negated for a targeted attack
    # tensors (B, ...) that live from step to step: the last unprojected "step", the "previous" iterate, ...
    memory: dict[str, Tensor]
    companion: Any = None  # prediction of the attack's second point, where it has one


class Ascent:
    """One run from one start: the samples still attacked, and what is known of all."""

    def __init__(
        self,
        attack: IterativeAttack,
        victim: Victim,
        image: Tensor,
        label: Any,
        threat: ThreatModel,
        generators: Sequence[torch.Generator],
    ) -> None:
        self.attack = attack
        self.clean = image
        self.adversarial = attack.start(image, threat, generators)
        self.returned = self.adversarial.clone()
        count = len(image)
        steps = attack.steps

        def blank(*shape: int) -> Tensor:
            return torch.full(shape, float("nan"), device=image.device, dtype=image.dtype)

        self.loss_history = blank(steps + (attack.keep == "best"), count)
        self.linf, self.variance = blank(steps + 1, count), blank(steps + 1, count)
        self.cosine = blank(max(steps - 1, 0), count)
        self.gradients = torch.zeros(count, dtype=torch.long, device=image.device)
        self.still_steps = torch.zeros_like(self.gradients)
        self.loss, self.damage = blank(count), blank(count)

        # the samples still attacked: by number, and as an index that is free of charge while it is all of them
        self.number = torch.arange(count, device=image.device)
        self.index: slice | Tensor = slice(None)
        self.victim, self.image, self.label, self.threat = victim, image, label, threat
        self.memory = attack.prepare(image, generators)

    def run(self, bar: Any) -> AttackResult:
        """All steps; `bar` is told of every iterate."""
        self._record_size(0)
        for step in range(len(self.loss_history)):
            final = step == self.attack.steps
            iterate = self._evaluate(step, final)
            going = self._score(iterate)
            bar.update()
            if final or not (going is None or bool(going.any())):
                break
            self._advance(iterate, going)
            if going is not None:
                self._drop(going)
            self._record_size(step + 1)
        if self.attack.keep == "last":
            self.returned[self.index] = self.adversarial
        return self._result()

    def _evaluate(self, step: int, final: bool) -> Iterate:
        adversarial = self.adversarial.detach().requires_grad_(not final)
        if self.threat.mask is not None:
            wanted_within(adversarial, self.threat.mask)
        with torch.set_grad_enabled(not final):
            second = None if final else self.attack.second_point(adversarial, self.image, self.memory, step)
            if second is None:
                prediction, companion = self.attack.predict(self.victim, adversarial, step), None
            else:
                prediction, companion = self.victim.predict_both(adversarial, second)
            if step == 0:
                self.victim.check_label(prediction, self.label)
            loss = self.victim.checked_loss(prediction, self.label)
        self.loss_history[step, self.index] = loss.detach().to(self.loss_history)
        deviation = -loss if self.attack.targeted else loss
        return Iterate(step, self.image, adversarial, self.label, prediction, loss, deviation, self.memory, companion)

    def _score(self, iterate: Iterate) -> Tensor | None:
        """Keep what is better than before; True for the samples to go on with, None for all of them."""
        attack, known = self.attack, (self.damage[self.index], self.loss[self.index])
        ended = attack.done(self.victim, iterate)
        damage, loss = known
        if attack.keep == "best" or attack.stop_at is not None:
            damage, loss = (value.to(self.damage) for value in attack.score(self.victim, iterate))
        if attack.stop_at is not None:
            solved = (1 - damage if attack.targeted else damage) >= attack.stop_at
            ended = solved if ended is None else ended | solved
        take = ended if attack.keep == "last" else is_better(damage, loss, *known, targeted=attack.targeted)
        if take is not None and bool(take.any()):
            taken = self.number[take]
            self.returned[taken] = iterate.adversarial.detach()[take]
            self.loss[taken], self.damage[taken] = loss[take], damage[take]
        return None if ended is None or not bool(ended.any()) else ~ended

    def _advance(self, iterate: Iterate, going: Tensor | None) -> None:
        step, memory = iterate.step, self.memory
        move, gradients = self.attack.move(self.victim, iterate, self.threat)
        here, there = (slice(None), self.index) if going is None else (going, self.number[going])
        if step > 0:
            self.cosine[step - 1, there] = cosine(move, memory["step"])[here]
        self.gradients[there] += gradients
        self.still_steps[there] += stands_still(move)[here]
        memory["step"], memory["previous"] = move, self.adversarial
        self.adversarial = self.threat.project(self.adversarial + move, self.image)

    def _record_size(self, row: int) -> None:
        self.linf[row, self.index], self.variance[row, self.index] = sizes(self.adversarial, self.image)

    def _drop(self, going: Tensor) -> None:
        self.index = self.number = self.number[going]
        self.victim, self.threat = self.victim.subset(going), self.threat.subset(going)
        self.image, self.adversarial = self.image[going], self.adversarial[going]
        self.label = self.victim.select_label(self.label, going)
        self.memory = {name: tensor[going] for name, tensor in self.memory.items()}

    def _result(self) -> AttackResult:
        return AttackResult(
            adversarial=self.returned,
            perturbation=self.returned - self.clean,
            loss_history=_carried_on(self.loss_history),
            cosine=self.cosine,
            linf=_carried_on(self.linf),
            gradients=self.gradients,
            loss=self.loss,
            damage=self.damage,
            variance=_carried_on(self.variance),
            still_steps=self.still_steps,
        )


def _carried_on(history: Tensor) -> Tensor:
    """The history with the last value of a sample that stopped in the rows that it has none for."""
    missing = history.isnan()
    if not bool(missing.any()):
        return history
    row = torch.arange(len(history), device=history.device).unsqueeze(1)
    return history.gather(0, row.where(~missing, 0).cummax(0).values)
