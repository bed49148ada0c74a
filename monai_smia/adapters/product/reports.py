"""What a product says of an image in words and numbers: items of structured reports (TID 1500), values of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monai_smia.adapters.product.errors import AnswerError
from monai_smia.adapters.product.queries import Query
from monai_smia.adapters.product.references import check_images, check_origin, kind_of, series_of

VALUES = ("NUM", "CODE", "TEXT")  # of content items that say something


def of_report(dataset: Any, query: Query, key: str) -> Any:
    """The value of one item of a structured report: a number, or the meaning of a code.

    Args:
        dataset: the report, such as a measurement report (TID 1500).
        query: what was asked.
        key: code value or meaning of the item's concept name, such as ``"118565006"`` or ``"Volume"``; or both scheme
            and value, ``"SCT:118565006"``.

    Raises:
        AnswerError: if it is no report, or one of another series or patient, if it is not complete, or has no such
            item, several, or one without a value.
    """
    if query.series is not None and kind_of(dataset) != "SR":
        raise AnswerError("the answer must be a structured report (SR), and is another object.")
    check_origin(dataset, query)
    check_images(_referred_images(dataset), query)
    if dataset.get("CompletionFlag") != "COMPLETE":
        raise AnswerError(f"the answer must be a complete report, and says {dataset.get('CompletionFlag', 'nothing')}.")
    items = list(_items(dataset))
    found = [item for item in items if key in _called(item)]
    if not found:
        there = ", ".join(sorted({_meaning(item) for item in items})) or "none"
        raise AnswerError(f"the answer must have an item called {key!r}, got {there}.")
    values = {_value(item, key) for item in found}
    if len(values) > 1:
        raise AnswerError(f"the answer must have one item called {key!r}, got {len(found)} of different values.")
    return values.pop()


def _items(dataset: Any) -> Iterator[Any]:
    """All content items that hold a value, at any depth."""
    for item in dataset.get("ContentSequence") or []:
        if item.get("ValueType") in VALUES:
            yield item
        yield from _items(item)


def _called(item: Any) -> tuple[str, ...]:
    """What the concept of an item is called."""
    (name,) = item.get("ConceptNameCodeSequence") or [{}]
    value = str(name.get("CodeValue") or name.get("LongCodeValue") or "")
    return value, f"{name.get('CodingSchemeDesignator', '')}:{value}", str(name.get("CodeMeaning", ""))


def _meaning(item: Any) -> str:
    return _called(item)[2] or _called(item)[0]


def _value(item: Any, key: str) -> Any:
    if item.ValueType == "TEXT":
        return str(item.TextValue)
    if item.ValueType == "CODE":
        (code,) = item.ConceptCodeSequence
        return str(code.get("CodeMeaning") or code.get("CodeValue"))
    measured = item.get("MeasuredValueSequence") or []
    if len(measured) != 1 or measured[0].get("NumericValue") is None:
        raise AnswerError(f"the answer's {key!r} has no value.")
    return float(measured[0].NumericValue)


def _referred_images(dataset: Any) -> set[str]:
    """The images that it is of."""
    series = list(series_of(dataset))
    return {str(image.ReferencedSOPInstanceUID) for each in series for image in each.get("ReferencedSOPSequence") or []}


def of_json(path: Path, key: str) -> Any:
    """The value of a key of a JSON file.

    Args:
        path: the file.
        key: names, and numbers of a list's entries from 0 on, with dots between: ``"findings.0.probability"``; empty
            for the whole.

    Raises:
        AnswerError: if it is no JSON, or has no such key; with the keys that there are.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.strip():
        raise AnswerError(f"the answer {path.name} is empty.")
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_none)
    except ValueError as error:
        raise AnswerError(f"the answer {path.name} cannot be read: {error}") from error
    for name in key.split(".") if key else []:
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            there = ", ".join(found) if isinstance(found, dict) else f"a {type(found).__name__}"
            raise AnswerError(f"the answer {path.name} must hold {key!r}, and has no {name!r}: there is {there}.")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a key stands in it twice, of {', '.join(name for name, _ in pairs)}")
    return dict(pairs)


def _none(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def number_of(value: Any) -> float:
    """A finite number, as the product says it.

    Raises:
        AnswerError: if it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise AnswerError(f"the answer must be a finite number, got {value!r}.")
    return float(value)
