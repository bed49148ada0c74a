"""The tables of the SMIA paper of a results file of `bundle_runs.py`, and what holds of the paper there, by rule."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from measured import RESULTS, ROOT, Claims, Row, Table, cells

from monai_smia.records import COMPUTED, Summary, SummaryRow
from monai_smia.records.rows import ALPHA, EQUAL_RADIUS, PAPER, PAPER_ALPHA, RowKey
from monai_smia.report import write_tables
from monai_smia.report.paper_cells import OVER_REACH, is_of, var_factors
from monai_smia.report.paper_tables import DEFAULT_READING, VARIED


def told(summary: Row) -> Claims:
    """What every table says of its run."""
    clean = summary["rows"][0]
    of = f"{summary['evaluated']} of {summary['cases']} case{'s' * (summary['cases'] > 1)}"
    if clean.get("patients", 0) not in (0, summary["evaluated"]):
        of += f" of {clean['patients']} patients"
    few = "" if clean.get("intervals") and any(clean["intervals"].values()) else "; too few for an interval"
    yield (
        f"{of}{few}; {len(summary['flags'])} flag{'s' * (len(summary['flags']) != 1)} raised by the evaluation.",
        not summary["failures"],
    )
    for flag in summary["flags"]:
        yield f"Flag, {flag['name']}: {flag['text']}", True


def as_they_say(rows: list[Row], eps: float) -> list[Row]:
    """The rows without those called "paper" of a results file that is older than what they are called by.

    There they were the best of ten iterates, and PGD began in a ball of ten epsilon; now it begins within epsilon.
    """
    keys = [RowKey.from_json({**RowKey().to_json(), **row}) for row in rows]
    known = any((key.attack, key.setting) == ("PGD", PAPER) and is_of(key, eps) for key in keys)
    return [row for row, key in zip(rows, keys, strict=True) if known or not key.as_the_paper]


def of_one_var(row: Row, eps: float) -> Row:
    """A row whose Var is of the same quantity as that of the other rows of its setting."""
    factor = var_factors(RowKey.from_json({**RowKey().to_json(), **row}), eps)[OVER_REACH]
    ends = (row.get("intervals") or {}).get("var")
    if factor == 1 or row.get("var") is None:
        return row
    scaled = ends and [factor * end for end in ends]
    return {**row, "var": factor * row["var"], "intervals": {**(row.get("intervals") or {}), "var": scaled}}


@dataclass(frozen=True)
class PaperTables:
    """Tables 1 to 4 and 6, as `monai_smia.report.write_tables` prints them; arguments as there."""

    dataset: str
    columns: dict[str, str]
    eps: float
    paper_eps: float | None = None
    also: dict[str, dict[str, str]] = field(default_factory=dict)

    def markdown(self, rows: list[Row]) -> str:
        """All of them."""
        own = self.eps if self.paper_eps is None else self.paper_eps
        known = RowKey().to_json()  # a results file may be older than a field of a row
        found = [SummaryRow.from_json({**known, **row}) for row in as_they_say(rows[0]["rows"], own)]
        summary = Summary(found, cases=rows[0]["cases"], evaluated=rows[0]["evaluated"])
        options = {"columns": self.columns, "eps": self.eps, "paper_eps": self.paper_eps, "also": self.also}
        return write_tables(None, summary, dataset=self.dataset, **options)


@dataclass(frozen=True)
class PaperClaims:
    """What the paper says, what is seen here, and what follows by rule, not by hand.

    "Reproduced": the figure is better by what the paper says, and the two intervals do not touch. "Direction only": it
    is better, and they touch or there are none. "Not reproduced": it is not better. "Cannot be told": both alike.

    Args:
        metric: the task's; less is a stronger attack.
        eps: the task's.
        paper_eps: that of the paper's own setting, where it is another.
        steps: of the tables that do not vary them.
    """

    metric: str
    eps: float
    paper_eps: float | None = None
    steps: int = 10

    def markdown(self, rows: list[Row]) -> str:
        """One line a claim."""
        columns = {"the paper says": "{claim}", "here": "{here}", "verdict": "{verdict}"}
        claims = [(f"Reading of Eq. 3 and 4 where a line names none: {DEFAULT_READING}.", True), *told(rows[0])]
        return Table(lambda _: cells(self.lines(rows[0]["rows"]), columns), claims=lambda _: claims).markdown(rows)

    def lines(self, rows: list[Row]) -> list[Row]:
        """The claims, each at equal radius and in the paper's own setting."""
        own = self.eps if self.paper_eps is None else self.paper_eps
        there = as_they_say(rows, own)
        rows = [of_one_var(row, own) for row in there if row["stage"] == str(COMPUTED)]  # changes rows of it alone
        keys = {id(row): RowKey.from_json({**RowKey().to_json(), **row}) for row in rows}
        settings = zip(VARIED.items(), (self.eps, own), strict=True)
        lines = []
        for claims in zip(*(self.of_setting(rows, keys, *each, eps) for each, eps in settings), strict=True):
            lines += [line for line in claims if line]
        return lines

    def of_setting(
        self, rows: list[Row], keys: dict[int, RowKey], setting: str, varied: tuple[str, str], eps: float
    ) -> list[Row]:
        """The claims in one setting; empty where its rows were not run."""

        def of(name: str, factor: float = 1.0) -> Row | None:
            alike = [r for r in rows if (r["attack"], r["setting"]) == (name, setting)]
            return next((r for r in alike if is_of(keys[id(r)], factor * eps)), None)

        def line(claim: str, ours: Row | None, others: list[Row | None], metric: str = "", sign: int = 1) -> Row:
            known = [row for row in others if row]
            text = claim if setting == EQUAL_RADIUS else "the same, in its own setting"
            return self.line(text, ours, known, metric, sign) if ours and known else {}

        iterations, alpha = varied
        attacks = dict.fromkeys(r["attack"] for r in rows if r["setting"] == setting)
        others = [of(name) for name in attacks if name not in ("Noise", "SMIA")]
        more = {(r["attack"], r["steps"]): r for r in rows if r["setting"] == iterations}
        first, last = (f({steps for _, steps in more}, default=0) for f in (min, max))
        few = [row for (name, steps), row in more.items() if name != "SMIA" and steps == last and first < last]
        smia, bim, alphas = of("SMIA"), of("BIM"), [r for r in rows if r["setting"] == alpha]
        return [
            line("Table 1: STA makes DEV stronger", smia, [bim]),
            *self.of_readings(rows, keys, setting, bim),
            line("Table 1: steps agree more (Cos)", smia, [bim], "cos", -1),
            line(f"Table 2: {last} iterations of SMIA do more than {self.steps}", more.get(("SMIA", last)), [smia]),
            line(f"Table 2: SMIA needs {first} where others need {last}", more.get(("SMIA", first)), [*few]),
            line("Table 3: a larger epsilon does more (SMIA, 1.5 and 0.5)", of("SMIA", 1.5), [of("SMIA", 0.5)]),
            line("Table 4: alpha 1 is best", smia, [*alphas, bim] if alphas else []),  # else Table 1
            line("Table 6: SMIA is the strongest", smia, others),
            line("Table 6: its Var is the lowest", smia, others, "var"),
        ]

    def of_readings(self, rows: list[Row], keys: dict[int, RowKey], setting: str, bim: Row | None) -> list[Row]:
        """Is DEV with STA stronger than DEV in any other reading? The strongest of them, chosen on these very cases."""
        there = {keys[id(r)].reading: r for r in rows if keys[id(r)].as_the_paper == (setting == PAPER)}
        known = {name: r for name, r in there.items() if name and r.get(self.metric) is not None}
        if not known or bim is None:
            return []
        stronger = [name for name, row in known.items() if row[self.metric] < bim[self.metric]]
        best = min(known, key=lambda name: known[name][self.metric])
        where = "" if setting == EQUAL_RADIUS else "the same, in its own setting: "
        text = f"{where}STA makes DEV stronger in another reading: {len(stronger)} of {len(known)}, most in *{best}*"
        return [self.line(text if where else f"Table 1: {text}", known[best], [bim])]

    def line(self, claim: str, ours: Row, others: list[Row], metric: str = "", sign: int = 1) -> Row:
        """Is `ours` less (`sign` -1: more) than the least of the others?"""
        metric = metric or self.metric
        scale, digits = (1, 3) if metric == "var" else (1, 1) if metric == "cos" else (100, 1)
        known = [row for row in others if row.get(metric) is not None]
        if ours.get(metric) is None or not known:
            return {"claim": claim, "here": "not defined", "verdict": "cannot be told"}
        best = min(known, key=lambda row: sign * row[metric])
        gap = sign * (best[metric] - ours[metric])
        ends = [(row.get("intervals") or {}).get(metric) for row in (ours, best)]
        apart = all(ends) and (ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0])
        alike = abs(gap) * scale < 0.5 * 10**-digits
        verdict = "not reproduced" if gap < 0 else "**reproduced**" if apart else "direction only"

        def text(row: Row, interval: Any) -> str:
            value = f"{scale * row[metric]:.{digits}f}"
            return (
                value
                if not interval
                else value + " [{:.{d}f}, {:.{d}f}]".format(*(scale * e for e in interval), d=digits)
            )

        which = f" ({best['attack']})" if len(others) > 1 else ""
        which = f" (alpha {best['alpha']:g})" if best["setting"] in (ALPHA, PAPER_ALPHA) else which
        here = f"{text(ours, ends[0])} against {text(best, ends[1])}{which}"
        return {"claim": claim, "here": here, "verdict": "cannot be told: alike" if alike else verdict}


