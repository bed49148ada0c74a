"""RT structure sets that a product returns, as label maps: contours filled plane by plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from skimage.draw import polygon2mask

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.queries import Query
from monai_smia.adapters.product.references import check_images, check_origin, series_of

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
BESIDE = 0.1  # of the distance of planes, by which a contour may lie beside its own
BEYOND = 1.0  # voxels that a contour may reach beyond the planes
EDGE = 0.5  # of a voxel, from its center to its border


def of_rtstruct(dataset: Any, query: Query, rois: Sequence[str] | None, classes: int) -> np.ndarray:
    """The label map of an RT structure set on a query's planes.

    A voxel is of a region where its center lies inside of its contours, or on one. Contours of a region in one plane
    are combined by the even-odd rule, so that one inside of another cuts a hole, as keyholes do.

    Args:
        dataset: the structure set.
        query: what was asked.
        rois: ROI names of the classes from 1 on; None takes ROI numbers, in their order.
        classes: that a label map may hold, with the background.

    Raises:
        AnswerError: if it is of another series or patient, contours lie beside the planes that were sent, a region is
            missing, there is one too many, or two share a voxel.
    """
    series = check_origin(dataset, query)
    check_images(_referred_images(dataset), query)
    frame = series.slices[0].header.get("FrameOfReferenceUID")
    labels, back = np.zeros(query.shape, np.uint16), np.linalg.inv(query.affine) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    contours = {int(each.ReferencedROINumber): each.get("ContourSequence") for each in _sequence(dataset, "ROIContour")}
    for value, number, name in _numbered(dataset, frame, rois, classes):
        if number not in contours:
            raise AnswerError(f"the answer has no contours of its region {name!r}, not even none.")
        region = _filled(contours[number] or [], back, query.shape, name)
        if bool((labels[region] > 0).any()):
            raise AnswerError(f"the answer's region {name!r} shares voxels with another: which class are they of?")
        labels[region] = value
    return labels


def _sequence(dataset: Any, name: str) -> Sequence[Any]:
    found: Sequence[Any] = dataset.get(f"{name}Sequence") or []
    return found


def _numbered(dataset: Any, frame: Any, rois: Sequence[str] | None, classes: int) -> list[tuple[int, int, str]]:
    """Class, number and name of every region."""
    found = [(int(roi.ROINumber), str(roi.get("ROIName", ""))) for roi in _sequence(dataset, "StructureSetROI")]
    if any(roi.get("ReferencedFrameOfReferenceUID") != frame for roi in _sequence(dataset, "StructureSetROI")):
        raise AnswerError("the answer has another FrameOfReferenceUID than the series that was sent.")
    if rois is None:
        if len(found) != classes - 1:
            names = ", ".join(name for _, name in found) or "none"
            raise AnswerError(
                f"the answer must have {classes - 1} regions, one for each class, got {len(found)}: {names}. Name "
                "those that are meant (rois), in the order of the classes."
            )
        return [(value, number, name) for value, (number, name) in enumerate(sorted(found), 1)]
    chosen = []
    for value, wanted in enumerate(rois, 1):
        same = [number for number, name in found if name == wanted]
        if len(same) != 1:
            there = ", ".join(sorted(name for _, name in found)) or "none"
            raise AnswerError(f"the answer must have one region called {wanted!r}, and has {len(same)} of {there}.")
        chosen.append((value, same[0], wanted))
    return chosen


def _filled(contours: Sequence[Any], back: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The voxels of a region ``(columns, rows, planes)``."""
    region = np.zeros(shape, bool)
    for contour in contours:
        kind, values = contour.get("ContourGeometricType"), np.asarray(contour.get("ContourData") or [], np.float64)
        if kind not in CLOSED:
            raise AnswerError(f"the answer's region {name!r} must be of closed planar contours, got {kind}.")
        if len(values) < 9 or len(values) % 3:
            raise AnswerError(f"the answer's region {name!r} has a contour of less than three points: is it whole?")
        points = np.c_[values.reshape(-1, 3), np.ones(len(values) // 3)] @ back.T
        index = int(np.rint(points[0, 2]))
        if float(np.abs(points[:, 2] - index).max()) > BESIDE or not 0 <= index < shape[2]:
            raise AnswerError(f"the answer's region {name!r} has a contour that lies on none of the planes sent.")
        flat = points[:, :2]
        if (flat < -EDGE - BEYOND).any() or (flat > np.asarray(shape[:2]) - EDGE + BEYOND).any():
            raise AnswerError(f"the answer's region {name!r} reaches beyond the planes that were sent.")
        region[..., index] ^= polygon2mask(shape[:2], flat)
    return region


def _referred_images(dataset: Any) -> set[str]:
    """The images that it, and its contours, are of."""
    images = [image for series in series_of(dataset) for image in series.get("ContourImageSequence") or []]
    for region in _sequence(dataset, "ROIContour"):
        for contour in region.get("ContourSequence") or []:
            images += contour.get("ContourImageSequence") or []
    return {str(image.ReferencedSOPInstanceUID) for image in images}
