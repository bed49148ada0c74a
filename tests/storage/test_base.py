from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_smia.storage import DicomStorage, NiftiStorage, PictureStorage, PngStorage, Storage
from monai_smia.storage.base import whole_units


def test_all_of_them_are_storages(tmp_path: Path) -> None:
    png = PngStorage(tmp_path)
    for storage in (NiftiStorage(tmp_path), png, DicomStorage(tmp_path), PictureStorage(tmp_path, png.read)):
        assert isinstance(storage, Storage)


@pytest.mark.parametrize(
    ("eps", "unit", "count"), [(0.3, 0.1, 3), (0.29, 0.01, 29), (1.3, 0.5, 2), (129 / 255, 1 / 255, 129)]
)
def test_whole_units_are_exact(eps: float, unit: float, count: int) -> None:
    assert whole_units(eps, unit) == count


def test_the_smallest_eps_that_works_works() -> None:
    """A slope of 0.1 is a little more in a NIfTI header, which holds float32."""
    unit = float(np.float32(0.1))
    with pytest.raises(ValueError, match=r"use at least 0\.10000000149011612") as caught:
        whole_units(0.1, unit)
    assert whole_units(float(str(caught.value).rstrip(".").split()[-1]), unit) == 1


def test_less_than_one_unit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 0\.5"):
        whole_units(0.4, 0.5)
