"""Fetch a CT series from a PACS, attack the model that reads it, and store the result as a series of its own.

    python examples/attack_series_from_pacs.py --pacs 127.0.0.1:4242 --called ORTHANC --series 1.2.3...

Plain pydicom and pynetdicom (pip install pynetdicom); the model is the lung segmentation of this repository. The source
has to be de-identified, see docs/hospital.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from monai.bundle import ConfigParser
from monai.transforms import Compose, EnsureChannelFirst, LoadImage
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, StoragePresentationContexts, build_role, evt
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelGet

from monai_smia.attacks import PGD
from monai_smia.data import DicomSeriesReader, read_dicom_series, scanned_voxels
from monai_smia.evaluation import DicomStorage

BUNDLE = Path(__file__).parents[1] / "bundles" / "ct_lung_segmentation"


def fetch(host: str, port: int, called: str, series_uid: str, folder: Path) -> Path:
    """C-GET one series into a folder."""
    folder.mkdir(parents=True)

    def save(event: evt.Event) -> int:
        event.dataset.file_meta = event.file_meta
        event.dataset.save_as(folder / f"{event.dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        return 0x0000

    entity = AE(ae_title="MONAI_SMIA")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
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
        if status and status.Status not in (0xFF00, 0x0000):
            raise ConnectionError(f"C-GET failed with status 0x{status.Status:04x}.")
    association.release()
    return folder


def store(host: str, port: int, called: str, folder: Path) -> int:
    """C-STORE every file of a folder; how many were taken."""
    entity = AE(ae_title="MONAI_SMIA")
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


def attack_series(series: Path, folder: Path, *, eps: float, steps: int) -> Path:
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

    storage = DicomStorage(folder)
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
    parser.add_argument("--series", required=True, help="SeriesInstanceUID")
    parser.add_argument("--eps", type=float, default=20.0, help="HU")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--output_dir", type=Path, default=Path("attacked"))
    options = parser.parse_args()
    host, port = options.pacs.rsplit(":", 1)
    source = fetch(host, int(port), options.called, options.series, options.output_dir / "source")
    written = attack_series(source, options.output_dir, eps=options.eps, steps=options.steps)
    count = store(host, int(port), options.called, written)
    print(f"stored {count} images as series {read_dicom_series(written).uid}")


if __name__ == "__main__":
    main()
