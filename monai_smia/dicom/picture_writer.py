"""A derived DICOM picture: changed or scaled pixels under new UIDs, marked, complete or not there."""

from __future__ import annotations

import datetime
import errno
import os
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    OphthalmicPhotography8BitImageStorage,
    SecondaryCaptureImageStorage,
    VideoEndoscopicImageStorage,
    VideoPhotographicImageStorage,
    VLEndoscopicImageStorage,
    VLPhotographicImageStorage,
    generate_uid,
)

from monai_smia.checks import check_switch
from monai_smia.dicom.derived import (
    RESAMPLING,
    check_deidentified,
    derived_file,
    derived_from,
    mark,
    research_patient,
    save,
)
from monai_smia.dicom.kept import kept_of
from monai_smia.dicom.pictures import DicomPicture, frames_in, lossy_history, read_dicom_picture
from monai_smia.files import WriteError, replacing

SCALED = "SCALED COPY FOR TESTS - NOT FOR CLINICAL USE"
CAPTURES = (SecondaryCaptureImageStorage, MultiFrameTrueColorSecondaryCaptureImageStorage)
VIDEOS = (VideoEndoscopicImageStorage, VideoPhotographicImageStorage)
WRITTEN = (
    *(OphthalmicPhotography8BitImageStorage, VLEndoscopicImageStorage, VLPhotographicImageStorage),
    *(*VIDEOS, *CAPTURES),
)
# of all frames, of the values that were, or of pixels of another size
OTHERS = (
    *("FrameTime", "FrameTimeVector", "FrameIncrementPointer", "RepresentativeFrameNumber", "FrameNumbersOfInterest"),
    *("StartTrim", "StopTrim", "PixelPaddingValue", "PixelPaddingRangeLimit", "AcquisitionNumber"),
)
SIZES = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")


def write_dicom_picture(
    source: DicomPicture,
    pixels: np.ndarray,
    path: str | os.PathLike[str],
    *,
    description: str = "",
    identified: bool = False,
    adversarial: bool = True,
) -> Path:
    """Write a frame with other pixels as a picture derived from its file: one frame, RGB, uncompressed.

    It is of the source's own class, in a study of its own of a research patient, under new UIDs, and says what it is in
    codes and in text, as a series does (`write_dicom_series`); of the header it keeps the same and a few elements of
    pictures (`monai_smia.dicom.kept`). What compression with loss has done to the pixels before stays said.

    Args:
        source: the frame; its file is only read.
        pixels: new grey levels ``(rows, columns, 3)`` uint8; of another size for a scaled copy alone.
        path: file to write, in the place of one of an earlier run.
        description: for DerivationDescription: the attack, its radius, its seed.
        identified: allow a source that does not say that it is de-identified, or says that text is burned in.
        adversarial: False for a copy that was scaled and not attacked, which is marked as that. Any source may be
            scaled: nothing is kept of whose it is.

    Raises:
        ValueError: if the source is not de-identified, of a class that is not written, or the pixels do not fit it.
        WriteError: if the operating system does not let it be written, or it does not hold what was written.
    """
    check_switch("identified", identified)
    path, header = Path(path), source.header
    if header.SOPClassUID not in WRITTEN:
        known = ", ".join(uid.name.removesuffix(" Storage") for uid in WRITTEN)
        raise ValueError(f"source must be one of {known}, got {header.SOPClassUID.name}.")
    same = not adversarial or pixels.shape == source.pixels.shape
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not same:
        raise ValueError(f"pixels must be uint8 of shape {source.pixels.shape}, got {pixels.dtype} {pixels.shape}.")
    if adversarial and not identified:
        check_deidentified(header, source.path.name)
        if header.get("BurnedInAnnotation") == "YES":
            raise ValueError(
                f"source is not de-identified: {source.path.name} says that text is burned into its pixels "
                "(BurnedInAnnotation YES); set identified=True to write it all the same."
            )
    ds = _derived(source, pixels, description, adversarial)
    with replacing(path) as temporary:
        save(ds, temporary)
        if not np.array_equal(read_dicom_picture(temporary).pixels, pixels):
            raise WriteError(errno.EIO, f"{path.name} does not hold what was to be written")
    return path


def _derived(source: DicomPicture, pixels: np.ndarray, description: str, adversarial: bool) -> FileDataset:
    header = source.header
    ds = derived_file(kept_of(header, same_study=False, picture=True))
    for name in (*OTHERS, *(() if adversarial else SIZES)):
        if name in ds:
            delattr(ds, name)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.SeriesNumber, ds.InstanceNumber = 9000 + int(header.get("SeriesNumber") or 0) % 1000, 1
    ds.ImageType = ["DERIVED", "SECONDARY"]
    if header.SOPClassUID == OphthalmicPhotography8BitImageStorage:  # whose second value has no other
        ds.ImageType = ["DERIVED", "PRIMARY", "ADVERSARIAL" if adversarial else "RESAMPLED"]
    research_patient(ds, header)
    del ds.PositionReferenceIndicator  # of a frame of reference, which pictures have none of
    if adversarial:
        mark(ds, header, description)
    else:
        ds.StudyDescription = ds.SeriesDescription = ds.ImageComments = SCALED
        ds.DerivationDescription = f"{SCALED}. {description}".strip()[:1024]
        derived_from(ds, header, RESAMPLING)
        ds.SourceImageSequence[0].SpatialLocationsPreserved = "NO"
    if frames_in(header) > 1:
        ds.SourceImageSequence[0].ReferencedFrameNumber = source.frame
    for name in ("LossyImageCompression", "LossyImageCompressionMethod", "LossyImageCompressionRatio"):
        if name in ds:
            delattr(ds, name)
    for name, value in lossy_history(header, _bytes(source)).items():
        setattr(ds, name, value)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Rows, ds.Columns = pixels.shape[:2]
    _required(ds, header)
    data = np.ascontiguousarray(pixels).tobytes()
    ds.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    return ds


def _bytes(source: DicomPicture) -> tuple[int, int]:
    """Of a frame: as the file has it, on average, and as it is."""
    return source.path.stat().st_size // frames_in(source.header), source.pixels.nbytes


def _required(ds: FileDataset, header: Dataset) -> None:
    """What a class must say that no allow-list keeps, or that is of the derived picture itself."""
    for name in ("Manufacturer", "PatientOrientation"):
        if name not in ds:
            setattr(ds, name, "")
    now = datetime.datetime.now(datetime.timezone.utc)
    ds.ContentDate, ds.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    if ds.SOPClassUID not in CAPTURES:
        ds.AcquisitionContextSequence = []
    if ds.SOPClassUID in CAPTURES:
        ds.ConversionType = "SYN"
    if ds.SOPClassUID == OphthalmicPhotography8BitImageStorage:
        ds.SynchronizationFrameOfReferenceUID = generate_uid()
        ds.SynchronizationTrigger, ds.AcquisitionTimeSynchronized = "NO TRIGGER", "N"
        ds.RefractiveStateSequence = ds.MydriaticAgentSequence = []
    if "NumberOfFrames" in ds or ds.SOPClassUID in (*VIDEOS, OphthalmicPhotography8BitImageStorage, CAPTURES[1]):
        ds.NumberOfFrames = 1
    if ds.SOPClassUID in (*VIDEOS, OphthalmicPhotography8BitImageStorage):
        ds.FrameTime = header.get("FrameTime") or 0
        ds.FrameIncrementPointer = 0x00181063  # FrameTime
