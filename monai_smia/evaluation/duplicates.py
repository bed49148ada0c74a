"""The same picture twice: among the cases, or among what the network was trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from monai.transforms import LoadImage
from torch import Tensor
from torch.nn import functional as F

LOGGER = logging.getLogger(__name__)
SIDE = 32  # of the small images that are compared
SAME = 0.998  # their correlation: above it, it is one picture, perhaps compressed or resized
TOLD = 3  # pairs that a sentence names


def find_duplicates(
    cases: Sequence[Mapping[str, Any]], training: Sequence[Mapping[str, Any]] = ()
) -> list[tuple[str, str]]:
    """Cases that show the same picture as another case, or as an item of the training.

    Images are averaged over the cells of a grid of 32 along every axis and compared by correlation: the same picture is
    found though it was compressed or resized (above .998), another one of the same examination is not. What cannot be
    read is no duplicate of anything, and is named in the log.

    Args:
        cases: items with ``image`` (a file, a series, or files of channels) and a name ``case``.
        training: items with ``image``; their ``case``, or the file's name, is told.

    Returns:
        Pairs of a case's name and the name of what it is a duplicate of: an earlier case, or an item of the training.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from monai_smia.targets.fundus import write_fundus_phantoms
        >>> from monai_smia.targets.fundus import fundus_datalist
        >>> with TemporaryDirectory() as tmp:
        ...     eyes = fundus_datalist(write_fundus_phantoms(tmp, 1, size=64))
        ...     find_duplicates(eyes[:2], eyes[1:])
        [('grade1_eye1', 'grade1_eye1')]
    """
    ours, theirs = ([(_name(item), _small(item["image"])) for item in items] for items in (cases, training))
    found = []
    for number, (name, small) in enumerate(ours):
        others = [*theirs, *ours[:number]]
        found += [(name, other) for other, theirs_small in others if _same(small, theirs_small)][:1]
    return found


def duplicates_told(cases: Sequence[Mapping[str, Any]], training: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the report says of `find_duplicates`, in a sentence; nothing where the training is not known."""
    if not training:
        return []
    found = find_duplicates(cases, training)
    images = f"{len(training)} image{'s' * (len(training) != 1)}"
    compared = f"of the {len(cases)} cases, compared with {images} of the training and with one another"
    if not found:
        return [f"None {compared}, shows the same picture as another."]
    named = ", ".join(f"{case} (as {other})" for case, other in found[:TOLD])
    more = f" and {len(found) - TOLD} more" if len(found) > TOLD else ""
    text = f"{len(found)} {compared}, show{'s' * (len(found) == 1)} the same picture as another: {named}{more}."
    LOGGER.warning("%s These figures may be better than those of unseen patients.", text)
    return [text]


def _name(item: Mapping[str, Any]) -> str:
    path = item["image"] if isinstance(item["image"], str | PathLike) else next(iter(item["image"]), "")
    return str(item.get("case") or Path(path).name)


def _small(image: Any) -> Tensor | None:
    """A small image of mean 0 and length 1; None where there is none."""
    try:
        with redirect_stderr(StringIO()):
            values = LoadImage(image_only=True, ensure_channel_first=True)(image).as_tensor().float()
    except Exception as error:  # any reader's: the case itself fails by it, and says why
        LOGGER.warning("%s cannot be compared with the other images (%s).", Path(str(image)).name, type(error).__name__)
        return None
    pool = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}.get(values.ndim - 1)
    if pool is None or not bool(values.isfinite().all()):
        return None
    small = pool(values[None], SIDE).flatten()
    small = small - small.mean()
    length = small.norm()
    return small / length if length > 0 else None


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape and bool(torch.dot(one, other) > SAME)
