"""How often the printed 95 % intervals hold the truth: the table of docs/statistics.md.

    python benchmarks/coverage.py [--draws 2000] [--save coverage]

Patients are drawn, each with 1 image or with 1 to 10 of them, alike by an intraclass correlation of .3, and the very
functions of `monai_smia.analysis.statistics` make the interval. An interval that is not printed (None) covers nothing
and misses nothing; its share stands beside.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from measured import Claims, Row, Table, add_save, save
from scipy import stats

from monai_smia.analysis.statistics import Sample, intervals, paired_difference, worst_case
from monai_smia.metrics import ClassificationMetrics, DetectionMetrics, means
from monai_smia.metrics.base import CaseMetrics

PATIENTS = (6, 10, 25)
IMAGES = (1, 10)  # at most, of a patient
ALIKE = 0.3  # intraclass correlation
REFERENCE = 40_000  # patients that the truth of a metric without a formula is taken from
SLOW = ("kappa", "AUC", "FPR", "mAP")
GRADES = ClassificationMetrics(5)
BOXES = DetectionMetrics(["polyp"])


@dataclass(frozen=True)
class Coverage:
    """Of one kind of interval: how often it held the truth where it was printed, how often it was, and its width."""

    covered: float | None
    printed: float
    width: float


@dataclass(frozen=True)
class Kind:
    """A kind of interval.

    Args:
        draw: from ``(generator, patients, images)`` the samples.
        interval: of the samples.
        truth: what it must hold; None takes it from `value` of many patients.
        value: of the samples.
    """

    draw: Callable[..., Any]
    interval: Callable[[Any], Any]
    truth: float | None = None
    value: Callable[[Any], float] | None = None


def latent(generator: np.random.Generator, patients: int, images: int, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The patient of every image, and standard normal values of these ``(images, count)``, alike in a patient."""
    each = np.ones(patients, int) if images == 1 else generator.integers(1, images + 1, patients)
    index = np.repeat(np.arange(patients), each)
    own = generator.normal(size=(patients, count))[index]
    return index, np.sqrt(ALIKE) * own + np.sqrt(1 - ALIKE) * generator.normal(size=(len(index), count))


def samples(index: np.ndarray, **columns: np.ndarray) -> list[Sample]:
    """The images as samples."""
    names = list(columns)
    rows = zip(index, *columns.values(), strict=True)
    return [
        Sample(str(i), str(patient), dict(zip(names, values, strict=True))) for i, (patient, *values) in enumerate(rows)
    ]


def valued(
    generator: np.random.Generator, patients: int, images: int, *, of: Any, name: str = "jaccard"
) -> list[Sample]:
    """Values of a distribution."""
    index, z = latent(generator, patients, images)
    return samples(index, **{name: of.ppf(stats.norm.cdf(z[:, 0]))})


def shared(generator: np.random.Generator, patients: int, images: int, *, share: float) -> list[Sample]:
    """Right or wrong, beta-binomial by patient."""
    index, _ = latent(generator, patients, images)
    own = generator.beta(share * (1 / ALIKE - 1), (1 - share) * (1 / ALIKE - 1), patients)[index]
    return samples(index, jaccard=(generator.random(len(index)) < own).astype(float))


def paired(generator: np.random.Generator, patients: int, images: int) -> tuple[list[Sample], list[Sample]]:
    """Two rows of the same skewed damage, which differ by chance alone."""
    index, z = latent(generator, patients, images, 3)
    both = [np.sqrt(0.6) * z[:, 0] + np.sqrt(0.4) * z[:, i] for i in (1, 2)]
    first, second = (samples(index, jaccard=stats.beta.ppf(stats.norm.cdf(v), 0.4, 1.6)) for v in both)
    return first, second


def seldom(generator: np.random.Generator, patients: int, images: int) -> list[Sample]:
    """Nine of ten are 0, the others between .3 and 1."""
    index, z = latent(generator, patients, images)
    return samples(index, jaccard=np.maximum(7 * stats.norm.cdf(z[:, 0]) - 6, 0) * (stats.norm.cdf(z[:, 0]) > 0.9))


