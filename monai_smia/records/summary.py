"""The summary of an evaluation: one row per attack, setting, radius and stage; ``summary.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from monai_smia.files import write_text
from monai_smia.records.certificate import ShiftCertificate
from monai_smia.records.critical_radius import CriticalRadii
from monai_smia.records.parts import RECORD_VERSION, check_version
from monai_smia.records.record import Failure
from monai_smia.records.rows import ROW_FIELDS, RowKey, Stage
from monai_smia.records.shift import ShiftGap

SUMMARY_FILE = "summary.json"
TOLERANCE = 0.005  # of the headline metric: it has converged where doubled gradients move it by less

Interval = list[float] | None


@dataclass(frozen=True)
class Flag:
    """One reason not to trust a result.

    Args:
        name: short and constant, for programs.
        text: what was seen.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """Whether a criterion of the user's own is met.

    Args:
        criterion: as its user wrote it.
        of: what is compared: the worst-case mean, or an end of its interval.
        value: of it; None where it cannot be told.
        threshold: that it is compared with.
        met: whether it is; what cannot be told is not.
        reason: why it cannot be told; empty where it can.
        cases: how many the figure is of.
        patients: whose they are.
    """

    criterion: str
    of: str
    value: float | None
    threshold: float
    met: bool
    reason: str = ""
    cases: int = 0
    patients: int = 0


@dataclass
class SummaryRow:
    """Means over the cases of one row at one stage.

    Args:
        row: the attack.
        stage: what had been done to the images.
        cases: how many.
        metrics: means over cases and what the task's metrics say of all of them, with ``gradients``, ``seconds`` and,
            after a degradation, ``recovered``; None where undefined.
        below_quantization: cases whose file holds nothing of the perturbation.
        intervals: of 95 %, by patient; None where they were not asked for.
        patients: whose the cases are.
        known: numbers of cases and patients that a mean or share is of, where it is not of all cases.
        listed: means of the patients, where they are too few for an interval.
        wrong_when_clean: cases of which the clean image left nothing to break.
        unchanged: cases that the attack left as they were; they count in no size of a perturbation.

    Example:
        >>> row = SummaryRow(RowKey("BIM", eps=0.1), Stage("stored"), 2, {"jaccard": 0.25})
        >>> flat = row.to_json()
        >>> flat["stage"], flat["jaccard"], SummaryRow.from_json(flat) == row
        ('stored', 0.25, True)
    """

    row: RowKey
    stage: Stage
    cases: int
    metrics: dict[str, float | None] = field(default_factory=dict)
    below_quantization: int = 0
    intervals: dict[str, Interval] | None = None
    patients: int = 0
    known: dict[str, list[int]] = field(default_factory=dict)
    listed: dict[str, list[float]] = field(default_factory=dict)
    wrong_when_clean: int = 0
    unchanged: int = 0

    def value(self, name: str) -> float | None:
        """A metric; None where it is undefined or absent."""
        return self.metrics.get(name)

    def interval(self, name: str) -> Interval:
        """The interval of a metric; None where there is none."""
        return (self.intervals or {}).get(name)

    def to_json(self) -> dict[str, Any]:
        """Flat, as in ``summary.json``."""
        flat = {**self.row.to_json(), "stage": str(self.stage), "cases": self.cases, **self.metrics}
        flat |= {name: getattr(self, name) for name in _COUNTS if getattr(self, name)}
        return flat if self.intervals is None else flat | {"intervals": self.intervals}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SummaryRow:
        """From a row of ``summary.json``."""
        return cls(
            row=RowKey.from_json(data),
            stage=Stage.parse(data["stage"]),
            cases=data["cases"],
            metrics={name: value for name, value in data.items() if name not in _NOT_METRICS},
            intervals=data.get("intervals"),
            **{name: data[name] for name in _COUNTS if name in data},
        )


_COUNTS = ("below_quantization", "patients", "known", "listed", "wrong_when_clean", "unchanged")
_NOT_METRICS = frozenset((*ROW_FIELDS, *_COUNTS, "stage", "cases", "intervals"))


@dataclass(frozen=True)
class AfterRound:
    """The headline metric under a radius' own attacks after a round of a plan whose gradients are doubled.

    Args:
        round: its number.
        gradients: that its attacks took together, mean over cases.
        attacked: under all of them so far; None where undefined.
    """

    round: int
    gradients: float
    attacked: float | None


