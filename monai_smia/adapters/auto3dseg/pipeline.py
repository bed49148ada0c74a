"""The algorithms' own way from files to a decision: it makes every figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from monai_smia.adapters.auto3dseg.labels import Labels, prediction_of
from monai_smia.adapters.auto3dseg.loading import AsFiles
from monai_smia.adapters.auto3dseg.victim import Auto3DSegVictim
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.pipeline import Scored
from monai_smia.metrics import CaseMetrics
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.label_map import LabelMapVictim
from monai_smia.victims.preprocessing import as_plain


class Auto3DSegPipeline:
    """Algorithms as their own `infer` runs them, on files: clean and stored images through their own.

    An attacked image is written in single precision and read by the algorithm, as any other.

    Args:
        victim: their differentiable twin, which holds them.
        items: of the cases, by their names.
        labels: what label maps mean.
        labeled: whether cases have labels; else the decision on the clean image is the truth.

    Attributes:
        storage: knows the files that a stored image was written to; set once it is built.
    """

    def __init__(
        self, victim: Auto3DSegVictim, items: Mapping[str, Mapping[Any, Any]], labels: Labels, *, labeled: bool
    ) -> None:
        self.twin, self.deployed, self.items, self.labels = victim, victim.deployed, items, labels
        self.labeled = labeled
        self.chain = self.deployed.chains[0]
        self.handed = AsFiles(self.chain)
        self.storage: Any = None
        self.judge: SegmentationVictim = SegmentationVictim(nn.Identity(), activation="sigmoid", allow_empty=True)
        if not labels.sigmoid:
            self.judge = LabelMapVictim(nn.Identity(), classes=labels.channels, allow_empty=True)
        self._clean: tuple[str, Tensor] | None = None

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its figures, for the fingerprint of records."""
        return {"deployed": self.deployed, "labels": self.labels, "labeled": self.labeled}

    def decided(self, case: Case, image: Tensor | Path) -> Tensor:
        """The algorithms' map ``(1 or K, *spatial)`` of an image ``(1, C, *spatial)`` of a case, or a stored one."""
        if image is case.image:
            return self.clean(case)
        if isinstance(image, Path):
            files = self.storage.files_of(image)
        else:
            plain = MetaTensor(as_plain(image[0]), meta=case.image.meta)  # type: ignore[attr-defined]
            files = self.handed.write(plain, case.source)
        return self._checked(self.deployed.decide(self.chain.with_files(self.items[case.name], files)), case)

    def clean(self, case: Case) -> Tensor:
        """That of the case's own files; kept for the last case."""
        if self._clean is None or self._clean[0] != case.name:
            self._clean = case.name, self._checked(self.deployed.decide(self.items[case.name]), case)
        return self._clean[1]

    def prepare(self, case: Case) -> Case:
        """The case, with the algorithms' own decision as its label where it has none."""
        if self.labeled:
            return case
        return replace(case, label=self.clean(case)[None].to(case.image.device))

    def score(self, case: Case, image: Tensor | Path, metrics: CaseMetrics) -> Scored:
        """The algorithms' map of an image, compared with the case's label."""
        prediction = prediction_of(self.decided(case, image), sigmoid=self.labels.sigmoid)
        truth = case.label.cpu()
        return Scored(
            metrics=metrics.case(self.judge, prediction, truth, case.image),
            damage=float(self.judge.damage(prediction, truth)[0]),
            decision=self.judge.decide(prediction)[0],
        )

    def agreement(self, case: Case) -> float | None:
        """The share of voxels that twin and algorithms decide alike."""
        ours = self.twin.decide(self.twin.infer(case.image))[0].cpu()
        return float((ours == self.clean(case)).double().mean())

    def difference(self, case: Case, share: float) -> str:
        """What makes twin and algorithms decide differently, in a sentence."""
        return (
            f"{case.name}: the differentiable twin and the algorithm's own infer agree on {share:.1%} of the clean "
            "case only, and an attack on the one says little of the other. The twin is made of the transforms, network "
            f"and window of {self.deployed.name}: its scripts do something else with them than the templates do."
        )

    def shown_truth(self, case: Case) -> Any:
        """The case's label."""
        return case.label[0]

    def _checked(self, decided: Tensor, case: Case) -> Tensor:
        wanted = (self.labels.channels if self.labels.sigmoid else 1, *case.image.shape[2:])
        if tuple(decided.shape) != wanted:
            raise ValueError(
                f"the algorithm must decide on the image's own grid, {tuple(wanted)}, got {tuple(decided.shape)}."
            )
        return torch.as_tensor(decided)
