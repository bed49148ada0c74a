"""Criteria at their edges: what differs by rounding alone is the same, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from record_helpers import record

from monai_smia.analysis import groups_of
from monai_smia.analysis.acceptance import judge, parse_criteria
from monai_smia.metrics import SegmentationMetrics
from monai_smia.records import RowKey, Verdict
from monai_smia.records.critical_radius import CaseRadius, CriticalRadii

KEY: dict[str, Any] = {"setting": "equal radius", "eps": 0.02, "eps_input": 28.0, "norm": "linf"}
PLAN = [RowKey(), RowKey("PGD", knowledge="white box", **KEY)]
SEARCH = [
    RowKey(),
    *(
        RowKey("Search", "critical radius", eps=e, eps_input=1400 * e, norm="linf", knowledge="white box")
        for e in (0.02, 0.05, 0.03)
    ),
]
OPTIONS: dict[str, Any] = {"metrics": SegmentationMetrics(2), "unit": "HU", "patients": 30}


@pytest.mark.parametrize(("text", "plan"), [("jaccard >= 0.8 at {} HU", PLAN), ("critical_radius >= {} HU", SEARCH)])
def test_a_radius_is_that_of_the_plan_but_for_rounding(text: str, plan: list[RowKey]) -> None:
    largest = max(row.eps_input or 0.0 for row in plan)
    (found,) = parse_criteria(text.format(largest * (1 + 0.8e-6)), rows=plan, **OPTIONS)
    assert (found.row.eps_input, found.in_network_units) == (largest, False)
    with pytest.raises(ValueError, match="radius of the plan"):
        parse_criteria(text.format(largest * (1 + 1.3e-6)), rows=plan, **OPTIONS)


def verdict(text: str, value: float) -> Verdict:
    of = [record("PGD", f"c{n}", jaccard=value, hd95=value, **KEY) for n in range(3)]
    (found,) = judge(parse_criteria(text, rows=PLAN, **OPTIONS), groups_of(of))
    return found


@pytest.mark.parametrize(
    ("text", "just", "beyond"),
    [
        ("jaccard >= 0.8 at 28 HU", 0.8 - 0.7e-9, 0.8 - 1.4e-9),
        ("hd95 <= 0.5 at 28 HU", 0.5 + 0.7e-9, 0.5 + 1.4e-9),
        ("hd95 <= 20 at 28 HU", 20 + 14e-9, 20 + 28e-9),  # of a figure above 1, a share of it
        ("jaccard > 0.8 at 28 HU", 0.8 + 1.4e-9, 0.8 + 0.7e-9),
        ("hd95 < 20 at 28 HU", 20 - 28e-9, 20 - 14e-9),
    ],
)
def test_a_figure_is_compared_but_for_the_rounding_of_a_mean(text: str, just: float, beyond: float) -> None:
    """Three times 0.8 have a mean above 0.8 in the last bit, which is not more than 0.8."""
    assert verdict(text, just).met
    assert not verdict(text, beyond).met
    exactly = float(text.split()[2])
    assert verdict(text, exactly).met == ("=" in text)


@pytest.mark.parametrize(
    ("metric", "patients", "met"), [("jaccard lower end >= 0", 6, True), ("hd95 upper end <= 90", 25, True)]
)
def test_an_interval_is_told_of_as_many_patients_as_have_one(metric: str, patients: int, met: bool) -> None:
    options = {**OPTIONS, "patients": patients}
    criteria = parse_criteria(f"{metric} at 28 HU", rows=PLAN, **options)
    of = [record("PGD", f"c{n}", jaccard=0.5 + n / 100, hd95=5.0 + n / 10, **KEY) for n in range(patients)]
    (found,) = judge(criteria, groups_of(of))
    assert (found.met, found.reason) == (met, "")
    with pytest.raises(ValueError, match=f"of fewer than {patients} patients"):
        parse_criteria(f"{metric} at 28 HU", rows=PLAN, **{**OPTIONS, "patients": patients - 1})


def test_the_ends_of_a_range_can_be_asked_for() -> None:
    for threshold in ("0", "1"):
        parse_criteria(f"jaccard >= {threshold} at 28 HU", rows=PLAN, **OPTIONS)
        parse_criteria(f"damage <= {threshold} at 28 HU", rows=PLAN, **OPTIONS)
    for text in ("jaccard >= -0.001 at 28 HU", "damage <= 1.001 at 28 HU", "damage <= -0.001 at 28 HU"):
        with pytest.raises(ValueError, match="a number from 0 to 1"):
            parse_criteria(text, rows=PLAN, **OPTIONS)


def radii(**values: Any) -> CriticalRadii:
    told = {
        "norm": "linf",
        "share": 0.5,
        "largest": 0.05,
        "largest_input": 70.0,
        "median": 0.02,
        "median_input": 28.0,
        "interval_input": [14.0, None],
        "holding": 1,
        "patients": 8,
        "wrong_when_clean": 0,
        "cases": [CaseRadius("a", "a", 0.02, 28.0, "Search")] * 9,
    }
    return CriticalRadii(**told | values)


def search(text: str, *found: CriticalRadii) -> Verdict:
    (told,) = judge(parse_criteria(text, rows=SEARCH, **OPTIONS), [], found)
    return told


def test_a_critical_radius_is_compared_in_the_unit_that_it_is_asked_in() -> None:
    other = radii(norm="l2", median_input=1.0, patients=3)
    assert search("critical_radius >= 28 HU", other, radii()) == Verdict(
        "critical_radius >= 28 HU", "median critical radius", 28.0, 28.0, True, "", 9, 8
    )
    assert search("critical_radius >= eps 0.02", radii(median_input=28.0)).value == pytest.approx(0.02, rel=1e-12)
    lower = search("critical_radius lower end >= 14 HU", radii())
    assert (lower.met, lower.value, lower.of) == (True, 14.0, "lower end of the median critical radius")
    beyond = search("critical_radius lower end >= 70 HU", radii(interval_input=[None, None]))
    assert (beyond.met, beyond.value) == (True, 70.0)
    assert beyond.of == "lower end of the median critical radius (none found up to the largest radius)"
    assert not search("critical_radius >= 28 HU", radii(patients=0)).met
    assert search("critical_radius >= 28 HU", radii(patients=1)).met
    none = search("critical_radius >= 28 HU", radii(norm="l2"))
    assert (none.reason, none.cases, none.patients) == ("no case has one", 0, 0)


@pytest.mark.parametrize(("norm", "text"), [("l2", " in L2"), (None, "")])
def test_a_critical_radius_is_of_the_norm_that_it_is_asked_in(norm: str | None, text: str) -> None:
    plan = [RowKey(), RowKey("Search", "critical radius", eps=0.05, eps_input=70.0, norm=norm, knowledge="white box")]
    criteria = parse_criteria(f"critical_radius >= 20 HU{text}", rows=plan, **OPTIONS)
    (found,) = judge(criteria, [], [radii(), radii(norm="l2", median_input=5.0)])
    assert found.value == (5.0 if norm else 28.0)


def test_six_radii_make_a_curve_and_five_do_not() -> None:
    curve = [
        RowKey("PGD", "equal radius", eps=e, eps_input=1400 * e, norm="linf", knowledge="white box")
        for e in (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06)
    ]
    assert parse_criteria("critical_radius >= 84 HU", rows=curve, **OPTIONS)[0].row.eps == 0.06
    assert parse_criteria("critical_radius >= 0 HU", rows=curve, **OPTIONS)[0].threshold == 0
    with pytest.raises(ValueError, match="or 6 radii"):  # nothing is found at a radius of 0
        parse_criteria("critical_radius >= 20 HU", rows=curve[:-1], **OPTIONS)
    with pytest.raises(ValueError, match="at most the largest radius of the plan, 70 HU"):
        parse_criteria("critical_radius >= -1 HU", rows=SEARCH, **OPTIONS)
