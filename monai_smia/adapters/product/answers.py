"""Answers of a product as label maps, read and checked against what was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.queries import NIFTI, Query
from monai_smia.dicom import looks_like_dicom
from monai_smia.storage.whole import check_whole

NEAR = 1e-2  # mm, between affines
SLACK = 2_000_000_000  # nanoseconds that a file system's clock may be behind
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def answer_of(folder: Path, query: Query, classes: int, *, since: int) -> np.ndarray:
    """The label map that a product has written for a query.

    Args:
        folder: file, or folder that holds one file: NIfTI, or DICOM SEG.
        query: what was asked.
        classes: that a label map may hold, with the background.
        since: when it was asked, in nanoseconds; an older file is none of its answers.

    Returns:
        Whole numbers from 0 on, of the query's shape.

    Raises:
        AnswerError: if there is none, or it does not fit; with the reason.
    """
    path = _only_file(folder)
    if path.stat().st_mtime_ns < since - SLACK:
        raise AnswerError(f"the answer {path.name} was written before it was asked for: it is one to something else.")
    if path.name.endswith(NIFTI):
        return checked(_of_nifti(path, query), classes)
    if looks_like_dicom(path):
        return checked(of_seg(pydicom.dcmread(path), query), classes)
    raise AnswerError(f"the answer {path.name} must be NIfTI or DICOM SEG.")


def checked(labels: np.ndarray, classes: int) -> np.ndarray:
    """A label map of whole numbers, each a class.

    Raises:
        AnswerError: if a value is none.
    """
    values = np.asarray(labels)
    whole = np.rint(values)
    if not np.isfinite(values).all() or np.abs(values - whole).max(initial=0) > 1e-3:
        raise AnswerError("the answer must hold whole numbers, one for each class, and holds others: is it the mask?")
    low, high = int(whole.min(initial=0)), int(whole.max(initial=0))
    if low < 0 or high >= classes:
        raise AnswerError(f"the answer must hold classes from 0 to {classes - 1}, got {low} to {high}.")
    return whole.astype(np.uint16)


def _only_file(folder: Path) -> Path:
    if folder.is_file():
        return folder
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []
    answers = [path for path in files if path.name.endswith(NIFTI) or looks_like_dicom(path)]
    if not answers:
        others = f"; it wrote {', '.join(path.name for path in files[:3])}" if files else ""
        raise AnswerError(f"the product said that all was well and wrote no answer{others}.")
    if len(answers) > 1:
        names = ", ".join(path.name for path in answers[:3])
        raise AnswerError(f"the product must write one answer, got {len(answers)}: {names}.")
    return answers[0]


def _of_nifti(path: Path, query: Query) -> np.ndarray:
    try:
        check_whole(path)
        image: Any = nib.load(path)
        shape, affine = image.shape, image.affine
        values = np.asarray(image.dataobj)
    except Exception as error:  # a file that is cut off fails in many ways
        raise AnswerError(f"the answer {path.name} cannot be read: {error}") from error
    if shape != query.shape and (len(shape) != 4 or shape[3] != 1 or shape[:3] != query.shape):
        raise AnswerError(f"the answer must lie on the grid of what was asked, {query.shape}, got {shape}.")
    if not np.allclose(affine, query.affine, atol=NEAR):
        raise AnswerError(
            "the answer must lie on the grid of what was asked, and has another affine: "
            f"{np.round(affine, 3).tolist()}, asked {np.round(query.affine, 3).tolist()}."
        )
    return values.reshape(query.shape)


def of_seg(seg: Any, query: Query) -> np.ndarray:
    """The label map of a DICOM SEG on a query's planes, segment numbers as classes.

    Raises:
        AnswerError: if it refers to another series or patient, or to planes that were not sent, or cannot be read.
    """
    if query.series is None:
        raise AnswerError("the answer is a DICOM SEG, and what was asked is no DICOM series: is it its own?")
    if seg.get("SOPClassUID") != SEGMENTATION:
        raise AnswerError("the answer must be a DICOM SEG, and is another object.")
    header = query.series.slices[0].header
    referred = [str(each.SeriesInstanceUID) for each in seg.get("ReferencedSeriesSequence", [])]
    if query.series.uid not in referred:
        raise AnswerError("the answer refers to another series than that which was sent.")
    for name in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID"):
        if seg.get(name) != header.get(name):
            raise AnswerError(f"the answer has another {name} than the series that was sent.")
    _check_references(seg, {str(plane.header.SOPInstanceUID) for plane in query.series.slices})
    import highdicom

    uids = [str(plane.header.SOPInstanceUID) for plane in query.series.slices]
    try:
        read = highdicom.seg.Segmentation.from_dataset(seg, copy=False)
        frames = read.get_pixels_by_source_instance(
            uids, combine_segments=True, assert_missing_frames_are_empty=True, skip_overlap_checks=False
        )
    except Exception as error:  # whatever it holds of wrong references, overlapping segments or half a file
        raise AnswerError(f"the answer cannot be read on the planes that were sent: {error}") from error
    labels = np.asarray(frames).transpose(2, 1, 0)
    if labels.shape != query.shape:
        raise AnswerError(f"the answer must lie on the grid of what was sent, {query.shape}, got {labels.shape}.")
    return labels


def _check_references(seg: Any, sent: set[str]) -> None:
    """Raise where a frame refers to an image that was not sent, or to none: readers leave it out, as if it were empty.

    Raises:
        AnswerError: that says how many.
    """
    referred: set[str] = set()
    for frame in seg.get("PerFrameFunctionalGroupsSequence") or []:
        images = [
            str(source.ReferencedSOPInstanceUID)
            for derivation in frame.get("DerivationImageSequence") or []
            for source in derivation.get("SourceImageSequence") or []
        ]
        if not images:
            raise AnswerError("the answer holds a frame that does not say which image it is of.")
        referred.update(images)
    if others := referred - sent:
        raise AnswerError(f"the answer refers to {len(others)} images that were not sent.")
