"""Criteria of the user's own: read, refused where they cannot be told, judged on the worst case."""

from __future__ import annotations

from typing import Any

import pytest
from record_helpers import record

from monai_smia.analysis import groups_of, headline_of, summarize
from monai_smia.analysis.acceptance import judge, parse_criteria
from monai_smia.analysis.critical_radius import critical_radii
from monai_smia.metrics import CaseMetrics, ClassificationMetrics, DetectionMetrics, SegmentationMetrics
from monai_smia.records import Flag, Primary, Record, RowKey, Verdict
from monai_smia.records.critical_radius import CriticalRadii
from monai_smia.report.verdicts import verdict_text

RADII = ((0.02, 28.0, "linf"), (0.05, 70.0, "linf"), (0.3, 420.0, "l2"))
PLAN = [
    RowKey(),
    *(RowKey("PGD", "equal radius", eps=e, eps_input=u, norm=n, knowledge="white box") for e, u, n in RADII),
    RowKey("Noise", "equal radius", eps=0.1, eps_input=140.0, norm="linf", knowledge="none"),
    RowKey("SMIA", "paper", eps=0.5, eps_input=700.0, norm="linf", knowledge="white box"),
]
OPTIONS: dict[str, Any] = {"rows": PLAN, "metrics": SegmentationMetrics(2), "unit": "HU", "patients": 8}


class Own(CaseMetrics):
    """Metrics that do not name those of a case."""

    def case(self, victim: Any, prediction: Any, label: Any, image: Any) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("text", "metric", "end", "sign", "threshold", "eps"),
    [
        ("jaccard >= 0.80 at 28 HU", "jaccard", "", ">=", 0.8, 0.02),
        ("  jaccard>=.8   at 28HU ", "jaccard", "", ">=", 0.8, 0.02),
        ("jaccard \u2265 0.8 at 28 hu", "jaccard", "", ">=", 0.8, 0.02),
        ("dice lower end > 7e-1 at 70.0 HU", "dice", "lower end", ">", 0.7, 0.05),
        ("damage upper end < 0.3 at eps 0.05", "damage", "upper end", "<", 0.3, 0.05),
        ("hd95 <= 12 at EPS .02", "hd95", "", "<=", 12.0, 0.02),
        ("accuracy >= 1 at 420 HU in L2", "accuracy", "", ">=", 1.0, 0.3),
        ("accuracy >= 0 at 28 HU in L-inf", "accuracy", "", ">=", 0.0, 0.02),
    ],
)
def test_what_is_read(text: str, metric: str, end: str, sign: str, threshold: float, eps: float) -> None:
    (found,) = parse_criteria(text, **OPTIONS)
    assert (found.metric, found.end, found.sign, found.threshold) == (metric, end, sign, threshold)
    assert found.row.eps == eps


def test_several() -> None:
    one, two = "jaccard >= 0.8 at 28 HU", "dice >= 0.9 at eps 0.02"
    for accept in (f"{one}; {two};", [one, two], (one, f" {two} ")):
        assert [found.text for found in parse_criteria(accept, **OPTIONS)] == [one, two]
    assert parse_criteria(None, **OPTIONS) == []


@pytest.mark.parametrize(
    ("accept", "message"),
    [
        ("", "must hold at least one criterion"),
        ([], "must hold at least one criterion"),
        (" ; ", "must hold at least one criterion"),
        (True, "must be text such as 'jaccard >= 0.80 at 28 HU'"),
        (["jaccard >= 0.8 at 28 HU", 3], "must be text such as"),
        ("robust", "must read as"),
        ("jaccard = 0.8 at 28 HU", "must read as"),
        ("0.5 <= jaccard <= 0.8 at 28 HU", "must read as"),
        ("jaccard >= at 28 HU", "must hold plain numbers, got 'at'|must read as"),
        ("jacard >= 0.8 at 28 HU", r"of one structure, such as jaccard_1\), got .*did you mean jaccard?"),
        ("kappa >= 0.8 at 28 HU", "a metric of every single case, one of accuracy, damage, dice, hd95"),
        ("critical_radius >= 20 HU", "needs a plan that looks for critical radii, such as --preset radius, or 6 radii"),
        ("jaccard <= 0.8 at 28 HU", "a bound from the other side: a victim is better with more jaccard"),
        ("hd95 >= 5 at 28 HU", "a victim is better with less hd95"),
        ("damage > 0.1 at 28 HU", "a victim is better with less damage"),
        ("jaccard upper end >= 0.8 at 28 HU", "must be of the lower end: the other one is the better end"),
        ("hd95 upper end <= 5 at 28 HU", "of fewer than 25 patients no interval of hd95 is printed"),
        ("jaccard >= 80 at 28 HU", "a number from 0 to 1, got 80"),
        ("jaccard >= 80% at 28 HU", "plain numbers, got '80%'"),
        ("jaccard >= nan at 28 HU", "plain numbers, got 'nan'"),
        ("jaccard >= 0.8", "must say at which radius of the plan, 28 HU .eps 0.02., 70 HU .eps 0.05., 420 HU"),
        ("jaccard >= 0.8 at 28", "must say the radius' unit, as in 28 HU or eps 28"),
        ("jaccard >= 0.8 at 28 grey levels", "must be in the unit of the images, HU, or in network units"),
        ("jaccard >= 0.8 at eps 0.02 HU", "got 'HU'"),
        ("jaccard >= 0.8 at 30 HU", "must name a radius of the plan, 28 HU .eps 0.02., 70 HU"),
        ("jaccard >= 0.8 at 28 HU in L2", "must name a radius of the plan"),
        ("jaccard >= 0.8 at 140 HU", "must name a radius of the plan"),  # nothing but noise
        ("jaccard >= 0.8 at 700 HU", "must name a radius of the plan"),  # the paper's own setting alone
        ("jaccard >= 0.8 at all", "must name a radius of the plan"),
    ],
)
def test_what_is_refused_before_anything_is_computed(accept: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s)^accept.*({message})"):
        parse_criteria(accept, **OPTIONS)


