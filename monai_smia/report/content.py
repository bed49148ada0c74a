"""Content of a report, as one document: everything that a reader of a robustness figure has to ask for.

`SCHEMA` (``report.schema.json`` beside this file) describes it as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from monai_smia.analysis import groups_of
from monai_smia.analysis.comparisons import (
    CaseOutcome,
    Difference,
    Extreme,
    Stratum,
    WorstCase,
    differences,
    every_case,
    extremes,
    strata_of,
    worst_cases,
)
from monai_smia.analysis.summary import Group
from monai_smia.metrics import means
from monai_smia.records import COMPUTED, STORED, EvaluationSpec, Flag, Outcome, Record, RowKey, Summary, SummaryRow

SCHEMA = Path(__file__).with_name("report.schema.json")
FORMAT = "monai_smia report 2"
LIMITATIONS = (
    "A figure holds for these cases, this radius and these attacks; a stronger attack may do more damage.",
    "Eps is a bound on the size of a perturbation, not on how likely one is to occur.",
    "Intervals cover the choice of patients, not errors of the reference labels or another scanner.",
)


@dataclass(frozen=True)
class Model:
    """The network and where it comes from."""

    name: str
    version: str | None
    network: str
    task: str | None
    weights_sha256: str | None
    config_sha256: str | None


@dataclass(frozen=True)
class Data:
    """The cases: how many, which are left out and why, and what files they were."""

    cases: int
    evaluated: int
    patients: int
    excluded: list[dict[str, str]]
    inputs: list[dict[str, str | None]]
    strata: list[Stratum]


@dataclass(frozen=True)
class ThreatModelContent:
    """Goal, knowledge and capability of the attacker."""

    goal: str
    gradient_through: list[str]
    radii: list[dict[str, Any]]
    taxonomy: str = "NIST AI 100-2e2025: evasion at deployment time"
    knowledge: str = "white box: weights, preprocessing and inferer are known"
    capability: str = "changes every voxel of the image within the radius"


@dataclass(frozen=True)
class PrimaryContent:
    """The headline metric over cases, and that of single cases where it is said of none."""

    metric: str
    higher_is_better: bool
    case_metric: str


@dataclass(frozen=True)
class RowCosts:
    """Gradients and time of an attack, and the most gradients that an attack of its radius and setting took."""

    row: RowKey
    gradients: float | None
    seconds: float | None
    most_gradients_of_setting: float | None


@dataclass
class RowSurvival:
    """The headline metric of a row by what was done to its images."""

    row: str
    computed: float | None = None
    stored: float | None = None
    below_quantization: int = 0
    after: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Constraint:
    """The largest change of a voxel over all cases, against the radius."""

    row: str
    stage: str
    eps_input: float | None
    norm: str | None
    largest_change: float | None
    at_bound: float | None


@dataclass(frozen=True)
class ReportContent:
    """The document; `report_content` makes it."""

    made: str
    intended_use: str | None
    model: Model
    data: Data
    threat_model: ThreatModelContent
    attacks: list[dict[str, Any]]
    primary: PrimaryContent
    rows: list[SummaryRow]
    worst_case: list[WorstCase]
    cases: list[CaseOutcome]
    differences: list[Difference]
    costs: list[RowCosts]
    survival: list[RowSurvival]
    constraint: list[Constraint]
    extremes: list[Extreme]
    flags: list[Flag]
    acceptance: Any
    hazard: Any
    limitations: list[str]
    reproduce: dict[str, Any]
    format: str = FORMAT

    def to_json(self) -> dict[str, Any]:
        """As in ``report.json``."""
        costs = [{**c.row.to_json(), **{n: v for n, v in asdict(c).items() if n != "row"}} for c in self.costs]
        return {**asdict(self), "rows": [row.to_json() for row in self.rows], "costs": costs}


def report_content(spec: EvaluationSpec, summary: Summary, outcomes: Sequence[Outcome]) -> ReportContent:
    """The document.

    Args:
        spec: what was planned.
        summary: what was found.
        outcomes: all of them.
    """
    groups = groups_of(outcomes)
    records = [outcome for outcome in outcomes if isinstance(outcome, Record)]
    primary = spec.primary.among(row.metrics for row in summary.rows)
    of_cases = spec.primary.among(record.metrics for record in records)
    cases = every_case(groups, of_cases)
    about = spec.about
    return ReportContent(
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        intended_use=about.get("intended_use") or about.get("metadata", {}).get("intended_use"),
        model=_model(spec, records),
        data=_data(summary, outcomes, strata_of(cases)),
        threat_model=_threat_model(spec),
        attacks=[{"row": row.row.label, **row.parameters} for row in spec.rows if not row.row.is_clean],
        primary=PrimaryContent(primary.metric, primary.higher_is_better, of_cases.metric),
        rows=summary.rows,
        worst_case=worst_cases(groups, of_cases),
        cases=cases,
        differences=differences(groups, of_cases.metric),
        costs=_costs(summary.rows),
        survival=_survival(summary.rows, primary.metric),
        constraint=_constraint(groups),
        extremes=extremes(groups, of_cases),
        flags=list(summary.flags),
        acceptance=about.get("acceptance"),
        hazard=about.get("hazard"),
        limitations=[*about.get("limitations", ()), *LIMITATIONS],
        reproduce={
            **{name: getattr(spec, name) for name in ("command", "commit", "device", "processes", "threads")},
            "deterministic": spec.deterministic,
            "versions": _origin(records, "versions"),
            "seconds": summary.seconds,
        },
    )


def _origin(outcomes: Sequence[Outcome], name: str) -> str | None:
    """A fact of the first outcome's provenance."""
    provenance = outcomes[0].provenance if outcomes else None
    return None if provenance is None else getattr(provenance, name)


