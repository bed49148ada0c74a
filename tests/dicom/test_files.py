"""Which files are DICOM."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_smia.dicom import looks_like_dicom


@pytest.mark.parametrize(
    ("name", "content", "is_dicom"),
    [
        ("a.dcm", b"", True),
        ("a.DCM", b"", True),
        ("IM0001", bytes(128) + b"DICM", True),
        ("IM0001", bytes(128) + b"DICM" + bytes(200), True),
        ("a.img", bytes(128) + b"DICM\x02\x00", True),
        ("IM0001", b"DICM" + bytes(200), False),
        ("IM0001", bytes(127) + b"DICM" + bytes(200), False),
        ("IM0001", bytes(128) + b"DIC", False),
        ("IM0001", bytes(256) + b"DICM", False),
        ("readme.txt", b"text", False),
    ],
)
def test_a_file_is_dicom_by_its_name_or_by_its_first_bytes(
    tmp_path: Path, name: str, content: bytes, is_dicom: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    assert looks_like_dicom(tmp_path / name) is is_dicom
    assert looks_like_dicom(tmp_path / "absent") is False
