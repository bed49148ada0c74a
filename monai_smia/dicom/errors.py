"""The error of a series that is refused."""

from __future__ import annotations


class DicomSeriesError(ValueError):
    """A series that cannot be read as one volume; the message names the file and what is wrong with it."""
