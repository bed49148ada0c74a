"""DICOM SEG of a decision on a series, by highdicom (extra ``dicom``): for the viewer that shows the series."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from monai_smia import __version__
from monai_smia.dicom.segmentation import read_dicom_segmentation
from monai_smia.dicom.series import DicomSeries
from monai_smia.files import MARK, WriteError, replacing

MANUFACTURER = "monai_smia"
MODEL = "adversarial robustness test"
STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")  # of the context group of categories
NEEDED = "DICOM SEG needs highdicom: pip install 'monai_smia[dicom]'"


def segmentation_of(
    series: DicomSeries,
    decision: np.ndarray,
    names: Sequence[str],
    *,
    algorithm: str = MODEL,
    version: str = __version__,
    description: str = "",
    adversarial: bool = True,
) -> Dataset:
    """The DICOM SEG of a decision, with all planes of its series, in its study and of its patient.

    Args:
        series: of one file a plane; only read.
        decision: label map ``(columns, rows, planes)``, 0 where nothing is, k the k-th name; or 0/1 masks
            ``(K, columns, rows, planes)``, which may overlap.
        names: of the segments; one that SNOMED CT has in pydicom's dictionary (Lung, Liver, ...) is coded so.
        algorithm, version: what has decided.
        description: for ContentDescription, 64 characters.
        adversarial: mark it as the decision on an adversarial image, or to be laid over one.

    Raises:
        ImportError: if highdicom is not installed.
        ValueError: if the decision is not on the series' grid, or has no whole numbers from 0 to the number of names.

    Example:
        >>> series = read_dicom_series("ct")  # doctest: +SKIP
        >>> segmentation_of(series, mask, ["lung"]).save_as("lung.dcm")  # doctest: +SKIP
    """
    frames = _frames(series, decision, len(names))
    try:
        import highdicom as hd
    except ImportError as error:
        raise ImportError(NEEDED) from error
    by = hd.AlgorithmIdentificationSequence(algorithm, codes.DCM.ArtificialIntelligence, version)
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=STRUCTURE,
            segmented_property_type=_code(name),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=by,
        )
        for number, name in enumerate(names, 1)
    ]
    found: Dataset = hd.seg.Segmentation(
        source_images=[dcmread(plane.path) for plane in series.slices],
        pixel_array=frames,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=__version__,
        device_serial_number="0",
        omit_empty_frames=False,
        **({"content_description": description[:64]} if description else {}),
    )
    if adversarial:
        found.SeriesDescription = f"{MARK}: {description}"[:64] if description else MARK
        found.ImageComments = MARK
        found.ContentQualification = "RESEARCH"
        found.add_new(0x0008001C, "CS", "YES")  # Synthetic Data
    return found


def write_segmentation(
    series: DicomSeries, decision: np.ndarray, names: Sequence[str], path: str | os.PathLike[str], **options: Any
) -> Path:
    """Write the DICOM SEG of a decision, read it back and compare it with the decision, voxel by voxel.

    Args:
        series, decision, names: as for `segmentation_of`.
        path: file to write, in the place of an earlier one.
        **options: its further arguments.

    Raises:
        WriteError: if the operating system does not let it be written, or it does not hold the decision.
    """
    dataset = segmentation_of(series, decision, names, **options)
    path = Path(path)
    with replacing(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
        read = read_dicom_segmentation(temporary)
        for number in range(1, len(names) + 1):
            expected = decision == number if decision.ndim == 3 else decision[number - 1] > 0
            if not np.array_equal(read.mask(series, [number]) > 0, expected):
                raise WriteError(errno.EIO, f"{path.name} does not hold segment {number} of the decision")
    return path


def _frames(series: DicomSeries, decision: np.ndarray, count: int) -> np.ndarray:
    """As highdicom takes them: planes, rows, columns, and segments where they may overlap."""
    if decision.shape[-3:] != series.shape or decision.ndim not in (3, 4):
        raise ValueError(f"decision must be on the grid of its series {series.shape}, got {decision.shape}.")
    many = decision.ndim == 4
    most = 1 if many else count
    if (decision < 0).any() or (decision > most).any() or (many and len(decision) != count):
        raise ValueError(f"decision must hold whole numbers from 0 to {most}, of {count} segments, got others.")
    axes = (3, 2, 1, 0) if many else (2, 1, 0)
    return np.ascontiguousarray(decision.transpose(axes)).astype(np.uint8)


def _code(name: str) -> Any:
    """What SNOMED CT calls a structure, as far as pydicom's dictionary has it; else a tissue."""
    words = "".join(word.capitalize() for word in name.replace("_", " ").replace("-", " ").split())
    for keyword in (words, words.removesuffix("s")):
        if keyword.isidentifier():
            try:
                return getattr(codes.SCT, keyword)
            except AttributeError:
                continue
    return codes.SCT.Tissue
