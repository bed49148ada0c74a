"""Makes docs/architecture.png from the imports of the package: its rooms, and an arrow for every import between two.

An arrow that a longer way of arrows implies is left out, as are those to `files`. A room stands above all that it
imports.

python docs/architecture.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from test_house import FACADES, PACKAGE, graph_of, room  # noqa: E402  # what reads the imports there draws them here

# room -> where it stands from left to right, its group, and what it is for
ROOMS = {
    "cli": (4.3, "use", "python -m\nmonai_smia"),
    "evidence": (4.3, "results", "signed, checked,\ncomputed again"),
    "adapters": (4.3, "use", "a MONAI bundle\nas a victim"),
    "evaluation": (4.3, "results", "cases x attacks:\nplan and run"),
    "report": (6.4, "results", "page, tables,\ncharts, pictures"),
    "analysis": (6.4, "results", "intervals, flags,\nsurvival"),
    "records": (6.4, "results", "typed outcomes,\na journal"),
    "engines": (2.75, "attack", "an evaluator\nunder attack"),
    "handlers": (2.75, "attack", "the same for\nyour evaluator"),
    "transforms": (0.9, "attack", "the same in\na Compose"),
    "attacks": (1.3, "attack", "one algorithm\na file"),
    "victims": (2.2, "attack", "network, loss,\ndecision"),
    "inferers": (2.6, "attack", "the window's\ngradient"),
    "threat": (0.0, "attack", "norm, radius,\nvalid range"),
    "degradations": (1.3, "attack", "smoothing,\ncompression, ..."),
    "shifts": (-0.05, "attack", "how an image\nwas taken"),
    "certificates": (3.55, "attack", "smoothing over\na few parameters"),
    "metrics": (3.92, "results", "of a task, of\na perturbation"),
    "storage": (4.3, "files", "adversarial\nimages as files"),
    "dicom": (4.4, "files", "series in\nand out"),
    "files": (5.3, "files", "complete, or\nnot there"),
    "targets": (7.8, "targets", "only the bundles\nuse it"),
}
EVERYWHERE = "files"  # imported by all that write; its arrows would hide the others
COLORS = {"use": "#e8e8ee", "results": "#fde7cf", "attack": "#d8e8f8", "files": "#dcefdc", "targets": "#f6f6f6"}
WIDTH, HEIGHT = 1.2, 0.64


def imports() -> dict[str, set[str]]:
    """The rooms that each room imports."""
    found: dict[str, set[str]] = {name: set() for name in ROOMS}
    for module, targets in graph_of(PACKAGE).items():
        if (here := room(module)) in found:
            found[here] |= {room(target) for target in targets} & found.keys() - {here}
    left_out = {room(module) for module in graph_of(PACKAGE)} - found.keys() - FACADES
    known = {"", "__main__", "_moved", "command_line", "commands", "nearest", "options", "product_commands"}
    assert left_out == known, f"rooms without a place in the picture: {left_out - known}"
    return found


def reached(graph: dict[str, set[str]], name: str) -> set[str]:
    """Every room on a way down from one."""
    return graph[name].union(*(reached(graph, target) for target in graph[name]))


def rank(graph: dict[str, set[str]], name: str) -> int:
    """The length of the longest way down."""
    return 1 + max((rank(graph, target) for target in graph[name]), default=-1)


def main() -> None:
    """Draw it."""
    graph = imports()
    place = {name: (x, 1.15 * rank(graph, name)) for name, (x, _, _) in ROOMS.items()}
    figure, axes = plt.subplots(figsize=(9.6, 9.6))
    for name, targets in graph.items():
        implied = set().union(*(reached(graph, target) for target in targets))
        for target in targets - implied - {EVERYWHERE}:
            (x, y), (to_x, to_y) = place[name], place[target]
            slide = max(-0.4, min(0.4, (to_x - x) * 0.25))
            start, end = (x + slide, y - HEIGHT / 2), (to_x - slide, to_y + HEIGHT / 2)
            style = {"arrowstyle": "-|>", "mutation_scale": 11, "color": "#667", "linewidth": 1.1, "zorder": 1}
            axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=1, **style))
    for name, (_, group, text) in ROOMS.items():
        x, y = place[name]
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        line = "--" if group == "targets" else "-"
        box = FancyBboxPatch(corner, WIDTH, HEIGHT, boxstyle="round,pad=0.02", fc=COLORS[group], ec="#556", ls=line)
        axes.add_patch(box)
        axes.text(x, y + 0.15, name, ha="center", va="center", weight="bold", fontsize=9.6)
        axes.text(x, y - 0.12, text, ha="center", va="center", fontsize=7.6, linespacing=1.05)
    axes.set_xlim(-0.7, 8.5)
    axes.set_ylim(-0.5, max(y for _, y in place.values()) + 0.5)
    axes.set_axis_off()
    figure.savefig(HERE / "architecture.png", dpi=120, bbox_inches="tight", pad_inches=0.05)


if __name__ == "__main__":
    main()
