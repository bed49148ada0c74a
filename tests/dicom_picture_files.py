"""Small color pictures of DICOM as files: a photograph of an eye, a frame of an endoscope, several of its video."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    OphthalmicPhotography8BitImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    VideoEndoscopicImageStorage,
    VLEndoscopicImageStorage,
    generate_uid,
)

OP, ES, VIDEO = OphthalmicPhotography8BitImageStorage, VLEndoscopicImageStorage, VideoEndoscopicImageStorage
CAPTURE, CAPTURES = SecondaryCaptureImageStorage, MultiFrameTrueColorSecondaryCaptureImageStorage


def scene(seed: int = 0, size: tuple[int, int] = (48, 40)) -> np.ndarray:
    """Smooth colors with some noise ``(rows, columns, 3)`` uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = size
    y, x = np.mgrid[:rows, :columns] / max(size)
    waves = [np.sin(5 * x + seed), np.cos(4 * y), np.sin(3 * (x + y))]
    base = 120 + 60 * np.stack(waves, -1) + rng.integers(-4, 5, (rows, columns, 3))
    return base.round().clip(0, 255).astype(np.uint8)


def coded(meaning: str, value: str, scheme: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def header(kind: str, *, deidentified: bool = True) -> FileDataset:
    """All that a class must say but what its pixels are."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "SECRET^NAME", "SECRET-ID", "", "O"
    if deidentified:
        ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", "attribute allow-list"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.ReferringPhysicianName = "20200102", "120000", "ACC-1", ""
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber, ds.Manufacturer = "", 4, 1, "ACME"
    ds.InstitutionName = "SECRET CLINIC"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.ContentDate, ds.ContentTime, ds.AcquisitionDateTime = "20200102", "120000", "20200102120000"
    ds.Modality = "OP" if kind == OP else "ES"
    if kind in (CAPTURE, CAPTURES):
        ds.ConversionType, ds.Modality, ds.PatientOrientation = "DI", "OP", ""
        ds.Laterality, ds.BurnedInAnnotation = "L", "NO"
    if kind in (ES, VIDEO):
        ds.AcquisitionContextSequence, ds.PatientOrientation = [], ""
        ds.AnatomicRegionSequence = [coded("Colon", "71854001", "SCT")]
    if kind == OP:
        ds.SynchronizationFrameOfReferenceUID = generate_uid()
        ds.SynchronizationTrigger, ds.AcquisitionTimeSynchronized = "NO TRIGGER", "N"
        ds.ManufacturerModelName, ds.SoftwareVersions, ds.DeviceSerialNumber = "CAMERA", "1", "SERIAL-7"
        ds.ImageLaterality, ds.PatientOrientation, ds.BurnedInAnnotation = "L", ["L", "F"], "NO"
        ds.AnatomicRegionSequence = [coded("Retina", "5665001", "SCT")]
        ds.PatientEyeMovementCommanded, ds.PupilDilated, ds.DetectorType = "NO", "YES", "CCD"
        ds.HorizontalFieldOfView, ds.EmmetropicMagnification, ds.IntraOcularPressure = 45.0, None, None
        ds.RefractiveStateSequence, ds.AcquisitionContextSequence, ds.LensesCodeSequence = [], [], []
        ds.DegreeOfDilation, ds.MydriaticAgentSequence = None, []
        ds.AcquisitionDeviceTypeCodeSequence = [coded("Fundus Camera", "409898007", "SCT")]
        ds.IlluminationTypeCodeSequence, ds.LightPathFilterTypeStackCodeSequence = [], []
        ds.ImagePathFilterTypeStackCodeSequence = []
        ds.ICCProfile = _profile()
    return ds


def _profile() -> bytes:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile + b"\0" * (len(profile) % 2)


def picture(
    frames: np.ndarray | list[np.ndarray],
    kind: str = OP,
    *,
    look: str = "RGB",
    planar: int = 0,
    syntax: str = ExplicitVRLittleEndian,
    quality: int = 90,
    deidentified: bool = True,
    **changed: Any,
) -> FileDataset:
    """One file of one or several frames ``(rows, columns, 3)``.

    Args:
        frames: RGB.
        kind: class.
        look: PhotometricInterpretation; JPEG baseline has YBR_FULL_422, with its lossy flags.
        planar: PlanarConfiguration.
        syntax: uncompressed, RLE, JPEG baseline or JPEG 2000.
        quality: of JPEG.
        deidentified: whether the header says so.
        **changed: elements to set, or with None to take away, at last.
    """
    several = [frames] if isinstance(frames, np.ndarray) else list(frames)
    ds = header(kind, deidentified=deidentified)
    ds.Rows, ds.Columns = several[0].shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, look, planar
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.LossyImageCompression = "00"
    if kind in (OP, VIDEO, CAPTURES) or len(several) > 1:
        ds.NumberOfFrames = len(several)
        if kind in (OP, VIDEO) or len(several) > 1:
            ds.FrameTime, ds.FrameIncrementPointer = 40, 0x00181063
    if syntax == JPEGBaseline8Bit:
        ds.file_meta.TransferSyntaxUID = syntax
        streams = [_jpeg(frame, quality) for frame in several]
        ds.PixelData = encapsulate(streams)
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
        ds.LossyImageCompressionRatio = f"{several[0].nbytes * len(several) / sum(map(len, streams)):.3g}"
        ds["PixelData"].VR = "OB"
    else:
        data = b"".join(_plain(frame, look, planar) for frame in several)
        ds.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
        if syntax != ExplicitVRLittleEndian:
            ds.compress(syntax, generate_instance_uid=False)
    for name, value in changed.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    return ds


def _jpeg(frame: np.ndarray, quality: int) -> bytes:
    stream = BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=quality, subsampling="4:2:2")
    return stream.getvalue()


def _plain(frame: np.ndarray, look: str, planar: int) -> bytes:
    if look == "RGB":
        return (frame.transpose(2, 0, 1) if planar else frame).tobytes()
    y, b, r = np.moveaxis(ybr(frame), -1, 0)
    if look == "YBR_FULL":
        return (np.stack([y, b, r], 0 if planar else -1)).tobytes()
    packed = np.stack([y[:, ::2], y[:, 1::2], b[:, ::2], r[:, ::2]], -1)  # of two pixels one color
    return packed.tobytes()


def ybr(frame: np.ndarray) -> np.ndarray:
    """Equations of PS3.3 C.7.6.3.1.2, rounded."""
    r, g, b = (frame[..., i].astype(float) for i in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb = -0.168736 * r - 0.331264 * g + 0.5 * b + 128
    cr = 0.5 * r - 0.418688 * g - 0.081312 * b + 128
    return np.stack([y, cb, cr], -1).round().clip(0, 255).astype(np.uint8)


def save_picture(ds: FileDataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


RLE, J2K, JPEG = RLELossless, JPEG2000Lossless, JPEGBaseline8Bit
