from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from record_helpers import record
from scipy.stats import binom

from monai_smia.analysis import groups_of
from monai_smia.analysis.critical_radius import _median_interval, critical_radii
from monai_smia.records import Record
from monai_smia.records.critical_radius import CriticalRadii
from monai_smia.report.sentences import critical_radius_text

RADII = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # HU


def attacked(case: str, eps: float, damage: float | None, *, clean: float = 0.0, **values: Any) -> Record:
    told = {"setting": "equal radius", "norm": "linf", "linf": eps, "patient": case[0], **values}
    return record("APGD", case, eps=eps / 1000, eps_input=eps, damage=damage, clean_damage=clean, **told)


def curve(case: str, breaks_at: float, *, clean: float = 0.0, left: float = 0.5) -> list[Record]:
    """A case of which `left` is left at and above one of the radii, nearly all below."""
    damages = {eps: 1 - left * (1 - clean) if eps >= breaks_at else clean + 0.1 for eps in RADII}
    return [attacked(case, eps, damage, clean=clean) for eps, damage in damages.items()]


def of(*records: Record, share: float = 0.5) -> CriticalRadii:
    (found,) = critical_radii(groups_of(list(records)), share)
    return found


def test_the_smallest_radius_that_leaves_half_of_what_is_right() -> None:
    found = of(*curve("a", 8), *curve("b", 2, clean=0.2), *curve("c", math.inf))
    assert [(case.case, case.eps_input, case.eps) for case in found.cases] == [
        ("b", 2.0, 0.002),
        ("a", 8.0, 0.008),
        ("c", None, None),
    ]
    assert (found.median_input, found.median, found.holding, found.patients) == (8.0, pytest.approx(0.008), 1, 3)
    assert (found.largest, found.largest_input, found.interval_input) == (0.032, 32.0, None)
    assert found.cases[0].by == "APGD, equal radius, eps 0.002"
    assert CriticalRadii.from_json(asdict(found)) == found
    assert critical_radius_text(found, "HU") == (
        "Critical radius (what leaves at most 50 % of what is right on the clean image): at most 8 HU (eps 0.008) "
        "(median of 3 cases); 1 of 3 cases holds at 32 HU (eps 0.032)."
    )


def test_a_search_finds_what_lies_between_and_its_size_counts() -> None:
    search = attacked("a", 32.0, 0.51, setting="critical radius", linf=5.3)
    assert of(*curve("a", 8), search).cases[0].eps_input == 5.3
    failed = attacked("a", 32.0, 0.49, setting="critical radius", linf=5.3)  # the pipeline does not confirm it
    assert of(*curve("a", 8), failed).cases[0].eps_input == 8.0
    assert [case.eps_input for case in of(search).cases] == [5.3]  # alone, too
    assert of(attacked("a", 4.0, 0.9, setting="critical radius", linf=4.0000001)).cases[0].eps_input == 4.0  # rounding


def test_what_is_wrong_when_clean_has_none() -> None:
    wrong = [attacked("w", eps, 1.0, clean=1.0) for eps in RADII]
    found = of(*curve("a", 8), *wrong)
    assert (found.wrong_when_clean, len(found.cases), found.patients) == (1, 1, 1)
    assert critical_radius_text(found, "").endswith("1 more are wrong when clean.")


def test_it_is_monotone_in_the_share() -> None:
    rng = np.random.default_rng(0)
    records = [attacked(f"{c}", e, float(rng.uniform(0, 1)), clean=0.1) for c in range(20) for e in RADII]
    before = [0.0] * 20
    for share in (0.9, 0.5, 0.2, 0.0):
        radii = {case.case: case.eps_input for case in of(*records, share=share).cases}
        now = [math.inf if radii[f"{c}"] is None else float(radii[f"{c}"] or 0) for c in range(20)]
        assert all(a <= b for a, b in zip(before, now, strict=True))
        before = now


def test_the_median_is_over_patients_not_over_cases() -> None:
    """Of a patient with three cases and two with one each, the one with three counts once."""
    records = [*curve("a1", 1), *curve("a2", 1), *curve("a3", 1), *curve("b1", 16), *curve("c1", 32)]
    found = of(*records)
    assert (found.patients, found.median_input, len(found.cases)) == (3, 16.0, 5)


