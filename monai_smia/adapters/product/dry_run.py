"""One series to a product that is asked by DICOM, and what came back: before anything is tested."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset

from monai_smia.adapters.case_files import find_cases
from monai_smia.adapters.product.kinds import Finding
from monai_smia.adapters.product.queries import Source
from monai_smia.adapters.product.references import kind_of
from monai_smia.adapters.product.sender import Sender


def dry_run(node: Sender, series: Sequence[str | Path], classes: int, *, identified: bool = False) -> list[str]:
    """Send the first series, unchanged but for its identity, and say what came back.

    Args:
        node: the product.
        series: folders of DICOM series.
        classes: that an answer may hold.
        identified: derive from a series that does not say that it is de-identified.

    Returns:
        Lines of text, without a name or UID of the source.

    Raises:
        AnswerError: if there is no answer that fits.
    """
    (case,) = find_cases(series, limit=1)
    source = Source(case["image"], identified=identified)
    if source.series is None:
        raise ValueError("series must be folders of DICOM series, got NIfTI files.")
    with tempfile.TemporaryDirectory() as folder:
        query = source.write(source.before, Path(folder), "A dry run of a black-box test: nothing is changed.")
        start = time.perf_counter()
        came = node.result(query)
        seconds = time.perf_counter() - start
        answer = node.answers.of_object(came, query, classes)
    maker = f"{came.get('Manufacturer', '')} {came.get('ManufacturerModelName', '')}".strip()
    return [
        f"{case['case']}: {len(source.series.slices)} images sent to {node.told}, answered after {seconds:.1f} s.",
        f"{came.Modality} of {maker}{_parts(came)}.",
        f"It refers to the series that was sent, its study and patient{_frame(came)}.",
        _said(node, answer, classes),
        *(f"There also came {count} that {what}." for what, count in node.strays.items()),
    ]


def _parts(came: Dataset) -> str:
    """The names of its segments or regions."""
    if kind_of(came) == "DICOM SEG":
        return ", segments: " + ", ".join(f"{each.SegmentNumber} {each.SegmentLabel}" for each in came.SegmentSequence)
    if kind_of(came) == "RTSTRUCT":
        return ", regions: " + ", ".join(f"{each.ROINumber} {each.ROIName}" for each in came.StructureSetROISequence)
    return ""


def _frame(came: Dataset) -> str:
    return "" if kind_of(came) == "SR" else ", and lies in its frame of reference"


def _said(node: Sender, answer: np.ndarray, classes: int) -> str:
    """What the answer is, in a sentence."""
    if isinstance(node.answers, Finding):
        decided = int(node.answers.scores(answer, classes).argmax())
        told = ", ".join(f"{value:g}" for value in answer)
        return f"It says {told} ({node.answers.key}): decided as class {decided}."
    counts = zip(*np.unique(answer, return_counts=True), strict=True)
    return f"Voxels by class: {', '.join(f'{value}: {count}' for value, count in counts)}."
