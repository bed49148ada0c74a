"""Certificates of shifts in a report: the sentence, the table, and the chart that brackets the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai_smia.records.certificate import ShiftCertificate
from monai_smia.records.shift import ShiftGap
from monai_smia.report.charts import COLORS, Chart, drawn
from monai_smia.report.table import Table, cell

TITLE = "Shifts: certified, attacked and on average"


def certificate_text(found: ShiftCertificate) -> str:
    """What is certified of a shift, in a sentence."""
    if found.lowest is None or found.least_range == 0:
        return f"{found.shift}, severity {found.severity}: nothing is certified of every case."
    side = "at least" if found.higher_is_better else "at most"
    cases = "this case" if found.cases == 1 else f"every one of these {found.cases} cases"
    return (
        f"Certified with {100 * found.confidence:.0f} % confidence for each case, of half of all draws around any "
        f"parameters of {found.shift} in the box of severity {found.severity}: {found.metric} {side} "
        f"{cell(found.lowest)} in {cases}."
    )


def certificate_table(certificates: Sequence[ShiftCertificate]) -> Table:
    """One line per certificate.

    Args:
        certificates: of the summary.
    """
    lines = []
    for found in certificates:
        ends = [cell(value) for value in (found.center, found.attacked, found.bound, found.lowest)]
        broken = "not seen" if found.broken is None else f"{found.broken:.2f} boxes"
        reach = f"{found.least_range:.2f} boxes ({found.reach})"
        drawn = f"{found.draws}, {found.sigma:g} boxes"
        lines.append([found.shift, found.severity, *ends, reach, found.case, broken, found.crossed, drawn])
    return Table(
        [
            "shift",
            "severity",
            "median",
            "worst median found in the box",
            "certified in the box",
            "of every case",
            "certified range of the weakest case, half of what is right",
            "case",
            "seen broken at",
            "broken inside",
            "draws, their standard deviation",
        ],
        lines,
    )


def bracket_chart(certificates: Sequence[ShiftCertificate], gaps: Sequence[ShiftGap]) -> Chart | None:
    """Certified, attacked and average on one axis: what the network keeps lies between the first two.

    Args:
        certificates: of the summary.
        gaps: of the summary: shifts on average and at their worst, and proofs.

    Returns:
        The chart; None where nothing was certified or proven.
    """
    lines = [*_smoothed(certificates, gaps), *_proven(gaps)]
    if not lines:
        return None
    metric = certificates[0].metric if certificates else gaps[0].metric
    marks = {"certified": ">", "attacked": "x", "on average": "o", "clean": "|"}

    def draw(axis: Any) -> None:
        for place, (_, values) in enumerate(reversed(lines)):
            known = [value for value in values.values() if value is not None]
            axis.plot([min(known), max(known)], [place] * 2, color="#cccccc", lw=2, zorder=1)
            for number, (name, mark) in enumerate(marks.items()):
                if values.get(name) is not None:
                    label = name if place == 0 else None
                    style = {"color": COLORS[number], "ms": 8} if name != "clean" else {"color": COLORS[-1], "ms": 14}
                    axis.plot(values[name], place, mark, ls="", mew=2, label=label, zorder=2, **style)
        axis.set_yticks(range(len(lines)), [name for name, _ in reversed(lines)], fontsize=8)
        axis.set_ylim(-0.5, len(lines) + 0.3)
        axis.set_xlabel(metric)
        axis.grid(axis="x", color="#dddddd")
        axis.legend(ncols=4, loc="upper center", fontsize=8)

    told = "; ".join(f"{n}: " + ", ".join(f"{k} {cell(v)}" for k, v in values.items()) for n, values in lines)
    caption = (
        f"Means over cases of {metric}. Smoothed: of the median over draws, which a certificate bounds and an attack "
        "brackets from the other side. All values: every value of a finite set was tried, and the worst is a proof."
    )
    return Chart(TITLE, caption, told, drawn(draw, height=1.1 + 0.35 * len(lines)))


def _smoothed(
    certificates: Sequence[ShiftCertificate], gaps: Sequence[ShiftGap]
) -> list[tuple[str, dict[str, float | None]]]:
    """Of every certificate its own ends, and the average in the same box where it was drawn."""
    at_random = {(gap.shift, gap.severity): gap for gap in gaps if not gap.every_value}
    lines = []
    for found in certificates:
        gap = at_random.get((found.shift, found.severity))
        values = {"certified": found.bound, "attacked": found.attacked}
        values |= {"on average": gap.average, "clean": gap.clean} if gap is not None else {"on average": found.center}
        lines.append((f"{found.shift}, severity {found.severity}, smoothed", values))
    return [line for line in lines if any(value is not None for value in line[1].values())]


def _proven(gaps: Sequence[ShiftGap]) -> list[tuple[str, dict[str, float | None]]]:
    """Of every proof the worst, which is certified and attacked at once, and the average."""
    return [
        (
            f"{gap.shift}, severity {gap.severity}, all values",
            {"certified": gap.worst, "attacked": gap.worst, "on average": gap.average, "clean": gap.clean},
        )
        for gap in gaps
        if gap.every_value and gap.worst is not None
    ]
