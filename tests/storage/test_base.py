from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from monai_smia.storage import DicomStorage, NiftiStorage, PictureStorage, PngStorage, Storage
from monai_smia.storage.base import add_whole_units, whole_units
from monai_smia.storage.l2 import within_l2


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


@pytest.mark.parametrize("drawn", range(40))
def test_stored_integers_obey_the_l2_norm(drawn: int) -> None:
    """Whatever the perturbation, slope and radius; and no more goes back than must."""
    draw = np.random.default_rng(drawn)
    shape, unit = tuple(draw.integers(2, 7, 3)), float(draw.choice([1.0, 0.5, 0.3, 2.0, 1 / 255]))
    delta = draw.normal(0, draw.choice([0.3, 1.0, 5.0]) * unit, shape)
    eps = max(float(np.linalg.norm(delta)), unit)
    stored = draw.integers(0, 4, shape)  # where some stop at the lowest value
    after = add_whole_units(stored, delta, eps=eps, unit=unit, limits=(0, 255), norm="l2")
    change = after - stored
    assert int((change**2).sum()) * Fraction(str(unit)) ** 2 <= Fraction(str(eps)) ** 2 * (1 + Fraction(1, 10**12))
    plain = add_whole_units(stored, delta, eps=eps, unit=unit, limits=(0, 255)) - stored
    assert (np.abs(change) <= np.abs(plain)).all()
    back = np.abs(plain) - np.abs(change)
    if back.any():  # one unit more in any voxel that went back would leave the ball
        more = (change**2).sum() + (2 * np.abs(change) + 1)[back > 0]
        assert (more * unit**2 > eps**2 * (1 - 1e-9)).any()
    assert np.array_equal(within_l2(plain, delta, unit, 1e9), plain)


@pytest.mark.parametrize(("unit", "eps"), [(1.0, 5.0), (0.3, 1.5), (1 / 255, 5 / 255)])
def test_whole_units_that_lie_on_the_sphere_stay(unit: float, eps: float) -> None:
    change = np.array([3, -4, 0])
    assert np.array_equal(within_l2(change, change * unit, unit, eps), change)
    assert not np.array_equal(within_l2(change, change * unit, unit, eps * (1 - 1e-9)), change)


def test_the_rounding_of_eps_is_part_of_the_ball() -> None:
    """Squared, a radius of 1e6 is held to the twelfth digit: 1e12 + 1 is the last that stays."""
    for last, stays in ((1, True), (2, False)):
        change = np.array([1_000_000, last])
        assert np.array_equal(within_l2(change, change.astype(float), 1.0, 1e6), change) is stays
