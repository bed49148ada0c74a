"""A product as its own pipeline: it makes every figure, of what was written for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_smia.adapters.product.queries import Source
from monai_smia.adapters.product.victim import ProductVictim
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.pipeline import Scored
from monai_smia.metrics import CaseMetrics
from monai_smia.victims.preprocessing import as_plain


class ProductPipeline:
    """Asks the product about images of a case, and about the files that adversarial images were stored as.

    Args:
        victim: the product.
        labeled: whether cases have labels; else the answer to the clean image is the truth.
    """

    def __init__(self, victim: ProductVictim, *, labeled: bool) -> None:
        self.victim, self.labeled = victim, labeled

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its figures, for the fingerprint of records."""
        return {"labeled": self.labeled}

    def label_map(self, case: Case, image: Tensor | Path) -> Tensor:
        """The answer ``(1, 1, *spatial)`` to an image ``(1, 1, *spatial)`` of a case, or to a file."""
        asking = self.victim.asking
        source = asking.open(case.source, case.name)
        if isinstance(image, Path):
            other = Source(image, identified=True)  # a derived series of its own
            stored = other.before.astype(source.before.dtype)
        else:
            stored = source.stored(as_plain(image)[0, 0].cpu().numpy() - source.values())
        return torch.from_numpy(asking.answer(stored).astype(np.int64))[None, None].to(case.image.device)

    def prepare(self, case: Case) -> Case:
        """The case, with the answer to its clean image as its label where it has none.

        Raises:
            ValueError: if its image is not what its file or series holds.
        """
        source = self.victim.asking.open(case.source, case.name)
        if not np.array_equal(as_plain(case.image)[0, 0].cpu().numpy(), source.values()):
            raise ValueError("the image must hold the values of its file, unchanged.")
        return case if self.labeled else replace(case, label=self.label_map(case, case.image))

    def score(self, case: Case, image: Tensor | Path, metrics: CaseMetrics) -> Scored:
        """The product's answer to an image, compared with the case's label."""
        prediction = self.label_map(case, image)
        return Scored(
            metrics=metrics.case(self.victim, prediction, case.label, case.image),
            damage=float(self.victim.damage(prediction, case.label)[0]),
            decision=prediction[0],
        )

    def agreement(self, case: Case) -> float | None:
        """None: there is no twin."""
        return None

    def difference(self, case: Case, share: float) -> str:
        """Nothing: there is no twin."""
        return ""

    def shown_truth(self, case: Case) -> Mapping[str, Any] | Any:
        """The case's label."""
        return case.label[0]
