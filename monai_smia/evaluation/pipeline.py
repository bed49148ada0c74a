"""Pipelines: the owner's own way from an image to a decision, which makes every figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from monai_smia.evaluation.cases import Case
from monai_smia.metrics import CaseMetrics
from monai_smia.victims.base import Victim

UNSUPERVISED = (  # of a pipeline whose cases have no labels
    "No labels: the reference is the clean decision; figures say how decisions change, not whether they are right."
)


@dataclass(frozen=True)
class Scored:
    """What a pipeline makes of one image of a case.

    Args:
        metrics: the task's metrics, as a record keeps them.
        damage: of the decision, 0 where it is right and 1 where it is all wrong.
        decision: on the image's own grid, as pictures show it; None where it cannot be shown there.
    """

    metrics: dict[str, Any]
    damage: float
    decision: Any


class Pipeline(Protocol):
    """The owner's own way from an image to a decision.

    Gradients come from a victim, a differentiable twin of the pipeline; figures (clean, computed, stored, degraded)
    come from the pipeline itself. A victim without one is its own pipeline (`VictimPipeline`).
    """

    def fingerprint_parts(self) -> Mapping[str, Any]:
        """All that decides its figures, for the fingerprint of records."""

    def prepare(self, case: Case) -> Case:
        """The case with what needs the network, which is asked in the thread of the attack alone."""

    def score(self, case: Case, image: Tensor | Path, metrics: CaseMetrics) -> Scored:
        """Decide on an image of a case and compare with the case's truth.

        Args:
            case: the case.
            image: what stands in the place of its image: a tensor ``(1, C, *spatial)`` as `case.image`, or a file.
            metrics: of the task.
        """

    def agreement(self, case: Case) -> float | None:
        """How far the twin decides as the pipeline does on the clean case, 1 where throughout; None without a twin."""

    def difference(self, case: Case, share: float) -> str:
        """What makes twin and pipeline decide differently, in a sentence.

        Args:
            case: the case.
            share: their agreement.
        """

    def shown_truth(self, case: Case) -> Any:
        """The case's truth on the image's own grid, as pictures show it; None where it cannot be shown there."""


@dataclass(frozen=True)
class VictimPipeline:
    """A victim as its own pipeline: what it infers, decided as it decides.

    Args:
        victim: the victim.
        device: of its network.
        storage: reads a file that an image was stored as; None where there is none.
    """

    victim: Victim
    device: torch.device
    storage: Any = None

    def fingerprint_parts(self) -> Mapping[str, Any]:
        """Nothing beside the victim."""
        return {}

    def prepare(self, case: Case) -> Case:
        """The case, with the victim's decision on its clean image where it has no label."""
        if case.label is not None:
            return case
        decision = self.victim.decide(self.victim.infer(case.image.to(self.device)))
        if isinstance(decision, list):  # of a detector
            found = getattr(self.victim, "found_score", 0.0)
            decision = [{key: d[key][d["scores"] >= found] for key in ("boxes", "labels")} for d in decision]
        return replace(case, label=decision, unlabeled=True)

    def score(self, case: Case, image: Tensor | Path, metrics: CaseMetrics) -> Scored:
        """As `Pipeline.score`."""
        batch = self.storage.read(image).unsqueeze(0) if isinstance(image, Path) else image
        prediction = self.victim.infer(batch.to(self.device))
        return Scored(
            metrics=metrics.case(self.victim, prediction, case.label, case.image),
            damage=float(self.victim.damage(prediction, case.label)[0]),
            decision=self.victim.decide(prediction)[0],
        )

    def agreement(self, case: Case) -> float | None:
        """None: there is one map only."""
        return None

    def difference(self, case: Case, share: float) -> str:
        """Nothing: there is one map only."""
        return ""

    def shown_truth(self, case: Case) -> Any:
        """The case's label."""
        return case.label[0]
