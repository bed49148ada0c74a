"""Charts of a report, drawn from records."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from monai_smia.analysis.summary import Group, last_round, without_earlier_rounds
from monai_smia.records import COMPUTED, Record, RowKey, SummaryRow
from monai_smia.records.critical_radius import CriticalRadii
from monai_smia.records.rows import ALPHA, EQUAL_RADIUS, ITERATIONS
from monai_smia.records.summary import Headline

# Okabe and Ito: told apart by color-blind readers; markers and dashes tell them apart in gray
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX"
NEEDS = {  # charts that an evaluation has if it has the attacks for them
    "Over the radius": "an attack at several radii",
    "Over the number of gradients": "a preset other than paper",
    "Cases that hold": "the preset radius, or attacks at six radii",
    "Over the number of iterations": "an attack with several numbers of iterations",
    "Over alpha": "SMIA with several weights",
}


@dataclass(frozen=True)
class Chart:
    """A picture with its title and what it shows in words.

    Args:
        title: heading.
        caption: what it is.
        values: what it shows, for who cannot see it.
        png: the picture, base64.
    """

    title: str
    caption: str
    values: str
    png: str


def charts(
    groups: Sequence[Group],
    rows: Sequence[SummaryRow],
    metric: str,
    headline: Headline | None = None,
    critical_radii: Sequence[CriticalRadii] = (),
) -> list[Chart]:
    """All charts that the records have something for.

    Args:
        groups: records by row; of a plan in rounds, its last one is drawn.
        rows: of the summary.
        metric: the headline metric.
        headline: of the summary, for its figures after every round.
        critical_radii: of the summary.
    """
    groups = without_earlier_rounds(groups)
    rows = [row for row in rows if row.row.round in (None, last_round(groups))]
    known = [row for row in rows if row.stage == COMPUTED and row.value(metric) is not None]
    made = [
        _overview(known, metric),
        _over_eps(known, metric),
        _over_gradients(headline, metric),
        *(_holding(found) for found in critical_radii),
        _over_iterations(known, metric),
        _over_alpha(known, metric),
        *_over_steps(groups),
    ]
    return [chart for chart in made if chart is not None]


def _overview(rows: Sequence[SummaryRow], metric: str) -> Chart | None:
    if not rows:
        return None

    def draw(axis: Any) -> None:
        for number, row in enumerate(reversed(rows)):
            if interval := row.interval(metric):
                axis.plot(interval, [number] * 2, color="#555555", lw=2, zorder=1)
            axis.plot(row.value(metric), number, MARKERS[0], color=COLORS[0], zorder=2)
        axis.set_yticks(range(len(rows)), [row.row.label for row in reversed(rows)], fontsize=8)
        axis.set_xlabel(metric)
        axis.grid(axis="x", color="#dddddd")

    values = "; ".join(f"{row.row.label}: {row.value(metric):.3f}" for row in rows)
    caption = f"Mean {metric} of every attack as computed; bars are the 95 % interval, where there is one."
    return Chart("All attacks", caption, values, drawn(draw, height=0.8 + 0.27 * len(rows)))


@dataclass(frozen=True)
class _Point:
    """One point of a curve."""

    attack: RowKey
    x: float
    y: float


def _points(rows: Sequence[SummaryRow], metric: str, x: Callable[[RowKey], Any]) -> list[_Point]:
    return [_Point(row.row, float(x(row.row)), float(row.metrics[metric] or 0.0)) for row in rows]


def _is_fair(row: RowKey) -> bool:
    """Whether a row has the radius of the others beside it."""
    return row.setting == EQUAL_RADIUS or row.round is not None


def _over_gradients(headline: Headline | None, metric: str) -> Chart | None:
    """The worst case after every doubling of the gradients."""
    lines = {}
    for radius in [] if headline is None else headline.radii:
        known = [(each.gradients, each.attacked) for each in radius.rounds if each.attacked is not None]
        if len(known) > 1:
            lines[f"worst case, eps {radius.eps:g}"] = ([x for x, _ in known], [y for _, y in known])
    if headline is None or not lines:
        return None
    label = "gradients a case in one round, of all attacks together"
    ends = "; ".join(f"{name}: {', '.join(f'{y:.3f}' for y in values)}" for name, (_, values) in lines.items())
    picture = drawn(partial(_draw_lines, lines=lines, x_label=label, y_label=metric))
    caption = f"Mean {metric} under the worst attack of a radius so far; it has converged where doubling leaves it."
    return Chart("Over the number of gradients", caption, f"round by round: {ends}", picture)


def _holding(found: CriticalRadii) -> Chart | None:
    """The share of cases that hold, over the radius."""
    radii = [0.0, *(case.eps for case in found.cases if case.eps is not None)]
    if not found.cases or found.largest is None:
        return None
    shares = [1 - number / len(found.cases) for number in range(len(radii))]
    lines = {f"cases that hold, {found.norm}": ([*radii, found.largest], [*shares, shares[-1]])}
    label = "radius (network units)"
    picture = drawn(partial(_draw_lines, lines=lines, x_label=label, y_label="share of cases", steps=True, ms=3))
    caption = "Share of cases of which no attack found left half of what is right, over the radius: an upper bound."
    caption = caption.replace("half", f"at most {100 * found.share:g} %")
    return Chart("Cases that hold", caption, f"{shares[-1]:.3f} at the largest radius", picture)


def _over_eps(rows: Sequence[SummaryRow], metric: str) -> Chart | None:
    fair = [row for row in rows if _is_fair(row.row)]
    points = _points(fair, metric, lambda key: key.eps)
    if len({row.row.eps for row in fair}) > 1:  # every curve begins at the clean images
        attacks = {(row.row.attack, row.row.loss): row.row for row in fair}
        clean = [row for row in rows if row.row.is_clean]
        points += [_Point(key, 0.0, float(row.metrics[metric] or 0.0)) for row in clean for key in attacks.values()]
    return _curves(points, metric, "Over the radius", "radius (network units)", one_radius=True)


def _over_iterations(rows: Sequence[SummaryRow], metric: str) -> Chart | None:
    alike = [row for row in rows if row.row.setting in (EQUAL_RADIUS, ITERATIONS)]
    radii = {row.row.eps for row in alike if row.row.setting == ITERATIONS}
    chosen = [row for row in alike if row.row.eps in radii and (row.row.steps or 0) > 1]
    points = _points(chosen, metric, lambda key: key.steps)
    return _curves(points, metric, "Over the number of iterations", "number of iterations")


def _over_alpha(rows: Sequence[SummaryRow], metric: str) -> Chart | None:
    """SMIA over the weight of its stabilization term; without it, it is BIM."""
    smia = [row for row in rows if row.row.alpha is not None and row.row.setting in (EQUAL_RADIUS, ALPHA)]
    base = {(row.row.eps, row.row.steps) for row in smia if row.row.setting == ALPHA}
    bim = [row for row in rows if (row.row.attack, row.row.setting) == ("BIM", EQUAL_RADIUS)]
    there = [[row for row in part if (row.row.eps, row.row.steps) in base] for part in (smia, bim)]
    points = _points(there[0], metric, lambda key: key.alpha)
    for point in _points(there[1], metric, lambda key: 0.0):
        points.append(replace(point, attack=replace(point.attack, attack="SMIA")))
    return _curves(points, metric, "Over alpha", "alpha, the weight of the stabilization term")


def _curves(points: Sequence[_Point], metric: str, title: str, label: str, *, one_radius: bool = False) -> Chart | None:
    series: dict[str, list[_Point]] = {}
    several = not one_radius and len({point.attack.eps for point in points}) > 1
    for point in points:
        name = f"{point.attack.title}, eps {point.attack.eps:g}" if several else point.attack.title
        series.setdefault(name, []).append(point)
    series = {name: sorted(members, key=lambda point: point.x) for name, members in series.items()}
    series = {name: members for name, members in series.items() if len({point.x for point in members}) > 1}
    if not series:
        return None
    lines = {name: ([point.x for point in m], [point.y for point in m]) for name, m in series.items()}
    ends = "; ".join(f"{name}: {y[0]:.3f} to {y[-1]:.3f}" for name, (_, y) in lines.items())
    picture = drawn(partial(_draw_lines, lines=lines, x_label=label, y_label=metric))
    return Chart(title, f"Mean {metric} by {label}.", f"first to last value: {ends}", picture)


def _over_steps(groups: Sequence[Group]) -> list[Chart | None]:
    """Loss, variance and cosine over the iterations, means over cases, of equal-radius rows of the largest radius."""
    iterated = [
        group for group in groups if group.records[0].history and _is_fair(group.row) and (group.row.steps or 0) > 1
    ]
    most = max((group.row.eps or 0.0 for group in iterated), default=None)
    chosen = {group.row.title: group.records for group in iterated if group.row.eps == most}
    return [
        _history(chosen, "loss", "Deviation loss over the iterations", "loss / loss of the clean image", _relative),
        _history(
            chosen, "variance", "Variance of the perturbation over the iterations", "variance of eta / eps", _per_eps
        ),
        _history(
            chosen,
            "cosine",
            "Cosine of consecutive steps over the iterations",
            "cosine of a step and the next",
            lambda values, record: values,
        ),
    ]


def _relative(values: np.ndarray, record: Record) -> np.ndarray:
    return values / max(abs(values[0]), 1e-12)


def _per_eps(values: np.ndarray, record: Record) -> np.ndarray:
    return values / (record.row.eps_input or 1.0) ** 2


def _history(
    chosen: Mapping[str, Sequence[Record]], key: str, title: str, label: str, scale: Callable[..., np.ndarray]
) -> Chart | None:
    lines = {}
    for name, records in chosen.items():
        histories = [(record, (record.history or {}).get(key)) for record in records]
        values = [scale(np.array(history, dtype=float), record) for record, history in histories if history]
        if values and len(values[0]) > 1:
            mean = np.ma.masked_invalid(np.stack(values)).mean(0).filled(np.nan)  # a new start has no cosine
            lines[name] = (range(len(mean)), mean)
    if not lines:
        return None
    ends = "; ".join(f"{name}: {values[-1]:.3g}" for name, (_, values) in lines.items())
    picture = drawn(partial(_draw_lines, lines=lines, x_label="iteration", y_label=label, whole=True, ms=4))
    return Chart(title, f"Mean over cases of the {label}.", f"at the end: {ends}", picture)


def _draw_lines(
    axis: Any,
    lines: Mapping[str, tuple[Sequence[float], Any]],
    x_label: str,
    y_label: str,
    *,
    whole: bool = False,
    steps: bool = False,
    ms: float | None = None,
) -> None:
    style = "steps-post" if steps else "default"
    for i, (name, (x, y)) in enumerate(lines.items()):
        axis.plot(
            x, y, drawstyle=style, marker=MARKERS[i % len(MARKERS)], ms=ms, color=COLORS[i % len(COLORS)], label=name
        )
    if whole:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.grid(color="#dddddd")
    axis.legend(fontsize=8)


def drawn(draw: Callable[[Any], None], height: float = 3.2) -> str:
    """A picture of one axis, base64."""
    figure = Figure(figsize=(7.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    draw(axis)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
