"""A row of an acquisition shift, by the deployed pipeline: on average over draws from its box, and at its worst."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_smia.attacks import ShiftResult, ShiftSearch, SmoothedShift, TryAll
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.certificate_facts import certificate_facts
from monai_smia.evaluation.pipeline import Scored
from monai_smia.evaluation.predictor import attacked
from monai_smia.metrics import CaseMetrics, means
from monai_smia.records.shift import AVERAGE, DRAW_VALUES, LATTICE, PARAMETERS, SEVERITY, TOLD, WORST_DRAW
from monai_smia.records.spec import Primary
from monai_smia.victims.base import Victim

Score = Callable[[Case, Tensor], Scored]


@dataclass(frozen=True)
class Shifted:
    """A case at the worst of a shift.

    Args:
        image: ``(1, C, *spatial)``.
        case: with the label moved.
        scored: what the pipeline makes of it.
        values: parameters ``(P,)``.
    """

    image: Tensor
    case: Case
    scored: Scored
    values: Tensor


@dataclass
class ShiftRow:
    """Searches a shift on one case, every draw judged by the pipeline.

    Args:
        case: the case, with its clean metrics known.
        victim: bound to it.
        score: of the pipeline.
        metrics: of the task.
        device: of the network.
    """

    case: Case
    victim: Victim
    score: Score
    metrics: CaseMetrics
    device: torch.device
    draws: list[Scored] = field(default_factory=list)
    worst: Shifted | None = None

    def run(self, attack: ShiftSearch) -> ShiftResult:
        """Draw and search; the worst by the pipeline is in `worst`, whoever found it."""
        result = attacked(self.victim, self.case, self.device, replace(attack, judge=self._judge))
        assert isinstance(result, ShiftResult)
        case = self.case if result.label is None else replace(self.case, label=result.label)
        scored = self.score(case, result.adversarial)
        self._take(Shifted(result.adversarial, case, scored, result.values[0]))
        return result

    def _judge(self, image: Tensor, label: Any, values: Tensor) -> float:
        whole = convert_to_dst_type(image, self.case.image)[0] if isinstance(self.case.image, MetaTensor) else image
        case = replace(self.case, label=label)
        scored = self.score(case, whole)
        self.draws.append(scored)
        self._take(Shifted(whole, case, scored, values))
        return scored.damage

    def _take(self, other: Shifted) -> None:
        if self.worst is None or other.scored.damage > self.worst.scored.damage:
            self.worst = other

    def facts(self, attack: ShiftSearch) -> dict[str, Any]:
        """What a record keeps beside the worst case's metrics: averages over the draws, their values, the parameters.

        Args:
            attack: that was run.
        """
        assert self.worst is not None
        clean = self.case.clean_metrics or {}
        every = [
            {**scored.metrics, **self.metrics.changes(scored.metrics, clean), "damage": scored.damage}
            for scored in self.draws
        ]
        of_cases, dims = Primary.of(self.metrics).among(every), self.worst.image.ndim - 2
        drawn, up = [each.get(of_cases.metric) for each in every], of_cases.higher_is_better
        own: dict[str, Any] = {}
        if isinstance(attack, SmoothedShift):
            before = clean.get(of_cases.metric, self.case.clean_damage)
            own = certificate_facts(attack, drawn, before, higher_is_better=up, dims=dims)
        elif isinstance(attack, TryAll):
            own = {LATTICE: attack.told(dims)}
        values = [float(value) for value in self.worst.values]
        return {
            **{f"{AVERAGE}{name}": value for name, value in _averages(every).items()},
            DRAW_VALUES: drawn,
            **own,
            WORST_DRAW: max((scored.damage for scored in self.draws), default=None),
            PARAMETERS: dict(zip(attack.shift.names(dims), values, strict=True)),
            SEVERITY: attack.shift.severity,
            TOLD: attack.shift.describe(values, dims),
        }


def _averages(records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    return {name: value for name, value in means(records).items() if value is None or math.isfinite(value)}
