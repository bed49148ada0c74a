"""Auto-PGD."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks.base import AttackResult
from monai_smia.attacks.iterative import Iterate, gradient_of
from monai_smia.attacks.pgd import PGD
from monai_smia.threat import ThreatModel, per_sample
from monai_smia.victims.base import Victim

SEA_SCHEDULE = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))  # the Segmentation Ensemble Attack's (Croce et al., 2024)
MOMENTUM, RISING = 0.75, 0.75  # weight of the step against the last move; share of steps that should rise


class APGD(PGD):
    """Auto-PGD (Croce & Hein, ICML 2020): PGD that finds its own step size.

    Steps of ``2 * eps`` with momentum; at checkpoints that come closer and closer, a sample whose objective rose in
    fewer than three quarters of the steps, or not above its best, halves its step and goes on from its best point.

    With `schedule` it runs through larger balls first, each start being the last phase's result projected, as the
    Segmentation Ensemble Attack does; only iterates of the last phase, which obey the threat model, are returned.

    Args:
        schedule: pairs ``(radius / eps, share of the steps)``; the last radius is 1. `SEA_SCHEDULE` for segmentation.
        **options: as for `PGD`; `step_size` is that of the start.

    Raises:
        ValueError: if the schedule does not end at 1 or its shares do not sum to 1.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import APGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> image, label = torch.rand(1, 1, 16, 16), torch.randint(0, 2, (1, 1, 16, 16))
        >>> attack = APGD(eps=0.03, steps=10, loss="masked_cross_entropy", schedule=SEA_SCHEDULE)
        >>> result = attack(SegmentationVictim(network), image, label)
        >>> result.gradients.tolist(), bool(result.perturbation.abs().max() <= 0.03 + 1e-6)
        ([10], True)
    """

    def __init__(self, *, schedule: Sequence[tuple[float, float]] = ((1.0, 1.0),), **options: Any) -> None:
        super().__init__(**options)
        radii, shares = ([float(value) for value in column] for column in zip(*schedule, strict=True))
        if radii[-1] != 1 or min(radii) < 1 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"schedule must have radii >= 1 that end at 1, and shares that sum to 1, got {schedule}.")
        self.schedule = tuple(zip(radii, shares, strict=True))
        self._from: Tensor | None = None

    def default_step_size(self, eps: float | Tensor) -> float | Tensor:
        """Across the whole ball."""
        return 2 * eps

    def start(self, image: Tensor, threat: ThreatModel, generators: Sequence[torch.Generator]) -> Tensor:
        """As PGD; in later phases the last phase's result."""
        return super().start(image, threat, generators) if self._from is None else threat.project(self._from, image)

    def ascend(
        self,
        victim: Victim,
        image: Tensor,
        label: Any,
        threat: ThreatModel,
        generators: Sequence[torch.Generator],
        bar: Any,
    ) -> AttackResult:
        """The phases of the schedule, one after the other."""
        ends = [
            round(self.steps * sum(share for _, share in self.schedule[: i + 1])) for i in range(len(self.schedule))
        ]
        results: list[AttackResult] = []
        for (factor, _), begin, end in zip(self.schedule, [0, *ends], ends, strict=False):
            phase = copy.copy(self)
            phase.steps = end - begin
            phase.stop_at = self.stop_at if end == self.steps else None
            phase._from = results[-1].adversarial if results else None
            ball = replace(threat, eps=threat.eps * factor)  # type: ignore[operator]
            results.append(super(APGD, phase).ascend(victim, image, label, ball, generators, bar))
        return _joined(results)

    def move(self, victim: Victim, iterate: Iterate, threat: ThreatModel) -> tuple[Tensor, int]:
        """A step with momentum from the iterate, or from the best one with half the step size."""
        gradient = gradient_of(self.objective(victim, iterate).sum(), iterate.adversarial)
        memory, step = iterate.memory, iterate.step
        point, value = iterate.adversarial.detach(), iterate.deviation.detach()
        if step == 0:
            length = torch.as_tensor(self.step_length(0, threat.eps), dtype=point.dtype, device=point.device)  # type: ignore[arg-type]
            memory.update(size=length.expand(len(point)).clone(), rises=torch.zeros_like(value), old=point)
            memory.update(best=value, best_point=point, best_gradient=gradient)
            memory.update(size_then=memory["size"], best_then=value)
        else:
            memory["rises"] = memory["rises"] + (value > memory["value"])
            better = value > memory["best"]
            memory["best"] = torch.where(better, value, memory["best"])
            memory["best_point"] = _where(better, point, memory["best_point"])
            memory["best_gradient"] = _where(better, gradient, memory["best_gradient"])
        memory["value"] = value
        if step in self._checkpoints():
            point, gradient = self._halve(step, point, gradient, memory)
        towards = per_sample(memory["size"], gradient) * threat.steepest(gradient)
        after = threat.project(point + towards, iterate.image)
        if step > 0:
            after = point + MOMENTUM * (after - point) + (1 - MOMENTUM) * (point - memory["old"])
            after = threat.project(after, iterate.image)
        memory["old"] = point
        return after - iterate.adversarial.detach(), 1

    def _checkpoints(self) -> dict[int, int]:
        """Steps at which the step size is looked at, each with the one before."""
        marks, last, width = {}, 0, max(int(0.22 * self.steps), 1)
        while last + width < self.steps:
            marks[last + width] = last
            last, width = last + width, max(width - max(int(0.03 * self.steps), 1), int(0.06 * self.steps), 1)
        return marks

    def _halve(self, step: int, point: Tensor, gradient: Tensor, memory: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        seldom = memory["rises"] < RISING * (step - self._checkpoints()[step])
        stuck = (memory["size"] == memory["size_then"]) & (memory["best"] <= memory["best_then"])
        halve = seldom | stuck
        memory["size_then"], memory["best_then"] = memory["size"], memory["best"]
        memory["rises"] = torch.zeros_like(memory["rises"])
        memory["size"] = torch.where(halve, memory["size"] / 2, memory["size"])
        return _where(halve, memory["best_point"], point), _where(halve, memory["best_gradient"], gradient)


def _where(condition: Tensor, ours: Tensor, theirs: Tensor) -> Tensor:
    return torch.where(condition.view(-1, *[1] * (ours.ndim - 1)), ours, theirs)


def _joined(results: Sequence[AttackResult]) -> AttackResult:
    """The last phase's result with the histories of all."""
    last = results[-1]
    if len(results) == 1:
        return last
    gap = last.loss[None] * torch.nan
    cosines = [part for r in results[:-1] if len(r.linf) > 1 for part in (r.cosine, gap)]
    return replace(
        last,
        loss_history=torch.cat([*(r.loss_history[: len(r.linf) - 1] for r in results[:-1]), last.loss_history]),
        linf=torch.cat([*(r.linf[:-1] for r in results[:-1]), last.linf]),
        variance=torch.cat([*(r.variance[:-1] for r in results[:-1]), last.variance]),  # type: ignore[index, list-item]
        still_steps=torch.stack([r.still_steps for r in results]).sum(0),  # type: ignore[misc]
        cosine=torch.cat([*cosines, last.cosine]),
        gradients=torch.stack([r.gradients for r in results]).sum(0),
    )
