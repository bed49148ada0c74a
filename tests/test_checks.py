"""Numbers and switches as a config or a command line may give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from monai_smia.checks import check_number, check_switch


@pytest.mark.parametrize("value", [0, 4, 2.0, np.int64(3), None])
def test_a_number_within_its_range(value: Any) -> None:
    check_number("fold", value, whole=True, most=4, optional=True)


@pytest.mark.parametrize("value", ["", "abc", "1", 1.5, 9, -1, [0], True, float("nan"), float("inf")])
def test_what_is_no_such_number_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^fold must be None or a whole number from 0 to 4, got ") as told:
        check_number("fold", value, whole=True, most=4, optional=True)
    assert str(told.value).endswith(f"got {value!r}.")


def test_ends_of_ranges() -> None:
    check_number("eps", 1e-9, positive=True)
    check_number("eps", 0)
    for value in (0, 0.0, -0.01):
        with pytest.raises(ValueError, match=r"^eps must be a finite number > 0, got"):
            check_number("eps", value, positive=True)
    with pytest.raises(ValueError, match=r"^steps must be a whole number >= 1, got None\.$"):
        check_number("steps", None, whole=True, least=1)


def test_a_switch_is_a_bool() -> None:
    check_switch("resume", True)
    check_switch("resume", False)
    for value in ("false", "", 0, 1, None, np.True_):
        with pytest.raises(ValueError, match=r"^resume must be True or False, got"):
            check_switch("resume", value)
