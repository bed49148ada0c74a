"""Which cases stand at the top of the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monai_smia.analysis.comparisons import CaseOutcome
from monai_smia.records import RowKey
from monai_smia.records.rows import EQUAL_RADIUS
from monai_smia.report.figures.selector import figure_path, slices_path
from monai_smia.report.showcase import showcase

ROW = RowKey("BIM", EQUAL_RADIUS, eps=0.05, eps_input=70.0, unit="HU", norm="linf")


def outcome(case: str, worst: float, *, broken: bool = True, wrong: bool = False) -> CaseOutcome:
    return CaseOutcome(case, case, {}, 0.9, worst, worst - 0.9, [ROW.label] * broken, 0.9 - worst, wrong)


def content(*cases: CaseOutcome) -> Any:
    """The parts of a report's content that are looked at; the most damaged case comes first."""
    primary = SimpleNamespace(case_metric="jaccard")
    return SimpleNamespace(cases=list(cases), rows=[SimpleNamespace(row=ROW)], primary=primary)


def draw(folder: Path, *cases: str, slices: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    for case in cases:
        figure_path(folder, case, ROW.slug).write_bytes(b"picture")
        if slices:
            slices_path(folder, case, ROW.slug).write_text(json.dumps({"bound": 70, "unit": "HU", "planes": {}}))
    return folder


def test_the_worst_and_the_one_nearest_the_median(tmp_path: Path) -> None:
    cases = [outcome(name, worst) for name, worst in zip("abcde", (0.1, 0.2, 0.3, 0.6, 0.8), strict=True)]
    shown = showcase(content(*cases), draw(tmp_path / "figures", *"abcde"))
    assert [each.title for each in shown] == ["Worst case: a", "Case nearest the median: c"]
    assert [each.text for each in shown] == [
        "jaccard 0.900 clean, 0.100 under BIM, equal radius, eps 0.05",
        "jaccard 0.900 clean, 0.300 under BIM, equal radius, eps 0.05",
    ]
    assert all(each.png and each.slices is None for each in shown)


def test_of_several_radii_it_is_said_which_one_is_shown(tmp_path: Path) -> None:
    """The headline is of the largest."""
    made = content(outcome("a", 0.1))
    made.rows.append(SimpleNamespace(row=replace(ROW, eps=0.1, eps_input=140.0)))
    (shown,) = showcase(made, draw(tmp_path / "figures", "a"))
    assert shown.title == "Worst case within the smallest radius: a"


def test_slices_are_shown_rather_than_a_picture(tmp_path: Path) -> None:
    (shown,) = showcase(content(outcome("a", 0.1)), draw(tmp_path / "figures", "a", slices=True))
    assert (shown.png, shown.slices) == ("", {"bound": 70, "unit": "HU", "planes": {}})


@pytest.mark.parametrize(
    ("cases", "drawn", "titles"),
    [
        ([outcome("a", 0.1)], "a", ["Worst case: a"]),
        ([outcome("a", 0.1)], "", []),
        ([outcome("a", 0.1), outcome("b", 0.5), outcome("c", 0.6)], "bc", ["Case nearest the median: b"]),
        ([outcome("a", 0.9, broken=False)], "a", []),
        ([outcome("a", 0.1), outcome("b", 0.0, broken=False, wrong=True)], "ab", ["Worst case: a"]),
        ([], "", []),
    ],
    ids=["one", "none drawn", "worst not drawn", "none broken", "wrong when clean", "none"],
)
def test_what_is_no_attacks_success_or_is_not_drawn(
    cases: list[CaseOutcome], drawn: str, titles: list[str], tmp_path: Path
) -> None:
    shown = showcase(content(*cases), draw(tmp_path / "figures", *drawn))
    assert [each.title for each in shown] == titles