@dataclass(frozen=True)
class AtRadius:
    """The headline metric at one radius.

    Args:
        eps: radius in network units.
        eps_input: radius in the unit of the images.
        norm: ``"linf"`` or ``"l2"``.
        noise: under noise of this size; None where it was not run.
        attacked: under the attacks, see `Headline.by_case`; None where undefined.
        interval: of 95 % of `attacked`, by patient; None where there is none.
        cases: how many the figure is of.
        patients: whose they are.
        attacks: the rows that were run at this radius, and those of smaller radii that did more to any case.
        by: the attacks that were the worst of most cases, all of them where several were; those of smaller radii where
            none of this radius did as much; without `by_case` the strongest ones.
        listed: means of the patients, where they are too few for an interval.
        rounds: what the radius' own attacks leave after every doubling; empty where the plan does not double gradients.
        converged: whether the last doubling moved it by less than `Headline.tolerance`; None where there was none.
    """

    eps: float | None
    eps_input: float | None
    norm: str | None
    noise: float | None
    attacked: float | None
    interval: Interval
    cases: int
    patients: int = 0
    attacks: list[str] = field(default_factory=list)
    by: list[str] = field(default_factory=list)
    listed: list[float] = field(default_factory=list)
    rounds: list[AfterRound] = field(default_factory=list)
    converged: bool | None = None

    @property
    def moved(self) -> float | None:
        """How far the last doubling moved what the radius' own attacks leave; None where there was none."""
        before, after = ([None, None] + [each.attacked for each in self.rounds])[-2:]
        return None if before is None or after is None else abs(after - before)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AtRadius:
        """From ``summary.json``."""
        return cls(**{**data, "rounds": [AfterRound(**each) for each in data["rounds"]]})


@dataclass(frozen=True)
class Headline:
    """The figures that matter most.

    Args:
        metric: the headline metric.
        clean: on clean images.
        by_case: whether `AtRadius.attacked` takes the worst attack of every case; else it is the figure of the
            strongest attack, of a metric that is said of no single case.
        radii: every radius, the smallest first; not the paper's own setting, whose radius is that of a sum of steps.
        clean_cases: how many `clean` is of.
        clean_patients: whose they are.
        higher_is_better: whether a victim is better with more of the metric.
        tolerance: what the figure may move by while the gradients double and still count as converged.
    """

    metric: str
    clean: float | None
    by_case: bool
    radii: list[AtRadius]
    clean_cases: int = 0
    clean_patients: int = 0
    higher_is_better: bool = True
    tolerance: float = TOLERANCE

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Headline:
        """From ``summary.json``."""
        return cls(**{**data, "radii": [AtRadius.from_json(radius) for radius in data["radii"]]})


@dataclass
class Summary:
    """Results of an evaluation.

    Args:
        rows: in the order of the plan.
        flags: reasons not to trust it.
        failures: cases that count in no row.
        cases: how many there are.
        evaluated: how many of them count.
        unit: unit of the images.
        seconds: of all attacks.
        headline: the figures that matter most; None without an attack.
        critical_radii: the smallest radius that breaks a case, by norm; empty where the plan does not look for it.
        criteria: the user's own, met or not.
        shifts: acquisition shifts on average and at their worst; in `certificates` what their median over draws keeps.
    """

    rows: list[SummaryRow]
    flags: Sequence[Flag] = ()
    failures: Sequence[Failure] = ()
    cases: int = 0
    evaluated: int = 0
    unit: str = ""
    seconds: float = 0.0
    headline: Headline | None = None
    critical_radii: list[CriticalRadii] = field(default_factory=list)
    criteria: list[Verdict] = field(default_factory=list)
    shifts: list[ShiftGap] = field(default_factory=list)
    certificates: list[ShiftCertificate] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As in ``summary.json``."""
        return {
            "version": RECORD_VERSION,
            "headline": None if self.headline is None else asdict(self.headline),
            "critical_radii": [asdict(found) for found in self.critical_radii],
            "rows": [row.to_json() for row in self.rows],
            "flags": [asdict(flag) for flag in self.flags],
            "failures": [failure.to_json() for failure in self.failures],
            **{name: [asdict(each) for each in getattr(self, name)] for name in ("criteria", "shifts", "certificates")},
            **{name: getattr(self, name) for name in ("cases", "evaluated", "unit", "seconds")},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Summary:
        """From ``summary.json``.

        Raises:
            RecordVersionError: if another version has written it.
        """
        check_version(data, SUMMARY_FILE)
        headline = data["headline"]
        return cls(
            rows=[SummaryRow.from_json(row) for row in data["rows"]],
            flags=[Flag(**flag) for flag in data["flags"]],
            failures=[Failure.from_json(failure) for failure in data["failures"]],
            headline=None if headline is None else Headline.from_json(headline),
            critical_radii=[CriticalRadii.from_json(found) for found in data["critical_radii"]],
            criteria=[Verdict(**verdict) for verdict in data.get("criteria", ())],
            shifts=[ShiftGap.from_json(gap) for gap in data.get("shifts", ())],
            certificates=[ShiftCertificate.from_json(found) for found in data.get("certificates", ())],
            **{name: data[name] for name in ("cases", "evaluated", "unit", "seconds")},
        )

    def write(self, folder: Path) -> None:
        """Write ``summary.json``, complete or not at all."""
        write_text(folder / SUMMARY_FILE, json.dumps(self.to_json(), indent=2, allow_nan=False))

    @classmethod
    def read(cls, folder: Path) -> Summary:
        """The summary of a finished evaluation.

        Raises:
            RecordVersionError: if another version has written it.
        """
        return cls.from_json(json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8")))
