"""A product as its own pipeline: it makes every figure, of what was written for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from monai_smia.adapters.product.findings import ANSWER
from monai_smia.adapters.product.kinds import Finding
from monai_smia.adapters.product.queries import Source
from monai_smia.adapters.product.victim import FindingVictim, ProductVictim
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.pipeline import Scored
from monai_smia.metrics import CaseMetrics
from monai_smia.victims.preprocessing import as_plain


class ProductPipeline:
    """Asks the product about images of a case, and about the files that adversarial images were stored as.

    Args:
        victim: the product.
        labeled: whether cases have labels; else the answer to the clean image is the truth.
        radii: of attacks, each of which has to be a stored unit at least.
    """

    def __init__(self, victim: ProductVictim | FindingVictim, *, labeled: bool, radii: Sequence[float] = ()) -> None:
        self.victim, self.labeled, self.radii = victim, labeled, radii

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its figures, for the fingerprint of records."""
        return {"labeled": self.labeled}

    def answer(self, case: Case, image: Tensor | Path) -> np.ndarray:
        """The answer to an image ``(1, 1, *spatial)`` of a case, or to a file."""
        asking = self.victim.asking
        source = asking.open(case.source, case.name)
        if isinstance(image, Path):
            other = Source(image, identified=True)  # a derived series of its own
            stored = other.before.astype(source.before.dtype)
        else:
            stored = source.stored(as_plain(image)[0, 0].cpu().numpy() - source.values())
        return asking.answer(stored)

    def prepare(self, case: Case) -> Case:
        """The case, with the answer to its clean image as its label where it has none.

        Raises:
            ValueError: if its image is not what its file or series holds, or a radius is below one stored unit.
        """
        source = self.victim.asking.open(case.source, case.name)
        source.check_radii(self.radii)
        if not np.array_equal(as_plain(case.image)[0, 0].cpu().numpy(), source.values()):
            raise ValueError("the image must hold the values of its file, unchanged.")
        if self.labeled:
            return case
        prediction = self._prediction(self.answer(case, case.image), case)
        return replace(case, label=self.victim.decide(prediction))

    def score(self, case: Case, image: Tensor | Path, metrics: CaseMetrics) -> Scored:
        """The product's answer to an image, compared with the case's label."""
        answer = self.answer(case, image)
        prediction = self._prediction(answer, case)
        kind = self.victim.asking.kind
        told = {ANSWER: float(answer[0])} if isinstance(kind, Finding) and kind.scored else {}
        return Scored(
            metrics=metrics.case(self.victim, prediction, case.label, case.image) | told,
            damage=float(self.victim.damage(prediction, case.label)[0]),
            decision=None if isinstance(kind, Finding) else prediction[0],
        )

    def _prediction(self, answer: np.ndarray, case: Case) -> Tensor:
        """The answer as the victim predicts it; label maps as whole numbers."""
        found = self.victim.asking.prediction(answer).to(case.image.device)
        return found if isinstance(self.victim.asking.kind, Finding) else found.long()

    def agreement(self, case: Case) -> float | None:
        """None: there is no twin."""
        return None

    def difference(self, case: Case, share: float) -> str:
        """Nothing: there is no twin."""
        return ""

    def shown_truth(self, case: Case) -> Mapping[str, Any] | Any:
        """The case's label, of a label map."""
        return None if isinstance(self.victim.asking.kind, Finding) else case.label[0]
