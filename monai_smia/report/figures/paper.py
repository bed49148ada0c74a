"""Figures 1 and 2 of the SMIA paper (Qi et al., ICLR 2021), of one case of one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from torch import Tensor

from monai_smia.report.figures.panel import saved_figure
from monai_smia.report.figures.views import View

WITHOUT, WITH = "#0072B2", "#D55E00"  # of STA; blue and vermilion of Okabe and Ito
INCHES, DPI = 2.9, 110
TEXT: dict[str, Any] = {"fontsize": 8.5, "color": "#222222"}


@dataclass(frozen=True)
class Shown:
    """An image and its decision.

    Args:
        name: of the attack, or Clean.
        image: ``(C, *spatial)``.
        decision: without its batch.
        values: metrics of the case.
    """

    name: str
    image: Tensor
    decision: Any
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """The attacks of one setting.

    Args:
        title: of the setting.
        bound: the largest change that the setting allows, in the unit of the image.
        shown: an entry an attack.
    """

    title: str
    bound: float
    shown: Sequence[Shown]


@dataclass(frozen=True)
class Course:
    """An attack with or without STA in one setting, from its first iterate on.

    Args:
        name: ``"DEV"`` or ``"DEV + STA"``.
        perturbations: ``(C, *spatial)`` after some iterations, by their number.
        variance: of the perturbation over epsilon squared, after iteration 1, 2, ...
        cosine: of consecutive steps, the first of iterations 1 and 2.
    """

    name: str
    perturbations: Mapping[int, Tensor]
    variance: Sequence[float]
    cosine: Sequence[float]


def draw_figure_1(path: Path, view: View, clean: Shown, blocks: Sequence[Block], title: str) -> None:
    """The clean image and the attacked ones with their decisions, and below each its perturbation.

    Args:
        path: PNG to write.
        view: of the case.
        clean: the clean image.
        blocks: a block of two lines a setting.
        title: of the whole figure.
    """
    columns = 1 + max(len(block.shown) for block in blocks)
    picture = INCHES * view.ratio
    lines = 2 * len(blocks)
    head, gap, foot = 0.4, 0.3, 0.5
    size = (INCHES * columns + 0.75, head + lines * (picture + gap) + foot)
    with saved_figure(path, size, dpi=DPI) as figure:

        def place(line: int, column: int) -> Any:
            left, bottom = (
                (0.03 + INCHES * column) / size[0],
                1 - (head + (line + 1) * (picture + gap) - 0.02) / size[1],
            )
            return figure.add_axes((left, bottom, (INCHES - 0.08) / size[0], picture / size[1]))

        figure.text(0.03 / size[0], 1 - 0.2 / size[1], title, fontsize=11, fontweight="bold", va="center")
        for number, block in enumerate(blocks):
            line = 2 * number
            first = place(line, 0)
            if number == 0:
                _picture(first, view, clean)
                _bar(first, view)
                words = place(1, 0)
            else:
                first.set_axis_off()
                words = first
            words.set_axis_off()
            words.text(0, 1, block.title, va="top", transform=words.transAxes, fontsize=9.5, fontweight="bold")
            for column, each in enumerate(block.shown, 1):
                _picture(place(line, column), view, each)
                axis = place(line + 1, column)
                change = _change(axis, view, each.image - clean.image, block.bound)
                if column == 1:
                    axis.set_title(
                        "perturbation, mean of channels" if clean.image.shape[0] > 1 else "perturbation", **TEXT
                    )
            _color_bar(figure, axis, change, block.bound, view.unit)
        handles = view.legend()
        if handles:
            figure.legend(handles=handles, loc="lower left", ncol=len(handles), fontsize=8.5, frameon=True,
                          facecolor="#555555", labelcolor="white", bbox_to_anchor=(0.0, 0.0))  # fmt: skip
        figure.text(1 - 0.05 / size[0], 0.2 / size[1], view.note(), ha="right", va="center", **TEXT)


def draw_figure_2(
    path: Path, view: View, settings: Mapping[str, Sequence[Course]], place: tuple[slice, slice], title: str
) -> None:
    """Perturbations with and without STA after some iterations, in units of epsilon, and Var and Cos over all of them.

    Args:
        path: PNG to write.
        view: of the case.
        settings: by the setting's title, the course without STA and that with it; perturbations in units of epsilon.
        place: the part of the plane that is shown, rows and columns: pixels are to be told apart.
        title: of the whole figure.
    """
    numbers = list(next(iter(settings.values()))[0].perturbations)
    side, chart, head, gap = 1.75, 3.1, 0.55, 0.34
    block = 2 * (side + gap) + 0.25
    size = (0.35 + len(numbers) * (side + 0.08) + 0.7 + chart + 0.85 + chart + 0.45, head + len(settings) * block)
    rows, columns = place
    with saved_figure(path, size, dpi=DPI) as figure:
        figure.text(0.05 / size[0], 1 - 0.2 / size[1], title, fontsize=11, fontweight="bold", va="center")
        for number, (name, courses) in enumerate(settings.items()):
            top = head + number * block
            figure.text(0.05 / size[0], 1 - (top - 0.05) / size[1], name, va="center", fontsize=9.5, fontweight="bold")
            planes = [{n: view.change(eta)[rows, columns] for n, eta in c.perturbations.items()} for c in courses]
            bound = max(float(np.abs(plane).max()) for found in planes for plane in found.values())
            for line, (course, found) in enumerate(zip(courses, planes, strict=True)):
                below = top + 0.18 + line * (side + gap)
                for column, n in enumerate(numbers):
                    left = 0.35 + column * (side + 0.08)
                    axis = figure.add_axes((left / size[0], 1 - (below + gap / 2 + side) / size[1],
                                            side / size[0], side / size[1]))  # fmt: skip
                    drawn = axis.imshow(found[n], cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest",
                                        aspect=view.aspect)  # fmt: skip
                    axis.set_xticks([]), axis.set_yticks([])
                    axis.set_title(f"iteration {n}: Var {course.variance[n - 1]:.2f}", pad=2, fontsize=8)
                    if column == 0:
                        color = WITHOUT if line == 0 else WITH
                        axis.set_ylabel(course.name, fontsize=9, color=color, fontweight="bold")
            end = 0.35 + len(numbers) * (side + 0.08)
            bar = figure.add_axes((end / size[0], 1 - (top + block - 0.3) / size[1], 0.1 / size[0],
                                   (block - 0.65) / size[1]))  # fmt: skip
            figure.colorbar(drawn, cax=bar).ax.tick_params(labelsize=7, pad=1)
            bar.set_title("eps", fontsize=8, pad=3)
            for which, label in enumerate(("Var / eps^2", "cosine of a step and the one before")):
                left = end + 1.0 + which * (chart + 0.75)
                axis = figure.add_axes((left / size[0], 1 - (top + block - 0.45) / size[1], chart / size[0],
                                        (block - 0.75) / size[1]))  # fmt: skip
                _curves(axis, courses, which, label)


def _curves(axis: Any, courses: Sequence[Course], which: int, label: str) -> None:
    styles = ((WITHOUT, "o", "-"), (WITH, "s", "--"))
    for course, (color, marker, line) in zip(courses, styles, strict=True):
        values = course.cosine if which else course.variance
        first = 2 if which else 1
        axis.plot(
            range(first, first + len(values)), values, color=color, marker=marker, ls=line, ms=4.5, label=course.name
        )
    if which:
        axis.axhline(0, color="#888888", lw=0.8)
    axis.set_xlabel("iteration", fontsize=9)
    axis.set_title(label, fontsize=9.5)
    axis.set_xticks(range(1, 1 + max(len(course.variance) for course in courses)))
    axis.tick_params(labelsize=8)
    axis.grid(color="#dddddd", lw=0.6)
    axis.margins(y=0.12)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.legend(fontsize=8.5, frameon=False)


def _picture(axis: Any, view: View, shown: Shown) -> None:
    view.draw(axis, shown.image)
    view.decide(axis, shown.decision)
    axis.set_axis_off()
    axis.set_title(f"{shown.name}: {view.said(shown.decision, shown.values)}", pad=3, **TEXT)


def _change(axis: Any, view: View, perturbation: Tensor, bound: float) -> Any:
    drawn = axis.imshow(view.change(perturbation), cmap="RdBu_r", vmin=-bound, vmax=bound, aspect=view.aspect)
    axis.set_axis_off()
    return drawn


def _color_bar(figure: Any, axis: Any, drawn: Any, bound: float, unit: str) -> None:
    box = axis.get_position()
    bar = figure.add_axes((box.x1 + 0.006, box.y0 + 0.06 * box.height, 0.009, 0.82 * box.height))
    figure.colorbar(drawn, cax=bar, ticks=[-bound, 0, bound]).ax.tick_params(labelsize=7.5, pad=1)
    bar.set_yticklabels([f"{-bound:.3g}", "0", f"{bound:.3g}"])
    bar.set_title(unit or "of 1", fontsize=8, pad=4, loc="left")


def _bar(axis: Any, view: View) -> None:
    """A scale in the lower left corner."""
    length, words = view.bar()
    low, high = axis.get_xlim()
    if length > 0.6 * abs(high - low):
        return
    bottom, top = axis.get_ylim()
    x, y = low + 0.05 * (high - low), bottom + 0.06 * (top - bottom)
    for color, width in (("black", 5), ("white", 2.5)):
        axis.add_line(Line2D([x, x + length], [y, y], color=color, lw=width, solid_capstyle="butt"))
    shade = {"facecolor": "black", "edgecolor": "none", "pad": 1, "alpha": 0.5}
    axis.text(x, y + 0.03 * (top - bottom), words, color="white", fontsize=7.5, va="bottom", bbox=shade)