def test_too_few_radii_or_the_papers_own_setting_make_no_curve() -> None:
    assert critical_radii(groups_of(curve("a", 8)[:5])) == []
    paper = [attacked("a", eps, 1.0, setting="paper") for eps in RADII]
    assert critical_radii(groups_of(paper)) == []


@pytest.mark.parametrize("count", [6, 7, 10, 25, 100])
def test_the_interval_covers_the_median_and_is_the_narrowest_that_does(count: int) -> None:
    interval = _median_interval([float(i) for i in range(1, count + 1)])
    assert interval is not None
    low, high = (int(end or 0) for end in interval)
    assert low == count + 1 - high
    assert 1 - 2 * binom.cdf(low - 1, count, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(low, count, 0.5) < 0.95


def test_the_median_has_the_decimals_of_its_interval() -> None:
    found = of(*(r for number in range(8) for r in curve(f"{number}", 8 if number < 6 else 32)))
    assert found.interval_input == [8.0, 32.0]
    assert "at most 8 HU (eps 0.008), 95 % interval [8, 32] (median" in critical_radius_text(found, "HU")
    assert "at most 0.008, 95 % interval [0.008, 0.032] (median" in critical_radius_text(found, "")
    found = of(*(r for number in range(8) for r in curve(f"{number}", 8 if number < 6 else 16)))
    assert "at most 8.0 HU (eps 0.008), 95 % interval [8.0, 16.0] (median" in critical_radius_text(found, "HU")


def test_an_end_beyond_the_largest_radius_is_said() -> None:
    records = [r for number in range(8) for r in curve(f"{number}", 8 if number < 6 else math.inf)]
    found = of(*records)
    assert found.interval_input == [8.0, None]
    assert "at most 8 HU (eps 0.008), 95 % interval [8, more] (median of 8 cases)" in critical_radius_text(found, "HU")
    assert _median_interval([1.0] * 5) is None


def test_where_more_than_half_hold_nothing_finite_is_said() -> None:
    found = of(*curve("a", 8), *curve("b", math.inf), *curve("c", math.inf))
    assert (found.median, found.median_input) == (None, None)
    assert "none found up to 32 HU (eps 0.032), the largest tried (median of 3 cases); 2 of 3 cases hold there." in (
        critical_radius_text(found, "HU")
    )


def test_what_is_left_is_compared_with_what_was_right() -> None:
    """Three quarters are right, half of which may be left: damage of five eighths, not of one in a thousand less."""
    for share, needed in ((0.5, 0.625), (0.2, 0.85), (0.0, 1.0)):
        held = [attacked("a", eps, needed - 1e-3, clean=0.25) for eps in RADII]
        assert of(*held, share=share).holding == 1
        broken = attacked("a", 32.0, needed, clean=0.25)
        assert of(*held[:-1], broken, share=share).cases[0].eps_input == 32.0


def test_of_equals_the_first_row_is_named() -> None:
    rows = [attacked("a", 32.0, 0.9, setting=setting, linf=4.0) for setting in ("critical radius", "other")]
    assert of(*rows).cases[0].by == "APGD, critical radius, eps 0.032"
    assert of(*rows[::-1]).cases[0].by == "APGD, other, eps 0.032"


def test_each_norm_has_its_own_and_what_is_not_known_counts_in_none() -> None:
    l2 = [attacked("a", 64.0, 0.9, norm="l2", l2=3.0, setting="critical radius", linf=None)]
    unknown = [attacked("b", 64.0, damage, norm="l2", l2=size, setting="critical radius", linf=9.0)
               for damage, size in ((None, 1.0), (0.9, None))]  # fmt: skip
    first, second = critical_radii(groups_of([*curve("a", 8), *l2, *unknown]))
    assert (first.norm, first.median_input, first.largest_input) == ("linf", 8.0, 32.0)
    assert (second.norm, second.median_input, second.median, second.largest) == ("l2", None, None, 0.064)
    assert [(case.case, case.eps_input) for case in second.cases] == [("a", 3.0), ("b", None)]
    assert second.patients == 2


def test_rows_without_a_radius_or_of_none_are_left_out() -> None:
    zero = attacked("a", 0.0, 0.9)
    assert len(critical_radii(groups_of([zero, *curve("a", 8)]))) == 1
    assert critical_radii(groups_of([zero, *curve("a", 8)[:5]])) == []
