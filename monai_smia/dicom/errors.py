"""The error of a series that is refused, and whether a file is cut off."""

from __future__ import annotations

from pathlib import Path

PIXELS = (b"\xe0\x7f\x10\x00", b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00", b"\x7f\xe0\x00\x10")  # tags, either end first
DEFLATED = b"1.2.840.10008.1.2.1.99"


class DicomSeriesError(ValueError):
    """A series that cannot be read as one volume, or a file as a picture; the message names it and what is wrong."""


def cut_off(path: Path) -> str:
    """How a sentence on a missing element ends: with a question where the file ends before its pixels, else not."""
    content = path.read_bytes() if path.is_file() else PIXELS[0]
    return "" if DEFLATED in content[:512] or any(tag in content for tag in PIXELS) else " (truncated?)"
