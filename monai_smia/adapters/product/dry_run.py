"""One series to a node, and what came back: before anything is tested."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_smia.adapters.case_files import find_cases
from monai_smia.adapters.product.answers import checked, of_seg
from monai_smia.adapters.product.node import DicomNode
from monai_smia.adapters.product.queries import Source


def dry_run(node: DicomNode, series: Sequence[str | Path], classes: int, *, identified: bool = False) -> list[str]:
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
        seg = node.result(query)
        seconds = time.perf_counter() - start
        labels = checked(of_seg(seg, query), classes)
    names = ", ".join(f"{each.SegmentNumber} {each.SegmentLabel}" for each in seg.SegmentSequence)
    counts = ", ".join(f"{value}: {count}" for value, count in zip(*np.unique(labels, return_counts=True), strict=True))
    return [
        f"{case['case']}: {len(source.series.slices)} images sent to {node.send_to}, answered after {seconds:.1f} s.",
        f"{seg.Modality} of {seg.get('Manufacturer', '')} {seg.get('ManufacturerModelName', '')}, segments: {names}.",
        "It refers to the series that was sent, its study, patient and frame of reference.",
        f"Voxels by class: {counts}.",
        *(f"There also came {count} that {what}." for what, count in node.strays.items()),
    ]
