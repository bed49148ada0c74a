"""A DICOM node on this machine alone that segments the CT series that it is sent: something to try a black-box test on.

    python examples/segmentation_node.py --listen LUNGS:11112 --answer TESTER:11113
    python -m monai_smia node --send-to LUNGS@127.0.0.1:11112 --receive-as TESTER:11113 --series FOLDER

It listens on the loopback address, takes CT images by C-STORE, and once an association has ended segments every series
that came with it and sends a DICOM SEG back, or with --returns sr a measurement report (TID 1500) of the volume. The
model is the lung segmentation of this repository, or the bundle of --bundle, of the same layout. Needs pynetdicom and
highdicom: pip install 'monai_smia[dicom]'.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, CTImageStorage, SegmentationStorage

from monai_smia.dicom import DicomSeriesReader, read_dicom_series
from monai_smia.dicom.seg_writer import segmentation_of

LOOPBACK = "127.0.0.1"
MILLILITER = Code("mL", "UCUM", "milliliter")
BUNDLE = Path(__file__).parents[1] / "bundles" / "ct_lung_segmentation"
Segment = Callable[[Path], np.ndarray]


def seg_of(folder: Path, mask: np.ndarray) -> Dataset:
    """The DICOM SEG of a mask ``(columns, rows, planes)`` of a series."""
    by = {"algorithm": "ct_lung_segmentation", "version": "0.3.0", "adversarial": False}
    return segmentation_of(read_dicom_series(folder), mask, ["Lungs"], **by)


def report_of(folder: Path, mask: np.ndarray) -> Dataset:
    """The measurement report (TID 1500) of a mask ``(columns, rows, planes)`` of a series: its volume in ml."""
    import highdicom as hd

    series = read_dicom_series(folder)
    images = [dcmread(plane.path) for plane in series.slices]
    milliliters = float(np.count_nonzero(mask) * abs(np.linalg.det(series.affine[:3, :3]))) / 1000
    observer = hd.sr.ObserverContext(codes.DCM.Device, hd.sr.DeviceObserverIdentifyingAttributes(uid=hd.UID()))
    volume = hd.sr.Measurement(codes.SCT.Volume, round(milliliters, 6), MILLILITER)
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), "lungs"),
        finding_type=codes.SCT.Lung,
        measurements=[volume],
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(image) for image in images],
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.cid100.CTUnspecifiedBodyRegion,
        imaging_measurements=[group],
    )
    return hd.sr.Comprehensive3DSR(
        evidence=images,
        content=content,
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="monai_smia",
        is_complete=True,
    )


RETURNS = {"seg": seg_of, "sr": report_of}


class SegmentationNode:
    """Takes CT series and sends a DICOM SEG of each, or a report.

    Args:
        segment: from the folder of a series to its mask ``(columns, rows, planes)``.
        listen: title and port of this node.
        answer: title and port that results go to.
        change: what becomes of an object before it is sent, for tests: the objects that are sent in its place.
        returns: what is sent: ``"seg"`` or ``"sr"``.
    """

    def __init__(
        self,
        segment: Segment,
        listen: tuple[str, int],
        answer: tuple[str, int],
        change: Callable[[Dataset], list[Dataset]] = lambda seg: [seg],
        returns: str = "seg",
    ) -> None:
        self.segment, self.listen, self.answer, self.change = segment, listen, answer, change
        self.made = RETURNS[returns]
        self.came: dict[Any, Path] = {}
        self.scratch = tempfile.TemporaryDirectory()

    def start(self, *, block: bool) -> Any:
        """Serve; returns the server where it does not block."""
        entity = AE(ae_title=self.listen[0])
        entity.add_supported_context(CTImageStorage)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_RELEASED, self._released)]
        return entity.start_server((LOOPBACK, self.listen[1]), block=block, evt_handlers=handlers)

    def _store(self, event: Any) -> int:
        folder = self.came.setdefault(event.assoc, Path(tempfile.mkdtemp(dir=self.scratch.name)))
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        (folder / str(dataset.SeriesInstanceUID)).mkdir(exist_ok=True)
        path = folder / str(dataset.SeriesInstanceUID) / f"{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        return 0x0000

    def _released(self, event: Any) -> None:
        folder = self.came.pop(event.assoc, None)
        for series in sorted(folder.iterdir()) if folder else []:
            self._send(self.change(self.made(series, self.segment(series))))

    def _send(self, objects: list[Dataset]) -> None:
        entity = AE(ae_title=self.listen[0])
        entity.add_requested_context(SegmentationStorage)
        entity.add_requested_context(Comprehensive3DSRStorage)
        association = entity.associate(LOOPBACK, self.answer[1], ae_title=self.answer[0])
        if association.is_established:
            for each in objects:
                association.send_c_store(each)
            association.release()


def bundle_segmentation(bundle: Path) -> Segment:
    """What the lung bundle decides of a series, by its own network, inferer and preprocessing."""
    from monai.bundle import ConfigParser
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage

    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "attack_eval.yaml"))
    parser["bundle_root"] = str(bundle)
    parser.get_parsed_content("initialize")
    victim = parser.get_parsed_content("victim")
    load = Compose([LoadImage(reader=DicomSeriesReader(), image_only=True), EnsureChannelFirst()])

    def segment(folder: Path) -> np.ndarray:
        return np.asarray(victim.decide(victim.infer(load(folder)[None]))[0, 0].cpu(), dtype=np.uint8)

    return segment


def address(text: str) -> tuple[str, int]:
    """``AE:port``."""
    title, port = text.rsplit(":", 1)
    return title, int(port)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--listen", type=address, default=("LUNGS", 11112), help="AE:port of this node")
    arguments.add_argument("--answer", type=address, default=("TESTER", 11113), help="AE:port that results go to")
    arguments.add_argument("--bundle", type=Path, default=BUNDLE)
    arguments.add_argument("--returns", choices=sorted(RETURNS), default="seg", help="DICOM SEG, or a report (SR)")
    options = arguments.parse_args()
    print(f"{options.listen[0]} listens on {LOOPBACK}:{options.listen[1]}", flush=True)
    segment = bundle_segmentation(options.bundle)
    SegmentationNode(segment, options.listen, options.answer, returns=options.returns).start(block=True)