def seldom_paired(generator: np.random.Generator, patients: int, images: int) -> tuple[list[Sample], list[Sample]]:
    """Two rows that are mostly the same, and else .5 apart in either direction."""
    index, z = latent(generator, patients, images)
    u = stats.norm.cdf(z[:, 0])
    difference = 0.5 * (u > 0.86) - 0.5 * (u < 0.16)
    return samples(index, jaccard=0.5 + difference), samples(index, jaccard=np.full(len(u), 0.5))


def difference(pair: tuple[list[Sample], list[Sample]]) -> Any:
    """The interval of the paired difference."""
    return paired_difference(*pair, "jaccard").interval


def attacked(generator: np.random.Generator, patients: int, images: int) -> dict[str, list[Sample]]:
    """Three attacks on the same images."""
    index, z = latent(generator, patients, images, 4)
    values = [np.sqrt(0.6) * z[:, 0] + np.sqrt(0.4) * z[:, i] for i in (1, 2, 3)]
    return {str(i): samples(index, jaccard=stats.beta.ppf(stats.norm.cdf(v), 1, 2)) for i, v in enumerate(values)}


def graded(generator: np.random.Generator, patients: int, images: int) -> list[Sample]:
    """Five grades, decided with an error, with probabilities."""
    index, z = latent(generator, patients, images, 2)
    seen = z[:, 0] + 0.6 * z[:, 1]
    cuts = [-0.3, 0.3, 0.8, 1.4]
    truth, decided = np.searchsorted(cuts, z[:, 0]), np.searchsorted(cuts, seen)
    near = np.exp(-((seen[:, None] - np.array([-0.8, 0.0, 0.55, 1.1, 1.9])) ** 2))
    return samples(
        index,
        accuracy=(truth == decided).astype(float).tolist(),
        grade=truth.tolist(),
        decided=decided.tolist(),
        probabilities=(near / near.sum(1, keepdims=True)).tolist(),
    )


def detected(generator: np.random.Generator, patients: int, images: int) -> list[Sample]:
    """One to three objects an image, found with a score or not, and boxes beside them."""
    index, z = latent(generator, patients, images)
    found = []
    for i, patient in enumerate(index):
        objects, wrong = int(generator.integers(1, 4)), int(generator.poisson(0.7))
        hits = generator.random(objects) < stats.norm.cdf(0.8 + z[i, 0])
        good = [[float(s), 1023] for s in generator.beta(4, 2, objects)[hits]]
        bad = [[float(s), 0] for s in generator.beta(2, 4, wrong)]
        values = {"objects": [objects], "detections": [sorted(good + bad, reverse=True)]}
        found.append(Sample(str(i), str(patient), values))
    return found


def of(metrics: CaseMetrics | None, name: str, drawn: list[Sample]) -> Any:
    """The interval of a row's summary."""
    summarize, shares = (means, None) if metrics is None else (metrics.summary, metrics.shares)
    return intervals(drawn, summarize, shares).get(name)


def summary_of(metrics: CaseMetrics, name: str, drawn: list[Sample]) -> float:
    """The row's summary."""
    return float(metrics.summary([sample.values for sample in drawn])[name] or 0.0)


def mean_kind(distribution: Any, name: str = "jaccard") -> Kind:
    return Kind(partial(valued, of=distribution, name=name), partial(of, None, name), float(distribution.mean()))


def summary_kind(metrics: CaseMetrics, name: str, draw: Callable[..., Any]) -> Kind:
    return Kind(draw, partial(of, metrics, name), None, partial(summary_of, metrics, name))