def test_what_the_plan_and_the_task_cannot_tell() -> None:
    with pytest.raises(ValueError, match="of fewer than 6 patients no interval of jaccard is printed, and the cases a"):
        parse_criteria("jaccard lower end >= 0.8 at 28 HU", **{**OPTIONS, "patients": 5})
    with pytest.raises(ValueError, match="one of damage, invented, iou, missed, got 'map50'"):
        parse_criteria("map50 >= 0.8 at 28 HU", **{**OPTIONS, "metrics": DetectionMetrics(["polyp"])})
    with pytest.raises(ValueError, match="less missed"):
        parse_criteria("missed >= 0.2 at 28 HU", **{**OPTIONS, "metrics": DetectionMetrics(["polyp"])})
    with pytest.raises(ValueError, match="one of accuracy, damage, got 'kappa'"):
        parse_criteria("kappa >= 0.8 at 28 HU", **{**OPTIONS, "metrics": ClassificationMetrics(5)})
    with pytest.raises(ValueError, match="which attacks at none"):
        parse_criteria("jaccard >= 0.8 at 28 HU", **{**OPTIONS, "rows": PLAN[:1]})
    unnamed = {**OPTIONS, "unit": ""}
    assert parse_criteria("jaccard >= 0.8 at 0.02", **unnamed)[0].row.eps == 0.02  # network units
    with pytest.raises(ValueError, match="which has no name here"):
        parse_criteria("jaccard >= 0.8 at 28 HU", **unnamed)
    assert parse_criteria("own thing >= 7 at 28 HU", **{**OPTIONS, "metrics": Own()})[0].metric == "own thing"


def records(count: int = 8) -> list[Record]:
    """Of every case PGD or BIM is the worst; the paper's own setting, noise and another radius do other damage."""
    found = []
    for number in range(count):
        case, low = f"c{number}", 0.5 + 0.02 * number
        values = {"Clean": 0.95, "PGD": low if number % 2 else 0.9, "BIM": 0.9 if number % 2 else low, "Noise": 0.94}
        for attack, jaccard in values.items():
            row = (
                {"eps": 0.02, "eps_input": 28.0, "norm": "linf", "setting": "equal radius"} if attack != "Clean" else {}
            )
            found.append(record(attack, case, jaccard=jaccard, hd95=10 - 10 * jaccard, **row))
        paper = {"eps": 0.02, "eps_input": 28.0, "norm": "linf", "setting": "paper"}
        found.append(record("SMIA", case, jaccard=0.1, **paper))
        found.append(record("PGD", case, jaccard=0.2, eps=0.05, eps_input=70.0, norm="linf", setting="equal radius"))
    return found


def verdicts(*accept: str, of: list[Record]) -> list[Verdict]:
    return judge(parse_criteria(accept, **OPTIONS), groups_of(of))


def test_the_worst_case_is_that_of_the_headline() -> None:
    every = records()
    headline = headline_of(groups_of(every), summarize(every, with_intervals=True), Primary("jaccard", True))
    assert headline is not None
    at = headline.radii[0]
    assert at.attacked == pytest.approx(0.57)
    assert at.interval is not None
    found = verdicts(
        *("jaccard >= 0.57 at 28 HU", "jaccard > 0.57 at 28 HU", "jaccard >= 0.5701 at 28 HU"),
        *("jaccard lower end >= 0.5 at 28 HU", "hd95 <= 4.3 at 28 HU", "hd95 <= 4.29 at 28 HU"),
        *("jaccard >= 0.21 at 70 HU", "jaccard >= 0.2 at 70 HU"),
        of=every,
    )
    assert [verdict.met for verdict in found] == [True, False, False, True, True, False, False, True]
    assert (found[0].value, found[3].value) == (at.attacked, at.interval[0])
    assert found[4].value == pytest.approx(4.3)  # the largest of every case
    assert {(verdict.cases, verdict.patients) for verdict in found} == {(8, 8)}
    assert found[3].of == "lower end of the worst-case mean"


