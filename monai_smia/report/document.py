"""The document of a report as typed parts; `SCHEMA` (``report.schema.json`` beside this file) describes it as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from monai_smia.analysis.comparisons import CaseOutcome, Difference, Extreme, Stratum, WorstCase
from monai_smia.records import Flag, RowKey, SummaryRow, Verdict
from monai_smia.records.certificate import ShiftCertificate
from monai_smia.records.critical_radius import CriticalRadii
from monai_smia.records.shift import ShiftGap
from monai_smia.records.summary import AfterRound

SCHEMA = Path(__file__).with_name("report.schema.json")
FORMAT = "monai_smia report 2"


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
    """The cases: how many, what they are drawn by, which are left out and why, and what files they were."""

    cases: int
    evaluated: int
    patients: int
    excluded: list[dict[str, str]]
    inputs: list[dict[str, str | None]]
    strata: list[Stratum]
    sampled: str = "case"
    about: str | None = None


@dataclass(frozen=True)
class RowDamage:
    """Damage of a row: of the clean images, of the attacked ones, and the attack's own."""

    row: str
    stage: str
    cases: int
    clean: float | None
    attacked: float | None
    added: float | None
    wrong_when_clean: int
    unchanged: int


@dataclass(frozen=True)
class ThreatModelContent:
    """Goal, knowledge and capability of the attacker."""

    goal: str
    gradient_through: list[str]
    radii: list[dict[str, Any]]
    taxonomy: str = "NIST AI 100-2e2025: evasion at deployment time"
    knowledge: str = "white box: weights, preprocessing and inferer are known"
    rows_by_knowledge: dict[str, list[str]] = field(default_factory=dict)
    capability: str = "changes every voxel of the image within the radius"


@dataclass(frozen=True)
class PrimaryContent:
    """The headline metric over cases, and that of single cases where it is said of none."""

    metric: str
    higher_is_better: bool
    case_metric: str


@dataclass(frozen=True)
class RowCosts:
    """Gradients, queries and time of an attack, and the most gradients that one of its radius and setting took."""

    row: RowKey
    gradients: float | None
    seconds: float | None
    most_gradients_of_setting: float | None
    queries: float | None = None


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
class Convergence:
    """The headline at one radius after every doubling of the gradients, and how far the last one moved it."""

    eps: float | None
    eps_input: float | None
    norm: str | None
    rounds: list[AfterRound]
    moved: float | None
    converged: bool | None
    tolerance: float


@dataclass(frozen=True)
class ReportContent:
    """The document; `monai_smia.report.content.report_content` makes it."""

    made: str
    intended_use: str | None
    model: Model
    data: Data
    threat_model: ThreatModelContent
    attacks: list[dict[str, Any]]
    primary: PrimaryContent
    rows: list[SummaryRow]
    worst_case: list[WorstCase]
    convergence: list[Convergence]
    critical_radii: Sequence[CriticalRadii]
    shifts: Sequence[ShiftGap]
    certificates: Sequence[ShiftCertificate]
    cases: list[CaseOutcome]
    differences: list[Difference]
    damage: list[RowDamage]
    costs: list[RowCosts]
    survival: list[RowSurvival]
    constraint: list[Constraint]
    extremes: list[Extreme]
    flags: list[Flag]
    acceptance: Any
    criteria: list[Verdict]
    asset: Any
    hazard: Any
    requirement: Any
    residual_risk: Any
    limitations: list[str]
    reproduce: dict[str, Any]
    format: str = FORMAT

    def to_json(self) -> dict[str, Any]:
        """As in ``report.json``."""
        costs = [{**c.row.to_json(), **{n: v for n, v in asdict(c).items() if n != "row"}} for c in self.costs]
        return {**asdict(self), "rows": [row.to_json() for row in self.rows], "costs": costs}