def _model(spec: EvaluationSpec, records: Sequence[Record]) -> Model:
    metadata: Mapping[str, Any] = spec.about.get("metadata", {})
    return Model(
        name=metadata.get("name") or spec.network,
        version=metadata.get("version"),
        network=spec.network,
        task=metadata.get("task"),
        weights_sha256=_origin(records, "weights_sha256"),
        config_sha256=_origin(records, "config_sha256"),
    )


def _data(summary: Summary, outcomes: Sequence[Outcome], strata: list[Stratum]) -> Data:
    last = {outcome.case: outcome for outcome in outcomes}
    return Data(
        cases=summary.cases,
        evaluated=summary.evaluated,
        patients=len({outcome.patient for outcome in last.values()}),
        excluded=[{"case": f.case, "kind": f.kind, "reason": f.reason} for f in summary.failures],
        inputs=[{"case": case, "sha256": _origin([outcome], "input_sha256")} for case, outcome in last.items()],
        strata=strata,
    )


def _threat_model(spec: EvaluationSpec) -> ThreatModelContent:
    attacks = [row for row in spec.rows if not row.row.is_clean]
    radii = {(row.row.eps, row.row.eps_input, row.row.norm) for row in attacks}
    targeted = any(row.targeted for row in attacks)
    return ThreatModelContent(
        goal=f"integrity violation, {'targeted' if targeted else 'untargeted'}",
        gradient_through=spec.gradient_through,
        radii=[
            {"eps": eps, "eps_input": eps_input, "unit": spec.unit, "norm": norm}
            for eps, eps_input, norm in sorted(radii, key=str)
        ],
    )


def _costs(rows: Sequence[SummaryRow]) -> list[RowCosts]:
    attacked = [row for row in rows if row.stage == COMPUTED and not row.row.is_clean]
    most: dict[tuple[float | None, str], float] = {}
    for row in attacked:
        if (row.row.steps or 0) > 1:
            peers = (row.row.eps, row.row.setting_label)
            most[peers] = max(float(row.value("gradients") or 0), most.get(peers, 0.0))
    return [
        RowCosts(r.row, r.value("gradients"), r.value("seconds"), most.get((r.row.eps, r.row.setting_label)))
        for r in attacked
    ]


def _survival(rows: Sequence[SummaryRow], metric: str) -> list[RowSurvival]:
    found: dict[RowKey, RowSurvival] = {}
    for row in rows:
        entry = found.setdefault(row.row, RowSurvival(row.row.label))
        entry.below_quantization += row.below_quantization
        if row.stage == COMPUTED:
            entry.computed = row.value(metric)
        elif row.stage == STORED:
            entry.stored = row.value(metric)
        else:
            entry.after[str(row.stage)] = row.value(metric)
    return [entry for entry in found.values() if entry.stored is not None or entry.after]


def _constraint(groups: Sequence[Group]) -> list[Constraint]:
    found = []
    for group in groups:
        if not group.row.is_clean and group.stage in (COMPUTED, STORED):
            largest = max((r.metrics["linf"] for r in group.records if r.number("linf") is not None), default=None)
            share = means([record.metrics for record in group.records], ["at_bound"])["at_bound"]
            row = group.row
            found.append(Constraint(row.label, str(group.stage), row.eps_input, row.norm, largest, share))
    return found