WORDS = {  # of a claim, by how its line begins
    "STA makes DEV stronger (Table 1)": r"Table 1: STA makes DEV stronger$",
    "the same, in the best of other readings": r"Table 1: STA makes DEV stronger in another reading",
    "steps agree more, Cos (Table 1)": r"Table 1: steps agree more",
    "more iterations of SMIA do more (Table 2)": r"Table 2: \d+ iterations of SMIA",
    "SMIA needs fewer iterations than others (Table 2)": r"Table 2: SMIA needs",
    "a larger epsilon does more (Table 3)": r"Table 3: ",
    "alpha 1 is best (Table 4)": r"Table 4: ",
    "SMIA is the strongest (Table 6)": r"Table 6: SMIA is the strongest",
    "its Var is the lowest (Table 6)": r"Table 6: its Var",
}
UNMEASURED = "not measured"


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of `PaperClaims` on several targets beside each other: at equal radius / in the paper's own setting.

    Args:
        targets: by the name of a target its results files, and the claims of each. What the first does not hold is
            taken from the next.
    """

    targets: dict[str, list[tuple[str, PaperClaims]]]

    def markdown(self, rows: list[Row]) -> str:
        """One line a claim, one column a target; the results files are read beside the one that is given."""
        found: dict[str, dict[str, str]] = {name: {} for name in self.targets}
        for name, files in self.targets.items():
            for file in reversed(files):
                found[name] |= self.of(*file)
        lines = [
            {"claim": words, **{name: told.get(words, UNMEASURED) for name, told in found.items()}} for words in WORDS
        ]
        columns = {"the paper says": "{claim}", **{name: f"{{{name}}}" for name in self.targets}}
        return Table(lambda _: cells(lines, columns)).markdown(rows)

    def of(self, name: str, claims: PaperClaims) -> dict[str, str]:
        """The verdicts of one results file, by `WORDS`."""
        summary = json.loads((ROOT / RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"][0]
        told: dict[str, list[str]] = {}
        words = ""
        for line in claims.lines(summary["rows"]):
            own = line["claim"].startswith("the same, in its own setting")
            if not own:
                words = next(name for name, start in WORDS.items() if re.match(start, line["claim"]))
            told.setdefault(words, [UNMEASURED, UNMEASURED])[own] = line["verdict"].replace("cannot be told: ", "")
        return {words: " / ".join(pair) for words, pair in told.items()}
