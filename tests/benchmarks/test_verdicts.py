"""The verdicts of all targets beside each other are those of each target's own table, on the page and by the rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
TARGETS = {  # column, and the marks of a target's own tables, the last before the others
    "CT, cubes": ["ct_cube_tables ct_claims"],
    "CT, whole": ["ct_tables ct_claims"],
    "drawn artefacts": ["endoscopy_tables endoscopy_claims"],
    "polyps": ["polyps_varied polyps_claims", "polyps_frames_tables polyps_claims"],
    "fundus": ["fundus_readings fundus_claims", "fundus_tables fundus_claims"],
}


def table(mark: str) -> list[list[str]]:
    text = PAGE[PAGE.index(f"<!-- results: {mark} -->") :].split("<!-- end -->")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_the_verdicts_of_its_own_table(target: str) -> None:
    head, *lines = table("ct_cube_tables verdicts")
    column = head.index(target)
    shown = {line[0]: line[column].split(" / ") for line in lines}
    assert len(shown) == 9
    told, name = {}, ""
    for claim, _, verdict in (line for mark in TARGETS[target] for line in table(mark)[1:]):
        own = claim.startswith("the same, in its own setting")
        name = name if own else claim
        told[name, own] = verdict.removeprefix("cannot be told: ")
    for start, words in {
        r"Table 1: STA makes DEV stronger$": "STA makes DEV stronger (Table 1)",
        r"Table 3": "a larger epsilon does more (Table 3)",
        r"Table 4": "alpha 1 is best (Table 4)",
        r"Table 6: SMIA": "SMIA is the strongest (Table 6)",
        r"Table 6: its": "its Var is the lowest (Table 6)",
    }.items():
        expected = ["not measured", "not measured"]
        for (claim, own), verdict in told.items():
            if re.match(start, claim):
                expected[own] = verdict
        assert shown[words] == (expected if expected != ["not measured"] * 2 else ["not measured"]), words


def test_what_was_not_run_is_said() -> None:
    head, *lines = table("ct_cube_tables verdicts")
    whole = {line[0]: line[head.index("CT, whole")] for line in lines}
    assert whole["the same, in the best of other readings"] == "not measured"
    assert whole["SMIA needs fewer iterations than others (Table 2)"] == "not measured"
    assert whole["STA makes DEV stronger (Table 1)"] == "not reproduced / not reproduced"


def test_the_first_results_file_of_a_target_goes_before_the_others() -> None:
    """Tables 2 and 3 of polyps are of all 40 frames, though the run of the readings has them on seven, too."""
    head, *lines = table("ct_cube_tables verdicts")
    polyps = {line[0]: line[head.index("polyps")] for line in lines}
    few, all_frames = (table(mark)[1:] for mark in TARGETS["polyps"])
    told = [[line for line in each if line[0].startswith("Table 3")] for each in (few, all_frames)]
    assert told[0][0][1] != told[1][0][1]
    assert polyps["a larger epsilon does more (Table 3)"].split(" / ")[0] == told[1][0][2]
    assert polyps["the same, in the best of other readings"] != "not measured"


@pytest.mark.parametrize("target", ["polyps", "fundus"])
def test_table_4_is_of_the_run_that_varies_alpha(target: str) -> None:
    """Without another alpha than 0 and 1 it would be Table 1 once more."""
    *without, varied = TARGETS[target]
    assert not any(claim.startswith("Table 4") for mark in without for claim, *_ in table(mark))
    assert "Table 4: alpha 1 is best" in [claim for claim, *_ in table(varied)]
    page = (ROOT / "docs" / "paper_tables" / f"{target}.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| alpha (\S+) \|", page.split("<!-- end -->")[0], re.MULTILINE)
    assert shown == ["0", "0.75", "1", "1.25"] * 2
