"""What an evaluation tells the person who runs it, before and after."""

from __future__ import annotations

import logging
import math
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import ignite.distributed as idist

from monai_smia.evaluation.cases import Case
from monai_smia.evaluation.fingerprint import files_of
from monai_smia.evaluation.line import ProgressLine
from monai_smia.evaluation.pace import duration_text, planned_predictions
from monai_smia.evaluation.pipeline import UNSUPERVISED
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.evaluation.volumes import ALL, NONE, WORST
from monai_smia.records import Summary
from monai_smia.report import Report, summary_table, survival_table
from monai_smia.report.summary_table import WIDTH
from monai_smia.report.verdicts import verdict_text

LOGGER = logging.getLogger(__name__)
VOXEL = 8  # bytes, of an image and its perturbation, uncompressed
PICTURE = 2_000_000  # bytes of a drawing with its slices, at most
KEPT = {WORST: "the worst case of each attack", ALL: "every case", NONE: "no case"}


class Planned(Protocol):
    """What is told of an evaluation before it starts."""

    plan: list[PlannedAttack]
    cases: Sequence[Mapping[str, Any]]
    figure: Any
    figures: int
    write_volumes: str | bool


def tell_plan(line: ProgressLine, evaluation: Planned, case: Case) -> None:
    """Two lines: what is going to be computed and what it takes at most, and what is kept.

    Args:
        line: knows what is done, what this process is to do, and what was measured.
        evaluation: with its plan, cases, and what it draws and keeps.
        case: one of the cases, whose gradients were measured.
    """
    if case.unlabeled:
        LOGGER.info(UNSUPERVISED)
    plan, items, keep = evaluation.plan, evaluation.cases, str(evaluation.write_volumes)
    pictures = 0 if evaluation.figure is None else evaluation.figures
    pace, done = line.pace, line.done
    processes = idist.get_world_size()
    attacks = [row.attack for row in plan if row.attack is not None]
    gradients = sum(attack.planned_gradients for attack in attacks)
    asked = sum(planned_predictions(attack) for attack in attacks)
    work = f"{gradients} gradients a case at {pace.gradient:.2g} s"
    if not gradients:
        work = f"{asked} queries a case at {pace.prediction:.2g} s"
    count = {WORST: processes, ALL: len(items), NONE: 0}[keep] if pace.stored else 0
    drawn = min(pictures + 2, len(items)) if pictures else 0
    size = count * _pair(case, items) * len(attacks) + drawn * len(attacks) * PICTURE
    cases = f"{len(items)} case{'' if len(items) == 1 else 's'} x {len(plan)} rows"
    before = f" ({done} of {len(items) * len(plan)} done before)" if done else ""
    among = f" in {processes} processes" if processes > 1 else ""
    LOGGER.info(
        "%s%s%s, at most: %s, %s, %s.",
        *(cases, before, among, work),
        *(duration_text(pace.at_most(line.todo)), _size_text(size)),
    )
    images = f"adversarial images of {KEPT[keep]} (--write_volumes worst, all or none)" if pace.stored else ""
    drawings = f"pictures of {drawn} case{'' if drawn == 1 else 's'}" if drawn else ""
    LOGGER.info("Kept: %s.", ", ".join(part for part in ("records", "report", drawings, images) if part))


def tell_outcome(summary: Summary, report: Report, primary: str, volumes: str = "") -> None:
    """The headline, the table, the user's own criteria, and where everything is.

    Args:
        summary: what was found.
        report: that is written.
        primary: headline metric of the task.
        volumes: which adversarial images are where.
    """
    if report.headline:
        LOGGER.info(textwrap.fill(report.headline, WIDTH, break_long_words=False, break_on_hyphens=False))
    LOGGER.info(summary_table(summary.rows, primary).text())
    for verdict in summary.criteria:
        LOGGER.info("Criterion %s", verdict_text(verdict, summary.flags))
    if any(row.stage.is_after for row in summary.rows):
        LOGGER.info(survival_table(summary.rows, primary))
    LOGGER.info("Report: %s", report.path.resolve())
    if volumes:
        LOGGER.info("Images: %s", volumes)


@contextmanager
def kept(line: ProgressLine, folder: Path) -> Iterator[None]:
    """Say what is kept where the user interrupts the block.

    Raises:
        KeyboardInterrupt: with that sentence.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Interrupted: {line.done} of {line.rows} rows are kept in {folder.resolve()}; the same command goes on "
            "where it was."
        ) from None


def _pair(case: Case, items: Sequence[Mapping[str, Any]]) -> float:
    """Bytes of the largest adversarial image with its perturbation, at most."""
    sizes = {str(item["case"]): _bytes(item["image"]) for item in items}
    own, largest = sizes.get(case.name, 0), max(sizes.values())
    return max(VOXEL * case.image.numel() * (largest / own if own else 1.0), 1.5 * largest)


def _bytes(image: Any) -> int:
    try:
        return sum(os.path.getsize(file) for file in files_of(image))
    except OSError:  # a file that is not there is for the evaluation to name
        return 0


def _size_text(size: float) -> str:
    power = min(max(int(math.log10(max(size, 1)) // 3), 1), 3)
    number = size / 1000**power
    return f"{number:.{0 if number >= 10 or power == 1 else 1}f} {('kB', 'MB', 'GB')[power - 1]}"
