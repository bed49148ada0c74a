"""Fetch a CT series from a PACS, attack the model that reads it, and store the result as a series of its own.

    python examples/attack_series_from_pacs.py --pacs 127.0.0.1:4242 --called ORTHANC --series 1.2.3...

Plain pydicom and pynetdicom (pip install pynetdicom); the model is the lung segmentation of this repository. The source
has to be de-identified (docs/hospital.md), or --identified says that it need not be.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from pydicom import Dataset, dcmread
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from monai_smia.attacks import PGD
from monai_smia.dicom import DicomSeriesReader, read_dicom_series, scanned_voxels
from monai_smia.storage import DicomStorage

SYNTAXES = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian),
    *(JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless),
)
CALLING = "MONAI_SMIA"
BUNDLE = Path(__file__).parents[1] / "bundles" / "ct_lung_segmentation"


def fetch(host: str, port: int, called: str, series_uid: str, folder: Path, calling: str = CALLING) -> Path:
    """C-GET one series into a folder, compressed as the PACS holds it."""
    from pynetdicom import AE, build_role, evt
    from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelGet

    folder.mkdir(parents=True, exist_ok=True)

    def save(event: Any) -> int:
        event.dataset.file_meta = event.file_meta
        event.dataset.save_as(folder / f"{event.dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        return 0x0000

    entity = AE(ae_title=calling)
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    for syntax in SYNTAXES:
        entity.add_requested_context(CTImageStorage, syntax)
    query = Dataset()
    query.QueryRetrieveLevel, query.SeriesInstanceUID = "SERIES", series_uid
    association = entity.associate(
        host,
        port,
        ae_title=called,
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, save)],
    )
    if not association.is_established:
        raise ConnectionError(f"{called} at {host}:{port} does not answer.")
    for status, _ in association.send_c_get(query, StudyRootQueryRetrieveInformationModelGet):
        if not status:
            raise ConnectionError(f"{called} hung up: does it know {calling}, and may that use C-GET?")
        if status.Status not in (0xFF00, 0x0000):
            raise ConnectionError(f"C-GET failed with status 0x{status.Status:04x}.")
    association.release()
    if not any(folder.iterdir()):
        raise ConnectionError(f"{called} gave no CT image of series {series_uid}.")
    return folder


def store(host: str, port: int, called: str, folder: Path, calling: str = CALLING) -> int:
    """C-STORE every file of a folder; how many were taken."""
    from pynetdicom import AE, StoragePresentationContexts
    from pynetdicom.sop_class import CTImageStorage

    entity = AE(ae_title=calling)
    entity.requested_contexts = [c for c in StoragePresentationContexts if c.abstract_syntax == CTImageStorage]
    association = entity.associate(host, port, ae_title=called)
    if not association.is_established:
        raise ConnectionError(f"{called} at {host}:{port} does not answer.")
    files = sorted(folder.iterdir())
    for path in files:
        status = association.send_c_store(dcmread(path))
        if not status or status.Status != 0x0000:
            raise ConnectionError(f"{path.name} was not stored; the series is incomplete in the PACS.")
    association.release()
    return len(files)


def attack_series(series: Path, folder: Path, *, eps: float, steps: int, identified: bool = False) -> Path:
    """Attack the bundle's own decision on a series, in HU, and write the derived series."""
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "attack_eval.yaml"))
    parser["bundle_root"] = str(BUNDLE)
    parser.get_parsed_content("initialize")
    victim = parser.get_parsed_content("victim")

    image = Compose([LoadImage(reader=DicomSeriesReader(), image_only=True), EnsureChannelFirst()])(series)
    clean = victim.decide(victim.infer(image[None]))
    attack = PGD(eps=eps, steps=steps, clip=read_dicom_series(series).range)
    result = attack(victim, image[None], clean, mask=scanned_voxels(image, series)[None])

    storage = DicomStorage(folder, identified=identified)
    written = storage.write(image, result.adversarial[0], eps=eps, source=series, stem=f"pgd_eps{eps:g}")
    attacked = victim.decide(victim.infer(storage.read(written)[None]))  # as the next reader sees it
    print(
        f"lung voxels: {int(clean.sum())} before, {int(attacked.sum())} after, {int((clean & attacked).sum())} in both"
    )
    return written


def main() -> None:
    """Fetch, attack, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pacs", required=True, help="host:port")
    parser.add_argument("--called", default="ORTHANC", help="application entity of the PACS")
    parser.add_argument("--calling", default=CALLING, help="our application entity, which the PACS must know")
    parser.add_argument("--series", required=True, help="SeriesInstanceUID")
    parser.add_argument("--eps", type=float, default=20.0, help="HU")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--output_dir", type=Path, default=Path("attacked"))
    parser.add_argument("--identified", action="store_true", help="the source need not be de-identified")
    options = parser.parse_args()
    host, port = options.pacs.rsplit(":", 1)
    folder = options.output_dir / "source" / options.series
    source = fetch(host, int(port), options.called, options.series, folder, options.calling)
    written = attack_series(
        source, options.output_dir, eps=options.eps, steps=options.steps, identified=options.identified
    )
    count = store(host, int(port), options.called, written, options.calling)
    print(f"stored {count} images as series {read_dicom_series(written).uid}")


if __name__ == "__main__":
    main()
