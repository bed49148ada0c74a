"""What a command has written: the one file that is its answer, written after it was asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.kinds import Finding, Masks
from monai_smia.adapters.product.queries import Query

SLACK = 2_000_000_000  # nanoseconds that a file system's clock may be behind


def answer_of(
    folder: Path, query: Query, classes: int, *, since: int, kind: Masks | Finding | None = None
) -> np.ndarray:
    """What a product has written for a query.

    Args:
        folder: file, or folder that holds one file that fits.
        query: what was asked.
        classes: that an answer may hold, with the background.
        since: when it was asked, in nanoseconds; an older file is none of its answers.
        kind: of the answer; None for a label map: NIfTI, DICOM SEG or RTSTRUCT.

    Returns:
        As the kind reads it: of a label map whole numbers from 0 on, of the query's shape.

    Raises:
        AnswerError: if there is none, or it does not fit; with the reason.
    """
    kind = kind or Masks()
    path = _only_file(folder, kind)
    if path.stat().st_mtime_ns < since - SLACK:
        raise AnswerError(f"the answer {path.name} was written before it was asked for: it is one to something else.")
    return kind.of_file(path, query, classes)


def _only_file(folder: Path, kind: Masks | Finding) -> Path:
    if folder.is_file():
        return folder
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []
    answers = [path for path in files if kind.fits(path)]
    if not answers:
        others = f"; it wrote {', '.join(path.name for path in files[:3])}" if files else ""
        raise AnswerError(f"the product said that all was well and wrote no answer{others}.")
    if len(answers) > 1:
        names = ", ".join(path.name for path in answers[:3])
        raise AnswerError(f"the product must write one answer, got {len(answers)}: {names}.")
    return answers[0]