def test_what_cannot_be_told_is_not_met() -> None:
    alike = [record("PGD", f"c{n}", jaccard=0.9, eps=0.02, eps_input=28.0, norm="linf") for n in range(8)]
    (found,) = verdicts("jaccard lower end >= 0.1 at 28 HU", of=alike)
    assert (found.met, found.value, found.reason) == (False, None, "no interval is printed of these 8 patients")
    (found,) = verdicts("dice >= 0 at 28 HU", of=alike)
    assert (found.met, found.reason) == (False, "no case has dice at this radius")
    (found,) = verdicts("jaccard >= 0 at 70 HU", of=[])  # every case failed
    assert (found.met, found.cases) == (False, 0)
    assert verdict_text(found) == (
        "jaccard >= 0 at 70 HU: not met, the worst-case mean cannot be told: no case has jaccard at this radius."
    )


def test_a_flagged_figure_is_not_met_without_a_word() -> None:
    (found,) = verdicts("jaccard >= 0.5 at 28 HU", of=records())
    assert verdict_text(found) == "jaccard >= 0.5 at 28 HU: met, the worst-case mean of 8 cases is 0.570."
    text = verdict_text(found, [Flag("zero gradients", "x"), Flag("zero gradients", "y")])
    assert text.endswith(" Flags were raised (zero gradients): do not trust it yet.")
    (close,) = verdicts("jaccard >= 0.5702 at 28 HU", of=records())
    assert "is 0.57." in verdict_text(close)  # 0.570 >= 0.570 would read as met


SEARCH = [
    RowKey(),
    RowKey("CriticalRadius(APGD)", "critical radius", eps=0.05, eps_input=70.0, norm="linf", knowledge="white box"),
]


def found_radii(*sizes: float | None) -> list[CriticalRadii]:
    """Of patients of one case each; None holds."""
    found = []
    for number, size in enumerate(sizes):
        row = {"eps": 0.05, "eps_input": 70.0, "norm": "linf", "setting": "critical radius"}
        held = {"damage": 0.1 if size is None else 0.9, "clean_damage": 0.0, "linf": 70.0 if size is None else size}
        found.append(record("CriticalRadius(APGD)", f"c{number}", **held, **row))
    return critical_radii(groups_of(found))


def test_critical_radii() -> None:
    options = {**OPTIONS, "rows": SEARCH}
    radii = found_radii(10, 12, 20, 20, 20, 30, 40, None)
    expected = {
        "critical_radius >= 20 HU": (True, 20.0),
        "critical radius > 20 HU": (False, 20.0),
        "critical_radius >= eps 0.0142": (True, 20 / 1400),
        "critical_radius >= eps 0.0143": (False, 20 / 1400),
        "critical_radius lower end >= 10 HU": (True, radii[0].interval_input[0]),  # type: ignore[index]
        "critical_radius lower end >= 19 HU": (False, radii[0].interval_input[0]),  # type: ignore[index]
    }
    found = judge(parse_criteria(list(expected), **options), [], radii)
    assert [(each.met, pytest.approx(each.value)) for each in found] == list(expected.values())
    assert [found[0].of, found[4].of] == ["median critical radius", "lower end of the median critical radius"]
    assert (found[0].cases, found[0].patients) == (8, 8)


def test_a_critical_radius_beyond_all_radii_is_at_least_the_largest() -> None:
    criteria = parse_criteria(["critical_radius >= 70 HU", "critical_radius > 69 HU"], **{**OPTIONS, "rows": SEARCH})
    found = judge(criteria, [], found_radii(10, *[None] * 6))
    assert [(each.met, each.value, each.of) for each in found] == 2 * [
        (True, 70.0, "median critical radius (none found up to the largest radius)")
    ]
    none = judge(criteria, [], [])
    assert [(each.met, each.reason) for each in none] == 2 * [(False, "no case has one")]
    few = parse_criteria("critical_radius lower end >= 7 HU", **{**OPTIONS, "rows": SEARCH})
    (told,) = judge(few, [], found_radii(10, 20, 30))  # the others have failed
    assert (told.met, told.reason) == (False, "no interval is printed of these 3 patients")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("critical_radius >= 71 HU", "must be at most the largest radius of the plan, 70 HU"),
        ("critical_radius >= 0.04", "must say the radius' unit, as in 0.04 HU or eps 0.04"),
        ("critical_radius >= 20 HU in L2", "needs a plan that looks for critical radii"),
        ("critical_radius <= 20 HU", "must be a bound from below"),
        ("critical_radius upper end >= 20 HU", "must be a bound from below"),
        ("critical_radius >= large", "must name a radius"),
        ("critical_radius >= 20 HU at 70 HU", "must be in the unit of the images"),
    ],
)
def test_critical_radii_that_the_plan_cannot_tell(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_criteria(text, **{**OPTIONS, "rows": SEARCH})
    with pytest.raises(ValueError, match="of fewer than 6 patients no interval is printed"):
        parse_criteria("critical_radius lower end >= 20 HU", **{**OPTIONS, "rows": SEARCH, "patients": 5})
    assert parse_criteria("critical_radius >= 20 HU", **{**OPTIONS, "rows": SEARCH, "patients": 5})
