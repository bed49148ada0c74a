"""DICOM where a data set of one of the three bundles is expected."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from monai_smia.dicom import looks_like_dicom


def check_not_dicom(path: Path) -> None:
    """Raise where a file, or one of the first in a folder, is DICOM: it goes through the overlay, not through a layout.

    Raises:
        ValueError: with where it says how.

    Example:
        >>> check_not_dicom(Path("ct/0001.dcm"))
        Traceback (most recent call last):
        ValueError: 0001.dcm is DICOM, of which this bundle takes none: a series is attacked through the overlay, see \
docs/hospital.md.
    """
    files = islice((file for file in sorted(path.iterdir()) if file.is_file()), 3) if path.is_dir() else [path]
    if any(looks_like_dicom(file) for file in files):
        raise ValueError(
            f"{path.name} is DICOM, of which this bundle takes none: a series is attacked through the overlay, see "
            "docs/hospital.md."
        )
