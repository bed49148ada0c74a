"""Figures 1 and 2 of the SMIA paper on a case of an evaluation; `monai_smia.report.figures.paper` draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from monai_smia.attacks import BIM, SMIA
from monai_smia.attacks.iterative import Iterate
from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.evaluation.runner import AttackEvaluation
from monai_smia.nearest import nearest
from monai_smia.records import CLEAN
from monai_smia.records.rows import EQUAL_RADIUS, PAPER
from monai_smia.report.figures.paper import Block, Course, Shown, draw_figure_1, draw_figure_2
from monai_smia.report.figures.views import DetectionView, PhotographView, SegmentationView, View
from monai_smia.units import in_unit
from monai_smia.victims import ClassificationVictim, DetectionVictim, SegmentationVictim
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain

NAMES = {"BIM": "FGSM, iterated", "PGD": "PGD", "SMIA": "SMIA"}  # the paper's FGSM is BIM
COURSES = {"BIM": "DEV", "SMIA": "DEV + STA"}
VIEWS: Mapping[type[Victim], type[View]] = {
    SegmentationVictim: SegmentationView,
    ClassificationVictim: PhotographView,
    DetectionVictim: DetectionView,
}
ITERATIONS = (1, 4, 9)


@dataclass(frozen=True)
class PaperFigures:
    """The figures of one case, whose attacks are rows of the evaluation's plan, as `paper_comparison` makes them.

    Args:
        evaluation: of any task; its plan holds BIM, PGD and SMIA at equal radius and in the paper's setting.
        case: number of the case in the evaluation, or its name.
        eps: which epsilon of the plan, in network units; None where it has one alone.
        classes: names of classes or grades.
        patch: pixels along each side of the part that figure 2 shows.

    Raises:
        ValueError: if there is no such case, no row of that epsilon, or an argument is outside its range.
    """

    evaluation: AttackEvaluation
    case: int | str = 0
    eps: float | None = None
    classes: Sequence[str] = ()
    patch: int = 48

    def __post_init__(self) -> None:
        if not isinstance(self.patch, int) or self.patch < 8:
            raise ValueError(f"patch must be a whole number of pixels >= 8, got {self.patch!r}.")
        self._item()
        for setting in (EQUAL_RADIUS, PAPER):
            self._rows(setting, NAMES)

    def figure_1(self) -> str:
        """Write ``figure_1.png``: clean and attacked images with their decisions, in both settings; what it shows."""
        case, view = self._case()
        clean = self._shown(CLEAN.lower(), case, case.image)
        blocks, told = [], [f"{case.name}: clean {view.said(clean.decision, clean.values)}."]
        for setting in (EQUAL_RADIUS, PAPER):
            rows = self._rows(setting, NAMES)
            shown = [self._shown(NAMES[row.name], case, self._attacked(case, row)) for row in rows]
            blocks.append(
                Block(self._title(setting, rows), max(row.attack.eps or 0.0 for row in rows if row.attack), shown)
            )
            found = "; ".join(f"{each.name} {view.said(each.decision, each.values)}" for each in shown)
            told.append(f"{setting}: {found}.")
        path = self._path("figure_1")
        draw_figure_1(path, view, clean, blocks, f"Attacks on {case.name}: what is decided")
        return "\n".join([*told, str(path)])

    def figure_2(self) -> str:
        """Write ``figure_2.png``: eta after 1, 4 and 9 iterations, Var and Cos, with and without STA; what is seen."""
        steps = min(getattr(row.attack, "steps", 0) for row in self._rows(EQUAL_RADIUS, COURSES))
        if steps < ITERATIONS[-1]:
            raise ValueError(f"steps must be at least {ITERATIONS[-1]}, the last iteration that is shown, got {steps}.")
        case, view = self._case()
        settings, told = {}, [f"{case.name}: Var / eps^2 after {', '.join(map(str, ITERATIONS))} iterations."]
        for setting in (EQUAL_RADIUS, PAPER):
            rows = self._rows(setting, COURSES)
            courses = [self._course(case, row, self._step(row, setting)) for row in rows]
            settings[self._title(setting, rows).replace("\n", " ")] = courses
            told.append(f"{setting}: {compared(*courses)}")
        path = self._path("figure_2")
        part = _middle(view.change(case.image[0]).shape, self.patch)
        draw_figure_2(
            path, view, settings, part, f"Perturbation of {case.name} in units of epsilon: {self.patch} pixels"
        )
        return "\n".join([*told, str(path)])

    # ---- the case and its attacks

    def _item(self) -> Mapping[str, Any]:
        names = [item["case"] for item in self.evaluation.cases]
        if isinstance(self.case, str) and self.case in names:
            return self.evaluation.cases[names.index(self.case)]
        if isinstance(self.case, int) and not isinstance(self.case, bool) and 0 <= self.case < len(names):
            return self.evaluation.cases[self.case]
        near = nearest(self.case, names) if isinstance(self.case, str) else ""
        raise ValueError(f"case must be a case's name or a number from 0 to {len(names) - 1}, got {self.case!r}{near}.")

    def _case(self) -> tuple[Case, View]:
        case = self.evaluation.load(self._item())
        kind = next(view for victim, view in VIEWS.items() if isinstance(self.evaluation.victim, victim))
        label = case.label[0]
        return case, kind(case.image[0], label, self.evaluation.unit, self.classes)

    def _rows(self, setting: str, names: Mapping[str, str]) -> list[PlannedAttack]:
        every = [row for row in self.evaluation.plan if row.setting == setting and row.name in names]
        known = list(dict.fromkeys(self._step(row, setting) for row in every))
        wanted = known[0] if self.eps is None and len(known) == 1 else self.eps
        rows = {row.name: row for row in every if wanted is not None and abs(self._step(row, setting) - wanted) < 1e-9}
        if rows.keys() != names.keys():
            raise ValueError(
                f"eps must be one of the plan's, {', '.join(f'{eps:g}' for eps in known)}, got {self.eps}; the preset "
                "'paper' has the rows that the figures need."
            )
        return [rows[name] for name in names]

    @staticmethod
    def _step(row: PlannedAttack, setting: str) -> float:
        """The epsilon of a row, in network units."""
        steps = getattr(row.attack, "steps", 1) + (row.name == "PGD") if setting == PAPER else 1
        return float(f"{(row.eps or 0.0) / max(steps, 1):.9g}")

    def _attacked(self, case: Case, row: PlannedAttack) -> Tensor:
        assert row.attack is not None
        attack = case.own(row.attack)
        return attack(self.evaluation.victim, case.image, case.label, mask=case.mask).adversarial

    def _shown(self, name: str, case: Case, image: Tensor) -> Shown:
        victim = self.evaluation.victim
        image = case.image.clone().copy_(image) if image is not case.image else image  # keeps its affine
        prediction = victim.infer(image)
        values = self.evaluation.metrics.case(victim, prediction, case.label, case.image)
        return Shown(name, image[0], victim.decide(prediction)[0], values)

    def _course(self, case: Case, row: PlannedAttack, eps: float) -> Course:
        assert isinstance(row.attack, (BIM, SMIA))
        attack, seen = watched(replace(row.attack, keep="last", stop_at=None))
        result = case.own(attack)(self.evaluation.victim, case.image, case.label, mask=case.mask)
        unit = eps * self._unit(row)
        etas = {n: as_plain(seen[n] - case.image)[0] / unit for n in ITERATIONS if n in seen}
        etas |= {n: as_plain(result.perturbation)[0] / unit for n in ITERATIONS if n == row.attack.steps}
        return Course(
            COURSES[row.name], etas, (result.variance[1:, 0] / unit**2).tolist(), result.cosine[:, 0].tolist()
        )

    @staticmethod
    def _unit(row: PlannedAttack) -> float:
        """Units of the image per network unit."""
        return (getattr(row.attack, "eps", 0.0) or 0.0) / (row.eps or 1.0)

    def _title(self, setting: str, rows: Sequence[PlannedAttack]) -> str:
        row = rows[0]
        size = self._step(row, setting) * self._unit(row)  # in the unit of the images
        unit = self.evaluation.unit
        steps = getattr(row.attack, "steps", 1)
        length = in_unit(f"{size:.3g}", unit)
        if setting == PAPER:
            return f"Paper setting:\n{steps} steps of {length},\nthe last iterate, nothing projected"
        return f"Equal radius:\n{steps} steps,\nno change above {length}"

    def _path(self, name: str) -> Path:
        return Path(self.evaluation.output_dir) / f"{name}.png"


def watched(attack: BIM | SMIA) -> tuple[BIM | SMIA, dict[int, Tensor]]:
    """An attack, the same, that keeps every iterate whose gradient it takes, by the number of steps before it."""
    seen: dict[int, Tensor] = {}

    class Watched(type(attack)):  # type: ignore[misc]  # of the attack's own class
        def objective(self, victim: Victim, iterate: Iterate) -> Tensor:
            seen[iterate.step] = iterate.adversarial.detach().clone()
            return super().objective(victim, iterate)

    Watched.__name__ = type(attack).__name__  # its name in progress bars
    return Watched(**{f.name: getattr(attack, f.name) for f in fields(attack) if f.init}), seen


def compared(without: Course, with_sta: Course) -> str:
    """What figure 2 shows, in a sentence, by the paper's two claims: Var is lower with STA, and decreases.

    Example:
        >>> import torch
        >>> course = Course("DEV", {1: torch.zeros(1), 2: torch.zeros(1)}, [1.0, 4.0], [0.5])
        >>> compared(course, Course("DEV + STA", course.perturbations, [1.0, 3.0], [0.7]))
        'DEV 1.00, 4.00; DEV + STA 1.00, 3.00. With STA Var is lower at the end, and does not decrease.'
    """
    values = [[course.variance[n - 1] for n in course.perturbations] for course in (without, with_sta)]
    told = "; ".join(
        f"{course.name} {', '.join(f'{v:.2f}' for v in found)}"
        for course, found in zip((without, with_sta), values, strict=True)
    )
    end = values[0][-1] - values[1][-1]
    lower = "lower" if end > 0.005 else "higher" if end < -0.005 else "the same"
    falls = "decreases" if values[1][-1] < values[1][0] else "does not decrease"
    return f"{told}. With STA Var is {lower} at the end, and {falls}."


def _middle(shape: Sequence[int], patch: int) -> tuple[slice, slice]:
    """A square in the middle of a plane, or as much of it as there is."""
    sides = [min(patch, n) for n in shape]
    starts = [(n - side) // 2 for n, side in zip(shape, sides, strict=True)]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return rows, columns
