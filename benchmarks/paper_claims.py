"""The tables of the SMIA paper of a results file of `bundle_runs.py`, and what holds of the paper there, by rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from measured import Claims, Row, Table, cells

from monai_smia.records import COMPUTED, Summary, SummaryRow
from monai_smia.records.rows import ALPHA, EQUAL_RADIUS, ITERATIONS, PAPER, RowKey
from monai_smia.report import write_tables


def told(summary: Row) -> Claims:
    """What every table says of its run."""
    clean = summary["rows"][0]
    of = f"{summary['evaluated']} of {summary['cases']} case{'s' * (summary['cases'] > 1)}"
    if clean.get("patients", 0) not in (0, summary["evaluated"]):
        of += f" of {clean['patients']} patients"
    few = "" if clean.get("intervals") and any(clean["intervals"].values()) else "; too few for an interval"
    yield f"{of}{few}; {len(summary['flags'])} flags raised by the evaluation.", not summary["failures"]
    for flag in summary["flags"]:
        yield f"Flag, {flag['name']}: {flag['text']}", True


@dataclass(frozen=True)
class PaperTables:
    """Tables 1 to 4 and 6, as `monai_smia.report.write_tables` prints them; arguments as there."""

    dataset: str
    columns: dict[str, str]
    eps: float
    also: dict[str, dict[str, str]] = field(default_factory=dict)

    def markdown(self, rows: list[Row]) -> str:
        """All of them."""
        known = RowKey().to_json()  # a results file may be older than a field of a row
        found = [SummaryRow.from_json({**known, **row}) for row in rows[0]["rows"]]
        summary = Summary(found, cases=rows[0]["cases"], evaluated=rows[0]["evaluated"])
        options = {"columns": self.columns, "eps": self.eps, "also": self.also}
        return write_tables(None, summary, dataset=self.dataset, **options)


@dataclass(frozen=True)
class PaperClaims:
    """What the paper says, what is seen here, and what follows by rule, not by hand.

    "Reproduced": the figure is better by what the paper says, and the two intervals do not touch. "Direction only": it
    is better, and they touch or there are none. "Not reproduced": it is not better. "Cannot be told": both alike.

    Args:
        metric: the task's; less is a stronger attack.
        eps: the task's.
        steps: of the tables that do not vary them.
    """

    metric: str
    eps: float
    steps: int = 10

    def markdown(self, rows: list[Row]) -> str:
        """One line a claim."""
        columns = {"the paper says": "{claim}", "here": "{here}", "verdict": "{verdict}"}
        found = [row for row in rows[0]["rows"] if row["stage"] == str(COMPUTED)]
        return Table(lambda _: cells(self.lines(found), columns), claims=lambda _: told(rows[0])).markdown(rows)

    def lines(self, rows: list[Row]) -> list[Row]:
        """The claims."""
        fair: dict[str, Row] = {r["attack"]: r for r in rows if r["setting"] == EQUAL_RADIUS and self.same(r["eps"], 1)}
        paper: dict[str, Row] = {r["attack"]: r for r in rows if r["setting"] == PAPER}
        others = [name for name in fair if name not in ("Noise", "SMIA")]
        more = {(r["attack"], r["steps"]): r for r in rows if r["setting"] == ITERATIONS}
        counts = sorted({steps for _, steps in more})
        radius = {
            factor: next((r for r in rows if r["attack"] == "SMIA" and self.same(r["eps"], factor)), None)
            for factor in (0.5, 1.5)
        }
        alphas = [r for r in rows if r["setting"] == ALPHA] + [fair["BIM"]]
        lines = [
            self.line("Table 1: STA makes DEV stronger", fair["SMIA"], [fair["BIM"]]),
            self.line("the same, in its own setting", paper["SMIA"], [paper["BIM"]]),
            self.line("Table 1: steps agree more (Cos)", fair["SMIA"], [fair["BIM"]], "cos", sign=-1),
            self.line("the same, in its own setting", paper["SMIA"], [paper["BIM"]], "cos", sign=-1),
        ]
        if counts:
            first, last = counts[0], counts[-1]
            claim = f"Table 2: {last} iterations of SMIA do more than {self.steps}"
            lines.append(self.line(claim, more["SMIA", last], [fair["SMIA"]]))
            if first < last:
                few = [more[name, last] for name in others]
                lines.append(
                    self.line(f"Table 2: SMIA needs {first} where others need {last}", more["SMIA", first], few)
                )
        if radius[0.5] and radius[1.5]:
            lines.append(
                self.line("Table 3: a larger radius does more (SMIA, 1.5 and 0.5)", radius[1.5], [radius[0.5]])
            )
        lines += [
            self.line("Table 4: alpha 1 is best", fair["SMIA"], alphas),
            self.line("Table 6: SMIA is the strongest", fair["SMIA"], [fair[name] for name in others]),
            self.line("Table 6: its Var is the lowest", fair["SMIA"], [fair[name] for name in others], "var"),
            self.line("the same, in its own setting", paper["SMIA"], [paper[n] for n in others if n in paper], "var"),
        ]
        return lines

    def same(self, eps: float | None, factor: float) -> bool:
        return eps is not None and abs(eps - factor * self.eps) < 1e-9

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
        which = f" (alpha {best['alpha']:g})" if best["setting"] == ALPHA else which
        here = f"{text(ours, ends[0])} against {text(best, ends[1])}{which}"
        return {"claim": claim, "here": here, "verdict": "cannot be told: alike" if alike else verdict}
