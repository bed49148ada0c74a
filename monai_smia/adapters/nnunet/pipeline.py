"""nnU-Net's own way from a file, or an image handed over behind its reader, to a label map: it makes every figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from monai_smia.adapters.monai_bundle.units import in_file_units, units_of
from monai_smia.adapters.nnunet.storing import files_in
from monai_smia.adapters.nnunet.victim import SPACING, NNUNetVictim
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.pipeline import Scored
from monai_smia.metrics import CaseMetrics
from monai_smia.victims import SegmentationVictim
from monai_smia.victims.label_map import LabelMapVictim
from monai_smia.victims.preprocessing import as_plain


class NNUNetPipeline:
    """A trained nnU-Net as `nnUNetv2_predict` runs it: clean and stored images through their files.

    Args:
        victim: its differentiable twin, which holds nnU-Net's own predictor.
        labeled: whether cases have labels; else the decision on the clean image is the truth.
    """

    def __init__(self, victim: NNUNetVictim, *, labeled: bool) -> None:
        self.twin, self.deployed, self.labeled = victim, victim.deployed, labeled
        labels = self.deployed.labels
        self.judge: SegmentationVictim = SegmentationVictim(nn.Identity(), **labels.options)
        if labels.exclusive:
            self.judge = LabelMapVictim(nn.Identity(), classes=len(labels.names), **labels.options)
        self._clean: tuple[str, Tensor] | None = None

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides its figures, for the fingerprint of records."""
        return {"deployed": self.deployed, "labeled": self.labeled}

    def label_map(self, case: Case, image: Tensor | Path) -> Tensor:
        """The label map ``(*spatial)`` of an image ``(1, C, *spatial)`` of a case, or of a folder of its files."""
        if isinstance(image, Path):
            return self._of_files(files_in(image), case)
        if image is case.image:
            return self.clean(case)
        volume = in_file_units(as_plain(image[0]), units_of(case.image)).cpu().numpy()
        volume = volume if volume.ndim == 4 else volume[:, None]
        return self._flat(self.deployed.segment(volume, case.image.meta[SPACING]), case)  # type: ignore[attr-defined]

    def clean(self, case: Case) -> Tensor:
        """That of the case's own files; kept for the last case."""
        if self._clean is None or self._clean[0] != case.name:
            self._clean = case.name, self._of_files(case.source, case)
        return self._clean[1]

    def prepare(self, case: Case) -> Case:
        """The case, with nnU-Net's own decision as its label where it has none."""
        if self.labeled:
            return case
        truth = self.deployed.labels.truth(self.clean(case)).to(case.image.device)
        return replace(case, label=truth[None])

    def score(self, case: Case, image: Tensor | Path, metrics: CaseMetrics) -> Scored:
        """nnU-Net's label map of an image, compared with the case's label."""
        prediction = self.deployed.labels.prediction(self.label_map(case, image))
        truth = case.label.cpu()
        return Scored(
            metrics=metrics.case(self.judge, prediction, truth, case.image),
            damage=float(self.judge.damage(prediction, truth)[0]),
            decision=self.judge.decide(prediction)[0],
        )

    def agreement(self, case: Case) -> float | None:
        """The share of voxels that twin and nnU-Net label alike."""
        decided = self.twin.decide(self.twin.infer(case.image))[0]
        ours = self.deployed.labels.written_map(decided).cpu()
        return float((ours == self.clean(case)).double().mean())

    def difference(self, case: Case, share: float) -> str:
        """What makes twin and nnU-Net decide differently, in a sentence."""
        return (
            f"{case.name}: the differentiable twin and nnU-Net's own predictor agree on {share:.1%} of the clean case "
            "only, and an attack on the one says little of the other. The twin does what DefaultPreprocessor and "
            f"nnUNetPredictor do; the plans name {self.deployed.configuration.preprocessor_name}, the trainer is "
            f"{self.deployed.predictor.trainer_name}."
        )

    def shown_truth(self, case: Case) -> Any:
        """The case's label."""
        return case.label[0]

    def _of_files(self, files: Any, case: Case) -> Tensor:
        return self._flat(self.deployed.segment_files(files), case)

    @staticmethod
    def _flat(label_map: Any, case: Case) -> Tensor:
        values = torch.from_numpy(label_map.astype("int64"))
        return values if case.image.ndim == 5 else values[0]
