"""DICOM segmentations that a product returns, as label maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.queries import Query
from monai_smia.adapters.product.references import check_images, check_origin, kind_of

ORIGIN = ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID")


def of_seg(seg: Any, query: Query) -> np.ndarray:
    """The label map of a DICOM SEG on a query's planes, segment numbers as classes.

    Raises:
        AnswerError: if it refers to another series or patient, or to planes that were not sent, or cannot be read.
    """
    if query.series is not None and kind_of(seg) != "DICOM SEG":
        raise AnswerError("the answer must be a DICOM SEG, and is another object.")
    series = check_origin(seg, query, ORIGIN)
    uids = [str(plane.header.SOPInstanceUID) for plane in series.slices]
    check_images(_referred_images(seg), query)
    import highdicom

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


def _referred_images(seg: Any) -> set[str]:
    """The images that its frames are of.

    Raises:
        AnswerError: if a frame refers to none: readers leave it out, as if it were empty.
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
    return referred
