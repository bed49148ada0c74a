"""The tables of the SMIA paper: which rows they need, and how they are printed beside the published figures.

Qi et al., Stabilized Medical Image Attacks, ICLR 2021, Tables 1 to 4 and 6. Their FGSM is iterated and equals their
DEV, row by row: it is `BIM` here. Their epsilon is the step and nothing projects, which is a ball of radius steps *
epsilon; here that is the setting "paper", and "equal radius" keeps every attack within epsilon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_smia.attacks import BIM, PGD, SMIA, Attack, Noise
from monai_smia.evaluation.plan import EQUAL_RADIUS, PAPER, PlannedAttack
from monai_smia.report.published import TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_6
from monai_smia.records.journal import replace_file

ITERATIONS = (15, 20, 25)
RADII = (0.5, 1.0, 1.5)  # of the task's own epsilon: Table 3 has 0.005, 0.01 and 0.015
ALPHAS = (0.0, 0.75, 1.0, 1.25)
NAMES = {"BIM": "FGSM (= DEV)"}
NAMES_IN_TABLES = {"BIM": "FGSM"}


def tables_plan(
    eps: float,
    *,
    steps: int = 10,
    unit_scale: float = 1.0,
    iterations: Sequence[int] = ITERATIONS,
    radii: Sequence[float] = RADII,
    alphas: Sequence[float] = ALPHAS,
    extra: Sequence[Callable[..., Attack]] = (),
    **options: Any,
) -> list[PlannedAttack]:
    """The rows of Tables 1 to 4 and 6, none of them twice.

    All of them at equal radius; those of Tables 1 and 6 in the paper's own setting, too.

    Args:
        eps: the task's epsilon in network units.
        steps: iterations of the Tables 1, 3, 4 and 6.
        unit_scale: network units per unit of the images, as for `monai_smia.evaluation.paper_comparison`.
        iterations: of Table 2.
        radii: of Table 3, as multiples of eps.
        alphas: of Table 4.
        extra: further attacks, as for `monai_smia.evaluation.paper_comparison`.
        **options: further arguments of every attack, such as `clip` and `seed`.

    Example:
        >>> plan = tables_plan(0.05)
        >>> len(plan), sorted({row.name for row in plan})
        (25, ['BIM', 'Clean', 'Noise', 'PGD', 'SMIA'])
    """

    def unit(radius: float) -> float:
        return float(f"{radius / unit_scale:.9g}")

    attacks: list[Callable[..., Attack]] = [BIM, PGD, *extra, SMIA]
    plan = [PlannedAttack(), PlannedAttack(Noise(eps=unit(eps), **options), eps, EQUAL_RADIUS)]
    for count in dict.fromkeys((steps, *iterations)):
        name = EQUAL_RADIUS if count == steps else f"{count} iterations"
        plan += [PlannedAttack(a(eps=unit(eps), steps=count, **options), eps, name) for a in attacks]
    for factor in radii:
        if factor != 1:
            ball = {"eps": unit(factor * eps), "steps": steps, **options}
            plan += [PlannedAttack(a(**ball), factor * eps, EQUAL_RADIUS) for a in attacks]
    for alpha in alphas:
        if alpha not in (0, 1):  # 0 is BIM, 1 is there
            smia = SMIA(eps=unit(eps), steps=steps, alpha=alpha, **options)
            plan.append(PlannedAttack(smia, eps, f"alpha {alpha:g}"))
    paper = {"eps": unit(steps * eps), "steps": steps, "step_size": unit(eps), **options}
    starts: list[Attack] = [BIM(**paper), PGD(**paper), SMIA(**paper)]
    return plan + [PlannedAttack(attack, steps * eps, PAPER) for attack in starts]


def write_tables(
    output_dir: str | Path,
    summary: Mapping[str, Any],
    *,
    dataset: str,
    columns: Mapping[str, str],
    eps: float,
    steps: int = 10,
    also: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Write ``paper_tables.md``: ours with 95 % intervals, the published figure beside it.

    Args:
        output_dir: where to write.
        summary: of an `AttackEvaluation` of the `tables_plan`.
        dataset: the paper's dataset that Tables 1 and 6 are compared with.
        columns: our metric by the paper's heading, ``{"Acc(%)": "accuracy", "Jaccard(%)": "jaccard"}``.
        eps: the task's epsilon in network units.
        steps: iterations of the Tables 1, 3, 4 and 6.
        also: further datasets of Table 6 to compare with, with their columns.

    Returns:
        The text.
    """
    if dataset not in TABLE_1:
        raise ValueError(f"dataset must be one of {sorted(TABLE_1)}, got {dataset!r}.")
    tables = _Tables(summary["rows"], dataset, columns, eps, steps)
    text = "\n".join(
        [
            f"{summary['evaluated']} of {summary['cases']} cases; 95 % bootstrap interval by patient in brackets; "
            f"the paper's figure ({dataset} in Tables 1 and 6, EAD-2019 in Tables 2 to 4) after the bar.",
            *tables.ablation(),
            *tables.iterations(),
            *tables.radii(),
            *tables.alphas(),
            *tables.comparison(dataset, columns),
            *(line for name, heads in (also or {}).items() for line in tables.comparison(name, heads)),
        ]
    )
    replace_file(Path(output_dir) / "paper_tables.md", text + "\n")
    return text


