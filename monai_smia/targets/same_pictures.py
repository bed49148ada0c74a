"""Pictures that a dataset holds more than once, kept apart from those to test on and together in folds."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

LOGGER = logging.getLogger(__name__)


def apart_from(
    items: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]],
    load: Callable[[dict[str, Any]], Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Items to train on, without those that show a picture of others; items that show one picture are one patient's.

    Pictures are the same if they are equal pixel by pixel. What is left out is named in the log. `folds` parts no
    patient, so that it holds out both of two equal pictures or none.

    Args:
        items: with an ``image``, a name ``case`` and, where it is known, a ``patient``.
        others: items with an ``image`` that is to be new to the network, such as those to test on.
        load: loads the ``image`` of an item, as its bundle does.

    Returns:
        Copies of the items that are kept, in their order.

    Example:
        >>> grey, dark = {"image": np.full((3, 8, 8), 128)}, {"image": np.full((3, 8, 8), 9)}
        >>> eyes = [grey | {"case": "a"}, dark | {"case": "b"}, grey | {"case": "c"}]
        >>> [(eye["case"], eye["patient"]) for eye in apart_from(eyes, [dark], dict)]
        [('a', 'a'), ('c', 'a')]
    """
    unseen = {_pixels(load(dict(other))["image"]) for other in others}
    kept: list[dict[str, Any]] = []
    left_out: list[str] = []
    same: dict[str, list[dict[str, Any]]] = {}
    for item in map(dict, items):
        picture = _pixels(load(dict(item))["image"])
        if picture in unseen:
            left_out.append(str(item["case"]))
        else:
            kept.append(item)
            same.setdefault(picture, []).append(item)
    for first, *more in same.values():
        for item in more:
            _join(kept, first, item)
    if left_out:
        LOGGER.warning(
            "%d left out, of pictures that are not to be trained on: %s.", len(left_out), ", ".join(left_out)
        )
    return kept


def _join(items: Sequence[dict[str, Any]], first: dict[str, Any], item: dict[str, Any]) -> None:
    """Make the patient of an item, with all that is theirs, the patient of the first."""
    whose, joined = first.setdefault("patient", str(first["case"])), item.setdefault("patient", str(item["case"]))
    for each in items:
        if each.get("patient") == joined:
            each["patient"] = whose


def _pixels(image: Any) -> str:
    """Hash of an image's shape and values."""
    values = np.ascontiguousarray(image)
    return hashlib.sha256(repr((values.shape, values.dtype.str)).encode() + values.tobytes()).hexdigest()
