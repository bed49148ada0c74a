"""A MONAI Deploy application that segments lungs, with an attack step: DICOM in; SEG, attacked series and page out.

    python app.py -i IN -o OUT -m MODEL

IN is a folder of one de-identified CT series, MODEL the TorchScript bundle that ``make deploy_example`` exports. OUT
gets the SEG of the clean series (``clean``) and of the attacked one (``attacked``), and what the attack step writes
(``attack``): records, the page report.html, and the derived series.

The radius is 70 HU; the environment variable ATTACK_EPS_HU chooses another, and ``none`` leaves the attack step out:
then OUT gets the clean SEG alone, as of a product that is tested as a command.

All but the attack step is an application as the SDK's examples have it. Taken in are its constructor and two lines of
add_flow, and a third has the SEG of the attacked image refer to the attacked series, instead of the patient's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import AppContext, Application
from monai.deploy.core.domain.image import Image
from monai.deploy.core.io_type import IOType
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_seg_writer_operator import DICOMSegmentationWriterOperator, SegmentDescription
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator
from monai.deploy.operators.dicom_series_to_volume_operator import DICOMSeriesToVolumeOperator
from monai.deploy.operators.dicom_utils import ModelInfo
from monai.deploy.operators.monai_bundle_inference_operator import (
    BundleConfigNames,
    IOMapping,
    MonaiBundleInferenceOperator,
)
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from monai_smia.adapters.monai_deploy import AttackOperator

RULES = '{"selections": [{"name": "CT", "conditions": {"Modality": "(?i)CT"}}]}'
EPS = os.environ.get("ATTACK_EPS_HU", "70")
MODEL = ModelInfo("monai_smia", "ct_lung_segmentation", "0.3.0", generate_uid())  # without it the SEG is not valid
LUNGS = SegmentDescription(
    segment_label="Lungs",
    segmented_property_category=codes.SCT.Organ,
    segmented_property_type=codes.SCT.Lung,
    algorithm_name="ct_lung_segmentation",
    algorithm_family=codes.DCM.ArtificialIntelligence,
    algorithm_version="0.3.0",
)


class LungApp(Application):
    """Clean and attacked, side by side."""

    def compose(self) -> None:
        """Lay the flows."""
        context = Application.init_app_context(self.argv)
        source, output = Path(context.input_path), Path(context.output_path)
        load = DICOMDataLoaderOperator(self, CountCondition(self, 1), input_folder=source, name="load")
        select = DICOMSeriesSelectorOperator(self, rules=RULES, name="select")
        to_volume = DICOMSeriesToVolumeOperator(self, name="to_volume")
        segment, write = self.inference(context, "segment"), self.writer(output, "clean")
        series = {("study_selected_series_list", "study_selected_series_list")}
        self.add_flow(load, select, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(select, to_volume, series)
        self.add_flow(to_volume, segment, {("image", "image")})
        self.add_flow(segment, write, {("pred", "seg_image")})
        self.add_flow(select, write, series)
        if EPS == "none":
            return

        again, write_attacked = self.inference(context, "segment_attacked"), self.writer(output, "attacked")
        attack = AttackOperator(
            self, inference=segment, input_folder=source, output_folder=output / "attack", eps=float(EPS), name="attack"
        )
        self.add_flow(to_volume, attack, {("image", "image")})
        self.add_flow(attack, again, {("image", "image")})
        self.add_flow(again, write_attacked, {("pred", "seg_image")})
        self.add_flow(attack, write_attacked, series)

    def writer(self, output: Path, name: str) -> Any:
        """The SDK's writer of SEG, into a folder of its own."""
        return DICOMSegmentationWriterOperator(
            self, segment_descriptions=[LUNGS], output_folder=output / name, model_info=MODEL, name=name
        )

    def inference(self, context: AppContext, name: str) -> Any:
        """The bundle, as the SDK runs it."""
        return MonaiBundleInferenceOperator(
            self,
            app_context=context,
            input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
            output_mapping=[IOMapping("pred", Image, IOType.IN_MEMORY)],
            bundle_config_names=BundleConfigNames(config_names=["inference", "deploy"]),
            name=name,
        )


if __name__ == "__main__":
    LungApp().run()