KINDS: dict[str, Kind] = {
    "mean, normal": mean_kind(stats.norm(0.5, 0.1)),
    "mean, skewed damage": mean_kind(stats.beta(0.4, 1.6)),
    "mean, more skewed": mean_kind(stats.beta(0.3, 2.7)),
    "mean, distance": mean_kind(stats.lognorm(1), "hd95"),
    "accuracy .85": Kind(partial(shared, share=0.85), partial(of, None, "jaccard"), 0.85),
    "accuracy .97": Kind(partial(shared, share=0.97), partial(of, None, "jaccard"), 0.97),
    "mean, mostly 0": Kind(seldom, partial(of, None, "jaccard"), 0.065),
    "paired difference of 0": Kind(paired, difference, 0.0),
    "paired difference, mostly 0": Kind(seldom_paired, difference, -0.01),
    "worst of 3 attacks": Kind(
        attacked,
        lambda rows: worst_case(rows, "jaccard")[0].interval,
        None,
        lambda rows: worst_case(rows, "jaccard")[0].value or 0.0,
    ),
    "kappa": summary_kind(GRADES, "kappa", graded),
    "AUC": summary_kind(GRADES, "auc", graded),
    "FPR": summary_kind(GRADES, "fpr", graded),
    "mAP": summary_kind(BOXES, "map50", detected),
}


@cache
def truth_of(kind: str, images: int) -> float:
    """What the intervals of a kind must hold."""
    chosen = KINDS[kind]
    if chosen.truth is not None:
        return chosen.truth
    assert chosen.value is not None
    return chosen.value(chosen.draw(np.random.default_rng(0), REFERENCE // images, images))


def coverage(kind: str, patients: int, images: int, *, draws: int) -> Coverage:
    """Simulate one cell of the table.

    Args:
        kind: of `KINDS`.
        patients: how many.
        images: of a patient at most.
        draws: of the simulation.
    """
    generator, truth = np.random.default_rng([patients, images]), truth_of(kind, images)
    found = [KINDS[kind].interval(KINDS[kind].draw(generator, patients, images)) for _ in range(draws)]
    known = [ends for ends in found if ends is not None]
    held = [ends[0] - 1e-12 <= truth <= ends[1] + 1e-12 for ends in known]
    width = float(np.mean([high - low for low, high in known])) if known else float("nan")
    return Coverage(float(np.mean(held)) if held else None, len(known) / draws, width)


def simulated(draws: int) -> Iterator[Row]:
    """One row a kind: ``[per cent covered, per cent printed]`` of every cell."""
    for kind in KINDS:
        row: Row = {"interval": kind, "draws": draws // 4 if kind in SLOW else draws}
        for patients in PATIENTS:
            for images in IMAGES:
                found = coverage(kind, patients, images, draws=row["draws"])
                covered = None if found.covered is None else 100 * found.covered
                row[f"{patients} patients, {images if images == 1 else f'1 to {images}'}"] = [
                    covered,
                    100 * found.printed,
                ]
        print(row, flush=True)
        yield row


def held(rows: list[Row]) -> list[dict[str, str]]:
    """The per cent covered, with the share printed where it is not all."""
    cells = []
    for row in rows:
        shown = {head: _cell(*value) for head, value in row.items() if isinstance(value, list)}
        cells.append({"interval": row["interval"], **{_headed(head): text for head, text in shown.items()}})
    return cells


def _headed(cell: str) -> str:
    return cell + " image" if cell.endswith(", 1") else cell


def _cell(covered: float | None, printed: float) -> str:
    if covered is None:
        return "none"
    return f"{covered:.1f}" + (f" ({printed:.1f} % printed)" if printed <= 99.5 else "")


def claims(rows: list[Row]) -> Claims:
    """Sentences of docs/statistics.md."""
    known = [value[0] for row in rows for value in row.values() if isinstance(value, list) and value[0] is not None]
    slow, fast = ({row["draws"] for row in rows if (row["interval"] in SLOW) is those} for those in (True, False))
    yield (
        f"Of {fast.pop()} draws a cell, {slow.pop()} of {', '.join(SLOW)}. No interval that is printed holds the truth "
        "in less than 93 % of the draws.",
        min(known) >= 93,
    )


TABLES = {"table": Table(held, claims=claims)}


def main() -> None:
    """Simulate, print every row, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    add_save(parser)
    options = parser.parse_args()
    save(options.save, list(simulated(options.draws)), seeds=[[p, m] for p in PATIENTS for m in IMAGES])


if __name__ == "__main__":
    main()