class _Tables:
    def __init__(
        self, rows: Sequence[Mapping[str, Any]], dataset: str, columns: Mapping[str, str], eps: float, steps: int
    ) -> None:
        self.rows = {(r["attack"], r["setting"], r["eps"]): r for r in rows if r["stage"] == "computed"}
        self.dataset, self.columns, self.eps, self.steps = dataset, columns, eps, steps
        self.attacks = list(dict.fromkeys(name for name, setting, _ in self.rows if setting == EQUAL_RADIUS))
        self.attacks.remove("Noise")

    def ablation(self) -> list[str]:
        """Table 1."""
        names = {"DEV": "BIM", "DEV + STA": "SMIA"}
        columns = {**self.columns, "Cos(%)": "cos"}
        lines = [("Clean", self._row("Clean"), TABLE_1[self.dataset]["Clean"])]
        for setting, eps in ((EQUAL_RADIUS, self.eps), (PAPER, self.steps * self.eps)):
            for name, attack in names.items():
                published = TABLE_1[self.dataset][name]
                lines.append((f"{name}, {setting}", self._row(attack, setting, eps), published))
        return self._table("Table 1: ablation", columns, lines)

    def iterations(self) -> list[str]:
        """Table 2."""
        counts = [self.steps, *(int(s.split()[0]) for _, s, _ in self.rows if s.endswith(" iterations"))]
        settings = {n: EQUAL_RADIUS if n == self.steps else f"{n} iterations" for n in dict.fromkeys(counts)}
        found = [(n, lambda a, n=n: self._row(a, settings[n], self.eps)) for n in settings]
        return self._grid("Table 2: iterations", found, TABLE_2)

    def radii(self) -> list[str]:
        """Table 3."""
        radii = sorted({eps for _, s, eps in self.rows if s == EQUAL_RADIUS and eps is not None})
        found = [(round(e / self.eps, 3), lambda a, e=e: self._row(a, EQUAL_RADIUS, e)) for e in radii]
        return self._grid("Table 3: epsilon, as a multiple of the task's", found, TABLE_3)

    def alphas(self) -> list[str]:
        """Table 4."""
        rows = {0.0: self._row("BIM", EQUAL_RADIUS, self.eps), 1.0: self._row("SMIA", EQUAL_RADIUS, self.eps)}
        rows |= {r["alpha"]: r for (_, s, _), r in self.rows.items() if s.startswith("alpha ")}
        published = {a: dict(zip(("iou", "map"), v, strict=True)) for a, v in TABLE_4.items()}
        lines = [(f"alpha {a:g}", rows[a], published.get(a, {})) for a in sorted(rows)]
        out = self._table("Table 4: alpha", self.columns, lines)
        if not set(self.columns.values()) >= {"iou", "map"}:
            theirs = "; ".join(f"alpha {a:g}: {iou}, {mean}" for a, (iou, mean) in TABLE_4.items())
            out += ["", f"*The paper, EAD-2019 (IOU, mAP):* {theirs}."]
        return out

    def comparison(self, dataset: str, columns: Mapping[str, str]) -> list[str]:
        """Table 6."""
        published = {"BIM" if name == "FGSM" else name: figures for name, figures in TABLE_6[dataset].items()}
        lines = [("Clean", self._row("Clean"), published["Clean"])]
        lines.append(("Noise, equal radius", self._row("Noise", EQUAL_RADIUS, self.eps), {}))
        for setting, eps in ((EQUAL_RADIUS, self.eps), (PAPER, self.steps * self.eps)):
            for attack in self.attacks:
                if (attack, setting, eps) in self.rows:
                    row = self._row(attack, setting, eps)
                    lines.append((f"{NAMES.get(attack, attack)}, {setting}", row, published.get(attack, {})))
        return self._table(f"Table 6: comparison, {dataset}", {**columns, "Var": "var"}, lines)

    def _row(self, attack: str, setting: str = "", eps: float | None = None) -> Mapping[str, Any]:
        for (name, where, radius), row in self.rows.items():
            if (name, where) == (attack, setting) and (radius == eps or abs((radius or 0) - (eps or 0)) < 1e-9):
                return row
        return {}

    def _table(self, title: str, columns: Mapping[str, str], lines: Any) -> list[str]:
        out = ["", f"### {title}", "", "| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for name, row, published in lines:
            out.append(f"| {name} | " + " | ".join(_cell(row, m, published.get(m)) for m in columns.values()) + " |")
        return out

    def _grid(self, title: str, found: Any, published: Mapping[str, Any]) -> list[str]:
        """One group of columns per value; published figures of another task are lines of their own."""
        same_task = set(self.columns.values()) >= {"iou", "map"}
        heads = [f"{value:g}: {name}" for value, _ in found for name in self.columns]
        out = ["", f"### {title}", "", "| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for attack in self.attacks:
            paper = published.get(NAMES_IN_TABLES.get(attack, attack), {}) if same_task else {}
            cells = []
            for value, row_of in found:
                theirs = dict(zip(("iou", "map"), paper.get(value, ()), strict=False))
                cells += [_cell(row_of(attack), m, theirs.get(m)) for m in self.columns.values()]
            out.append(f"| {NAMES.get(attack, attack)} | " + " | ".join(cells) + " |")
        if not same_task:
            for name, theirs in published.items():
                cells = ["{}, {}".format(*theirs[value]) if value in theirs else "-" for value, _ in found]
                gap = " |" * (len(self.columns) - 1)
                out.append(f"| *paper, EAD-2019 (IOU, mAP): {name}* | " + f"{gap} | ".join(cells) + f"{gap} |")
        return out


def _cell(row: Mapping[str, Any], metric: str, published: float | None) -> str:
    scale, digits = (1, 3) if metric == "var" else (1, 1) if metric == "cos" else (100, 1)
    value = row.get(metric)
    text = "-" if value is None else f"{scale * value:.{digits}f}"
    interval = (row.get("intervals") or {}).get(metric)
    if interval:
        text += f" [{scale * interval[0]:.{digits}f}, {scale * interval[1]:.{digits}f}]"
    return text if published is None else f"{text} \\| {published:g}"
