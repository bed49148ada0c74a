"""Kinds of answers: label maps, and findings: a probability, a measurement, a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import nibabel as nib
import numpy as np

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.queries import NIFTI, Query
from monai_smia.adapters.product.references import kind_of, read_object
from monai_smia.adapters.product.reports import number_of, of_json, of_report
from monai_smia.adapters.product.rtstruct import of_rtstruct
from monai_smia.adapters.product.seg import of_seg
from monai_smia.dicom import looks_like_dicom
from monai_smia.storage.whole import check_whole

NEAR = 1e-2  # mm, between affines
LEAST = 1e-30  # of a probability, in whose place its logarithm is taken
SUM = 1e-2  # that probabilities may miss 1 by, which are printed with few digits
TIE = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Masks:
    """Answers that are label maps: NIfTI, DICOM SEG or RTSTRUCT.

    Args:
        rois: of an RTSTRUCT, names of the regions that are the classes from 1 on; None takes them by their numbers.

    Raises:
        ValueError: if two regions have one name.
    """

    file: ClassVar[str] = "answer.nii.gz"
    scored: ClassVar[bool] = False

    rois: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.rois is not None:
            object.__setattr__(self, "rois", tuple(map(str, self.rois)))
            if not self.rois or len(set(self.rois)) < len(self.rois):
                raise ValueError(f"rois must be names of regions, each once, got {list(self.rois)}.")

    def fits(self, path: Path) -> bool:
        """Whether a file can be an answer at all."""
        return path.name.endswith(NIFTI) or looks_like_dicom(path)

    def check(self, classes: int) -> None:
        """Raise where there are other regions than classes.

        Raises:
            ValueError: that names both.
        """
        if self.rois is not None and len(self.rois) != classes - 1:
            raise ValueError(f"rois must name {classes - 1} regions, one for each class from 1 on, got {self.rois}.")

    def of_file(self, path: Path, query: Query, classes: int) -> np.ndarray:
        """The label map of a file.

        Raises:
            AnswerError: if it does not fit.
        """
        if path.name.endswith(NIFTI):
            return checked(_of_nifti(path, query), classes)
        if looks_like_dicom(path):
            return self.of_object(read_object(path), query, classes)
        raise AnswerError(f"the answer {path.name} must be NIfTI, DICOM SEG or RTSTRUCT.")

    def of_object(self, dataset: Any, query: Query, classes: int) -> np.ndarray:
        """The label map of a DICOM object.

        Raises:
            AnswerError: if it does not fit.
        """
        if kind_of(dataset) == "RTSTRUCT":
            return checked(of_rtstruct(dataset, query, self.rois, classes), classes)
        return checked(of_seg(dataset, query), classes)


@dataclass(frozen=True)
class Finding:
    """Answers that say something of the whole image: JSON of a command, a structured report (SR) of a node.

    With a threshold the answer is a number, a probability or a measurement, and the decision is class 1 where it
    reaches the threshold, else class 0. Without one it is a class, by name or number, or one probability for each
    class, of which the largest decides.

    Args:
        key: where it stands: of JSON names with dots between, ``"findings.0.probability"``; of a report the code value
            or meaning of a concept, ``"Volume"``, ``"SCT:118565006"``.
        threshold: the reader's, in the unit of the number.
        below: class 1 is decided where the number is below the threshold.
        names: of the classes, from 0 on, as the product calls them; None for numbers.

    Raises:
        ValueError: if an argument does not fit.

    Example:
        >>> finding = Finding("nodule.probability", threshold=0.5)
        >>> finding.scores(np.asarray([0.75])).tolist()
        [0.0, 0.25]
    """

    file: ClassVar[str] = "answer.json"

    key: str = ""
    threshold: float | None = None
    below: bool = False
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise ValueError(f"key must be a text, got {self.key!r}.")
        if self.threshold is not None and (
            isinstance(self.threshold, bool)
            or not isinstance(self.threshold, (int, float))
            or not np.isfinite(self.threshold)
        ):
            raise ValueError(f"threshold must be a finite number, or None, got {self.threshold!r}.")
        if self.below and self.threshold is None:
            raise ValueError("below says on which side of a threshold class 1 lies: give the threshold.")
        if self.names is not None:
            object.__setattr__(self, "names", tuple(map(str, self.names)))
            if len(set(self.names)) < len(self.names):
                raise ValueError(f"names of classes must differ, got {list(self.names)}.")

    @property
    def scored(self) -> bool:
        """Whether the product is known to give a number that attacks can go by."""
        return self.threshold is not None

    def fits(self, path: Path) -> bool:
        """Whether a file can be an answer at all."""
        return path.name.endswith(".json") or looks_like_dicom(path)

    def check(self, classes: int) -> None:
        """Raise where there are other classes than the threshold or the names have.

        Raises:
            ValueError: that says which.
        """
        if self.threshold is not None and classes != 2:
            raise ValueError(f"classes must be 2 with a threshold, got {classes}.")
        if self.names is not None and len(self.names) != classes:
            raise ValueError(f"class_names must be {classes}, one for each class, got {list(self.names)}.")

    def of_file(self, path: Path, query: Query, classes: int) -> np.ndarray:
        """What a file says ``(1,)``, or its probabilities ``(K,)``.

        Raises:
            AnswerError: if it does not fit.
        """
        if path.name.endswith(".json"):
            return self.of_value(of_json(path, self.key), classes)
        return self.of_object(read_object(path), query, classes)

    def of_object(self, dataset: Any, query: Query, classes: int) -> np.ndarray:
        """What a structured report says ``(1,)``.

        Raises:
            AnswerError: if it does not fit.
        """
        return self.of_value(of_report(dataset, query, self.key), classes)

    def of_value(self, value: Any, classes: int) -> np.ndarray:
        """A value as the product says it, float64: ``(1,)``, or probabilities ``(K,)``.

        Raises:
            AnswerError: if it is no number, no class or no probabilities.
        """
        if self.threshold is not None:
            return np.asarray([number_of(value)])
        if isinstance(value, dict):
            wanted = self.names or tuple(map(str, range(classes)))
            if set(value) != set(wanted):
                raise AnswerError(f"the answer must have a probability of each of {list(wanted)}, got {list(value)}.")
            value = [value[name] for name in wanted]
        if isinstance(value, list):
            return _probabilities(value, classes)
        if self.names is not None and value in self.names:
            return np.asarray([float(self.names.index(value))])
        whole = not isinstance(value, bool) and isinstance(value, (int, float)) and value == int(value)
        if not whole or not 0 <= value < classes:
            known = list(self.names) if self.names is not None else f"whole numbers from 0 to {classes - 1}"
            raise AnswerError(f"the answer must be a class of {known}, got {value!r}; of a number give a threshold.")
        return np.asarray([float(value)])

    def scores(self, answer: np.ndarray, classes: int = 2) -> np.ndarray:
        """One score a class ``(K,)``, of which the highest decides.

        Args:
            answer: as `of_value` gives it.
            classes: how many there are.
        """
        if self.threshold is not None:
            above = float(answer[0]) - self.threshold
            margin = -above if self.below else above
            return np.asarray([0.0, margin if above else (-TIE if self.below else TIE)])
        if len(answer) > 1:
            return np.log(np.maximum(answer, LEAST))
        return np.eye(classes)[int(answer[0])]


def _probabilities(values: Sequence[Any], classes: int) -> np.ndarray:
    found = np.asarray([number_of(value) for value in values])
    if len(found) != classes or found.min() < 0 or abs(found.sum() - 1) > SUM:
        raise AnswerError(
            f"the answer must be {classes} probabilities that sum to 1, got {[float(v) for v in found]}; of several "
            "findings give the key of one, and a threshold."
        )
    return found


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
