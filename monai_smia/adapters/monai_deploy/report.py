"""An operator that evaluates the application's own bundle under attack, and hands the worst attacked image on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.deploy.core import ConditionType, Fragment, Operator, OperatorSpec
from monai.deploy.core.domain.image import Image
from monai.deploy.operators.dicom_seg_writer_operator import DICOMSegmentationWriterOperator, SegmentDescription
from monai.deploy.operators.dicom_utils import ModelInfo
from pydicom.uid import generate_uid

from monai_smia.adapters.monai_bundle.pipeline import BundlePipeline
from monai_smia.adapters.monai_deploy.bundle import application_evaluation, initialized
from monai_smia.adapters.monai_deploy.volume import ApplicationReader, check_volume
from monai_smia.dicom import find_dicom_series
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.volumes import stem_of
from monai_smia.files import MARK
from monai_smia.records import STORED, Record, read_records
from monai_smia.records.damage import DAMAGE

UID = "SeriesInstanceUID"


class RobustnessReportOperator(Operator):
    """Evaluates the application's own bundle under attack on the series that it is given.

    It stands between DICOMSeriesToVolumeOperator and MonaiBundleInferenceOperator. Every figure is made by the bundle
    as the application runs it: the preprocessing, inferer and postprocessing of the inference operator, and the model
    of the application's context. Attacked images are derived series, which are read again by the SDK's own operators.
    Without a label the clean decision is the reference.

    Into `output_folder` go records, page (``report.html``), a derived series of every attack (``volumes``) and, with
    `segments`, the DICOM SEG of the clean and of every derived series (``seg``). Run again, it goes on where it was.

    Named input:
        image: `Image` of the series.

    Named outputs:
        image: `Image` of the worst derived series; the input itself where no attack could be stored.
        study_selected_series_list: that derived series, for a writer of what the application makes of it; the series
            itself where no attack could be stored.

    Args:
        fragment: the application.
        inference: its `MonaiBundleInferenceOperator`.
        input_folder: where the application reads DICOM from.
        output_folder: where to write.
        eps: radius in HU, or several.
        preset: of attacks, as for `bundle_evaluation`.
        segments: SDK descriptions of the segments, for SEG; None writes none.
        to_volume: the application's `DICOMSeriesToVolumeOperator`, where it is not the SDK's default.
        options: further arguments of `bundle_evaluation`: `only`, `extra`, `steps`, `gradients`, `seed`, `accept`,
            `identified` (write derived series though the source does not say that it is de-identified), ...

    Raises:
        ValueError: in use, if the volume is not that of its series, or the bundle cannot be attacked on it.

    Example:
        >>> report = RobustnessReportOperator(
        ...     self, inference=seg_op, input_folder=input_folder, output_folder=output_folder / "attack", eps=20.0
        ... )  # doctest: +SKIP
        >>> self.add_flow(series_to_vol_op, report, {("image", "image")})  # doctest: +SKIP
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        inference: Any,
        input_folder: Path | str,
        output_folder: Path | str,
        eps: float | Sequence[float] = 20.0,
        preset: str = "quick",
        segments: Sequence[SegmentDescription] | None = None,
        to_volume: Any = None,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.inference, self.eps, self.preset = inference, eps, preset
        self.input_folder, self.output_folder = Path(input_folder), Path(output_folder)
        self.options = dict(options or {})
        self.reader = ApplicationReader(fragment, inference, to_volume)
        self.writers = [] if segments is None else [_writer(fragment, segments, mark) for mark in (False, True)]
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """One input and two outputs, of which neither has to be connected."""
        spec.input("image")
        spec.output("image").condition(ConditionType.NONE)
        spec.output("study_selected_series_list").condition(ConditionType.NONE)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Evaluate, and emit the worst image."""
        image = op_input.receive("image")
        worst = self.evaluate(image)
        selected = self.reader.selected(worst or self.input_folder, None if worst else image.metadata()[UID])
        op_output.emit(selected[0].selected_series[0].image if worst else image, "image")
        op_output.emit(selected, "study_selected_series_list")

    def evaluate(self, image: Image) -> Path | None:
        """Evaluate the bundle on a volume.

        Returns:
            The folder of the worst derived series; None where there is none.

        Raises:
            ValueError: if the volume is not that of its series, or the bundle cannot be attacked on it.
        """
        uid = str(image.metadata().get(UID, ""))
        found = find_dicom_series(self.input_folder)
        if uid not in found:
            raise ValueError(f"input_folder must hold the series of the volume; it holds {len(found)} others.")
        check_volume(image, found[uid])
        self.reader.give(found[uid], image)
        evaluation = self.evaluation(found[uid])
        evaluation.run()
        done = [row for row in read_records(self.output_folder) if isinstance(row, Record) and row.stage == STORED]
        folders = {
            self.output_folder / "volumes" / f"{stem_of(row.case, row.row.slug)}_adversarial": row for row in done
        }
        there = {folder: row for folder, row in folders.items() if folder.is_dir()}
        if self.writers:
            self._write_segs(evaluation, uid, sorted(there))
        return max(there, key=lambda folder: there[folder].number(DAMAGE), default=None)

    def evaluation(self, files: Sequence[Path]) -> AttackEvaluation:
        """The evaluation of a series, to be run."""
        options = {"eps": self.eps, "preset": self.preset, **self.options}
        return application_evaluation(initialized(self.inference), self.reader, files, self.output_folder, **options)

    def _write_segs(self, evaluation: AttackEvaluation, uid: str, attacked: Sequence[Path]) -> None:
        """SEG of the clean series and of every derived one, each referring to its own."""
        pipeline, case = evaluation.pipeline, evaluation.names[0]
        assert isinstance(pipeline, BundlePipeline)
        for folder in [None, *attacked]:
            selected = self.reader.selected(self.input_folder, uid) if folder is None else self.reader.selected(folder)
            output = (pipeline.clean(case)[1] if folder is None else pipeline.iterate(case, folder)).output
            decided = np.squeeze(np.asarray(output[next(iter(self.inference._outputs))].cpu()), 0)
            target = self.output_folder / "seg" / ("clean" if folder is None else folder.name)
            for old in target.glob("*.dcm"):  # of an earlier run
                old.unlink()
            series = selected[0].selected_series[0].series
            writer = self.writers[folder is not None]
            writer.create_dicom_seg(np.swapaxes(decided, 0, 2).astype(np.uint8), series, target)


def _writer(fragment: Fragment, segments: Sequence[SegmentDescription], marked: bool) -> Any:
    """The SDK's writer of SEG, which marks what it writes where that is of an attacked series."""
    tags = {"SeriesDescription": MARK, "ContentDescription": MARK} if marked else None
    return DICOMSegmentationWriterOperator(
        fragment,
        segment_descriptions=list(segments),
        output_folder=Path(),
        model_info=ModelInfo(creator="not told", name="not told", version="not told", uid=generate_uid()),
        custom_tags=tags,
        name=f"{id(segments)}_{marked}_writer",
    )
