"""What the example application is run on: the lung bundle as TorchScript, and a synthetic thorax as a DICOM series.

    python prepare.py --folder output/deploy

Writes ``model.ts``, the network of bundles/ct_lung_segmentation with its configs and deploy.yaml inside, and the series
``in``, de-identified, of nobody.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.bundle import ckpt_export
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from monai_smia.data import write_ct_phantoms
from monai_smia.targets.ct_lung import ct_datalist

HERE = Path(__file__).parent
BUNDLE = HERE.parents[1] / "bundles" / "ct_lung_segmentation"
AIR = -1024  # HU, of a stored 0
SIZE, SPACING = (80, 64, 32), (4.4, 4.4, 6.0)


def export(path: Path) -> None:
    """The bundle as one file, as the SDK takes it."""
    ckpt_export(
        "network_def",
        filepath=str(path),
        ckpt_file=str(BUNDLE / "models" / "model.pt"),
        meta_file=str(BUNDLE / "configs" / "metadata.json"),
        config_file=[str(BUNDLE / "configs" / "inference.yaml"), str(HERE / "deploy.yaml")],
        bundle_root=str(BUNDLE),
        input_shape=[1, 1, 96, 96, 96],
    )


def series(folder: Path) -> None:
    """A thorax of nobody as a CT series."""
    (item,) = ct_datalist(write_ct_phantoms(folder.parent / "phantom", 1, size=SIZE, spacing=SPACING, seed=7))
    volume = nib.load(item["image"])
    stored = np.clip(np.asarray(volume.dataobj).astype(int) - AIR, 0, 4095)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine  # from RAS to the patient's axes of DICOM
    study, uid, frame = (generate_uid() for _ in range(3))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for index in range(stored.shape[2]):
        plane(stored[..., index], affine, index, (study, uid, frame)).save_as(
            folder / f"{index:04d}.dcm", enforce_file_format=True
        )


def plane(pixels: np.ndarray, affine: np.ndarray, index: int, uids: tuple[str, str, str]) -> FileDataset:
    """One plane of it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = uids
    ds.ImageType, ds.Modality, ds.Manufacturer = ["ORIGINAL", "PRIMARY", "AXIAL"], "CT", "monai_smia"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "PHANTOM", "PHANTOM", "", ""
    ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", "synthetic"
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 1, index + 1, 1
    ds.BodyPartExamined, ds.PatientPosition, ds.KVP, ds.PositionReferenceIndicator = "CHEST", "HFS", 120, ""
    size = [round(abs(float(affine[axis, axis])), 4) for axis in range(3)]
    signs = np.sign(np.diag(affine)[:3])
    ds.PixelSpacing, ds.SliceThickness = [size[1], size[0]], size[2]
    ds.ImageOrientationPatient = [signs[0], 0, 0, 0, signs[1], 0]
    ds.ImagePositionPatient = [round(float(v), 4) for v in (affine @ [0, 0, index, 1])[:3]]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.Columns, ds.Rows = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = AIR, 1, "HU"
    ds.PixelData = pixels.T.astype("<u2").tobytes()
    return ds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where to write")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    export(folder / "model.ts")
    series(folder / "in")
    print(f"{folder / 'model.ts'}, {folder / 'in'}")
