"""The storage of whatever format a case has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from monai_smia.storage import DicomStorage, FormatStorage, NotStorableError


class Broken:
    """Refuses every image."""

    def write(self, *_: Any, **__: Any) -> Path:
        raise ValueError("it does not fit.")


@pytest.mark.parametrize(("part", "source", "kind"), [("nifti", "a.nii", ValueError), ("pictures", "a.png", None)])
def test_a_nifti_that_does_not_fit_is_an_error_and_another_format_cannot_store_it(
    part: str, source: str, kind: type[Exception] | None, tmp_path: Path
) -> None:
    storage = FormatStorage(tmp_path)
    setattr(storage, part, Broken())
    with pytest.raises(ValueError, match="does not fit") as raised:
        storage.write(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), eps=1, source=source, stem="a")
    assert raised.type is (kind or NotStorableError)


def test_what_decides_of_derived_series_is_not_where_they_lie(tmp_path: Path) -> None:
    plain = DicomStorage(tmp_path).fingerprint_parts()
    assert not {"folder", "compression"} & plain.keys()
    assert plain.keys() > {"identified", "same_study"}
    assert DicomStorage(tmp_path, compression="rle").fingerprint_parts()["compression"] == "rle"
