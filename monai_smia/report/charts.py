"""Charts of a report, drawn from records."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from monai_smia.analysis.comparisons import row_name
from monai_smia.evaluation.plan import EQUAL_RADIUS

Record = Mapping[str, Any]
Groups = Mapping[tuple[Any, ...], Sequence[Record]]
# Okabe and Ito: told apart by colour-blind readers; markers and dashes tell them apart in grey
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX"
NEEDS = {  # charts that an evaluation has if it has the attacks for them
    "Over the radius": "an attack at several radii",
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


def charts(groups: Groups, rows: Sequence[Record], metric: str) -> list[Chart]:
    """All charts that the records have something for.

    Args:
        groups: records by row.
        rows: of the summary.
        metric: the headline metric.
    """
    computed = [row for row in rows if row["stage"] == "computed"]
    made = [
        _overview(computed, metric),
        _over_eps(computed, metric),
        _over_iterations(computed, metric),
        _over_alpha(computed, metric),
        *_over_steps(groups),
    ]
    return [chart for chart in made if chart is not None]


def _overview(rows: Sequence[Record], metric: str) -> Chart | None:
    shown = [row for row in rows if row.get(metric) is not None]
    if not shown:
        return None

    def draw(axis: Any) -> None:
        for number, row in enumerate(reversed(shown)):
            interval = (row.get("intervals") or {}).get(metric)
            if interval:
                axis.plot(interval, [number] * 2, color="#555555", lw=2, zorder=1)
            axis.plot(row[metric], number, MARKERS[0], color=COLORS[0], zorder=2)
        axis.set_yticks(range(len(shown)), [row_name(row) for row in reversed(shown)], fontsize=8)
        axis.set_xlabel(metric)
        axis.grid(axis="x", color="#dddddd")

    values = "; ".join(f"{row_name(row)}: {row[metric]:.3f}" for row in shown)
    caption = f"Mean {metric} of every attack as computed; bars are the 95 % interval by patient."
    return Chart("All attacks", caption, values, _draw(draw, height=0.8 + 0.27 * len(shown)))


def _over_eps(rows: Sequence[Record], metric: str) -> Chart | None:
    known = [row for row in rows if row.get(metric) is not None]
    fair = [row for row in known if row["setting"] == EQUAL_RADIUS]
    if len({row["eps"] for row in fair}) > 1:  # every curve begins at the clean images
        attacks = {(row["attack"], row["loss"]) for row in fair}
        clean = [row for row in known if row["attack"] == "Clean"]
        fair += [{**row, "attack": a, "loss": loss, "eps": 0.0} for row in clean for a, loss in attacks]
    return _curves(fair, metric, "eps", "Over the radius", "radius (network units)")


def _over_iterations(rows: Sequence[Record], metric: str) -> Chart | None:
    alike = [r for r in rows if r["setting"] == EQUAL_RADIUS or r["setting"].endswith(" iterations")]
    radii = {r["eps"] for r in alike if r["setting"] != EQUAL_RADIUS}
    chosen = [r for r in alike if r["eps"] in radii and (r["steps"] or 0) > 1 and r.get(metric) is not None]
    return _curves(chosen, metric, "steps", "Over the number of iterations", "number of iterations")


def _over_alpha(rows: Sequence[Record], metric: str) -> Chart | None:
    """SMIA over the weight of its stabilization term; without it, it is BIM."""
    smia = [r for r in rows if r.get("alpha") is not None and r.get(metric) is not None and r["setting"] != "paper"]
    base = {(r["eps"], r["steps"]) for r in smia if r["setting"].startswith("alpha ")}
    bim = [{**r, "attack": "SMIA", "alpha": 0.0} for r in rows if r["attack"] == "BIM" and r["setting"] == EQUAL_RADIUS]
    chosen = [r for r in (*smia, *bim) if (r["eps"], r["steps"]) in base and not r["setting"].endswith("gradients")]
    return _curves(chosen, metric, "alpha", "Over alpha", "alpha, the weight of the stabilization term")


def _curves(rows: Sequence[Record], metric: str, by: str, title: str, label: str) -> Chart | None:
    series: dict[str, list[Record]] = {}
    radii = {row["eps"] for row in rows} if by != "eps" else set()
    for row in rows:
        name = " ".join(str(row[n]) for n in ("attack", "loss") if row.get(n))
        series.setdefault(f"{name}, eps {row['eps']:g}" if len(radii) > 1 else name, []).append(row)
    series = {name: sorted(members, key=lambda r: r[by]) for name, members in series.items()}
    series = {name: members for name, members in series.items() if len({r[by] for r in members}) > 1}
    if not series:
        return None

    def draw(axis: Any) -> None:
        for i, (name, members) in enumerate(series.items()):
            x, y = [r[by] for r in members], [r[metric] for r in members]
            axis.plot(x, y, marker=MARKERS[i % len(MARKERS)], color=COLORS[i % len(COLORS)], label=name)
        axis.set_xlabel(label)
        axis.set_ylabel(metric)
        axis.grid(color="#dddddd")
        axis.legend(fontsize=8)

    ends = "; ".join(f"{n}: {m[0][metric]:.3f} to {m[-1][metric]:.3f}" for n, m in series.items())
    return Chart(title, f"Mean {metric} by {label}.", f"first to last value: {ends}", _draw(draw))


def _over_steps(groups: Groups) -> list[Chart | None]:
    """Loss, variance and cosine over the iterations, means over cases, of equal-radius rows of the largest radius."""
    members = [m for m in groups.values() if m[0].get("history") and m[0]["setting"] == EQUAL_RADIUS and m[0]["steps"]]
    members = [m for m in members if m[0]["steps"] > 1]
    most = max((m[0]["eps"] for m in members), default=None)
    chosen = {row_name(m[0]).split(",")[0]: m for m in members if m[0]["eps"] == most}
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
            lambda v, r: v,
        ),
    ]


def _relative(values: np.ndarray, record: Record) -> np.ndarray:
    return values / max(abs(values[0]), 1e-12)


def _per_eps(values: np.ndarray, record: Record) -> np.ndarray:
    return values / record["eps_input"] ** 2


def _history(
    chosen: Mapping[str, Sequence[Record]], key: str, title: str, label: str, scale: Callable[..., np.ndarray]
) -> Chart | None:
    lines = {}
    for name, members in chosen.items():
        histories = [m["history"].get(key) for m in members]
        values = [scale(np.array(h, dtype=float), m) for h, m in zip(histories, members, strict=True) if h]
        if values and len(values[0]) > 1:
            lines[name] = np.nanmean(np.stack(values), 0)
    if not lines:
        return None

    def draw(axis: Any) -> None:
        for i, (name, values) in enumerate(lines.items()):
            marker, color = MARKERS[i % len(MARKERS)], COLORS[i % len(COLORS)]
            axis.plot(range(len(values)), values, marker=marker, ms=4, color=color, label=name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("iteration")
        axis.set_ylabel(label)
        axis.grid(color="#dddddd")
        axis.legend(fontsize=8)

    ends = "; ".join(f"{name}: {values[-1]:.3g}" for name, values in lines.items())
    return Chart(title, f"Mean over cases of the {label}.", f"at the end: {ends}", _draw(draw))


def _draw(draw: Callable[[Any], None], height: float = 3.2) -> str:
    figure = Figure(figsize=(7.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    draw(axis)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
