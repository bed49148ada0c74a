"""Records: the outcome of one (case, row, stage), or the failure of a case; one flat JSON object each in files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from monai_smia.files import write_text
from monai_smia.records.damage import ALL, CLEAN_DAMAGE
from monai_smia.records.parts import (
    COST_FIELDS,
    PROVENANCE_FIELDS,
    RECORD_VERSION,
    Costs,
    History,
    Probe,
    Provenance,
    check_version,
)
from monai_smia.records.rows import ROW_FIELDS, RowKey, Stage

RECORDS_FILE = "records.jsonl"
FAILURE = "failure"  # stands where a row's slug would
SIZES = ("linf", "l2", "var", "rms", "cos", "cos_mean", "ssim", "psnr", "at_bound", "unresolved")  # of a perturbation
EPS_FILE, LINF_FILE = "eps_file", "linf_file"  # radius and largest change in the unit of the files; of channel n: _n


def is_size(name: str) -> bool:
    """Whether a metric is the size of a perturbation.

    Example:
        >>> is_size("ssim"), is_size("linf_file_2"), is_size("dice")
        (True, True, False)
    """
    return name in SIZES or name.startswith((EPS_FILE, LINF_FILE))


@dataclass(frozen=True)
class Record:
    """The outcome of one case in one row at one stage.

    Args:
        row: the attack.
        stage: what has been done to the image.
        case: name of the case.
        patient: whose it is.
        strata: what cases are grouped by, such as ``{"scanner": "A"}``.
        seed: of the attack on this case; None without an attack.
        metrics: the task's metrics and facts, sizes of the perturbation, and the attack's ``damage``: values that JSON
            can hold; floating-point values are averaged, None is undefined.
        costs: what it took.
        history: values of every iterate: ``loss``, ``cosine``, ``linf``, ``variance``.
        probe: of the victim, with the clean row of the first cases.
        below_quantization: the file holds nothing of the perturbation that was computed.
        provenance: what it was made of; None until it is written to a journal.

    Example:
        >>> record = Record(RowKey("BIM", eps=0.1), Stage("computed"), "a", metrics={"jaccard": 0.5})
        >>> flat = record.to_json()
        >>> flat["attack"], flat["stage"], flat["jaccard"], Record.from_json(flat) == record
        ('BIM', 'computed', 0.5, True)
    """

    row: RowKey
    stage: Stage
    case: str
    patient: str = ""
    strata: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    history: History | None = None
    probe: Probe | None = None
    below_quantization: bool = False
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        if not self.patient:
            object.__setattr__(self, "patient", self.case)
        if taken := RESERVED.intersection(self.metrics):
            raise ValueError(f"metrics must not be named as what a record holds of its own, got {sorted(taken)}.")

    def number(self, name: str) -> Any:
        """A metric of the case; None where it is undefined or absent."""
        return self.metrics.get(name)

    @property
    def wrong_when_clean(self) -> bool:
        """Whether the clean image leaves nothing to break: no attack's success."""
        clean = self.number(CLEAN_DAMAGE)
        return clean is not None and clean >= ALL

    @property
    def unchanged(self) -> bool:
        """Whether an attack left the image as it was: it has no size then."""
        return not self.row.is_clean and self.number("linf") == 0

    def averaged(self) -> dict[str, Any]:
        """The metrics as means take them: an image that was left alone has no size, in whichever column."""
        if not self.unchanged:
            return dict(self.metrics)
        sizes = [name for name in self.metrics if is_size(name) and not name.startswith(EPS_FILE)]
        return {**self.metrics, **dict.fromkeys(sizes)}

    def measured(self) -> dict[str, Any]:
        """All that was measured, as means take it: metrics and costs."""
        return {**self.averaged(), **self.costs.to_json()}

    def at(self, stage: Stage, metrics: Mapping[str, Any], *, below_quantization: bool = False) -> Record:
        """The record of a later stage of the same image, which is attacked no more: its own metrics, and no time."""
        costs = Costs(gradients=self.costs.gradients)
        return replace(
            self, stage=stage, metrics=dict(metrics), costs=costs, history=None, below_quantization=below_quantization
        )

    def to_json(self) -> dict[str, Any]:
        """Flat, as in files."""
        own = {"case": self.case, **self.row.to_json(), "stage": str(self.stage), "seed": self.seed, "status": "ok"}
        extra: dict[str, Any] = {}
        if self.history is not None:
            extra["history"] = self.history
        if self.probe is not None:
            extra["probe"] = asdict(self.probe)
        if self.below_quantization:
            extra["below_quantization"] = True
        return {
            **own,
            **self.metrics,
            **self.costs.to_json(),
            **extra,
            "strata": self.strata,
            **_origin(self.case, self.patient, self.row.slug, self.provenance),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """From a line of a file.

        Raises:
            RecordVersionError: if another version has written it.
        """
        check_version(data, f"the record of case {data.get('case')!r}")
        probe = data.get("probe")
        return cls(
            row=RowKey.from_json(data),
            stage=Stage.parse(data["stage"]),
            case=data["case"],
            patient=data["patient"],
            strata=data["strata"],
            seed=data["seed"],
            metrics={name: value for name, value in data.items() if name not in RESERVED},
            costs=Costs(**{name: data.get(name) for name in COST_FIELDS}),
            history=data.get("history"),
            probe=None if probe is None else Probe(**probe),
            below_quantization=data.get("below_quantization", False),
            provenance=_provenance(data),
        )


RESERVED = frozenset(
    (*ROW_FIELDS, *COST_FIELDS, *PROVENANCE_FIELDS)
    + ("version", "case", "patient", "stage", "seed", "status", "strata", "key", "history", "probe")
    + ("below_quantization",)
)


@dataclass(frozen=True)
class Failure:
    """A case that could not be evaluated: it counts in no figure.

    Args:
        case: name of the case.
        kind: one of the names of `monai_smia.evaluation.errors`.
        reason: what happened, in one line.
        patient: whose it is.
        provenance: what it was made of; None until it is written to a journal.

    Example:
        >>> failure = Failure("a", "unreadable file", "OSError: ...")
        >>> failure.to_json()["status"], Failure.from_json(failure.to_json()) == failure
        ('failed', True)
    """

    case: str
    kind: str
    reason: str
    patient: str = ""
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        if not self.patient:
            object.__setattr__(self, "patient", self.case)

    def to_json(self) -> dict[str, Any]:
        """Flat, as in files."""
        own = {"case": self.case, "status": "failed", "kind": self.kind, "reason": self.reason}
        return {**own, **_origin(self.case, self.patient, FAILURE, self.provenance)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        """From a line of a file.

        Raises:
            RecordVersionError: if another version has written it.
        """
        check_version(data, f"the failure of case {data.get('case')!r}")
        return cls(data["case"], data["kind"], data["reason"], data["patient"], _provenance(data))


Outcome = Record | Failure


def outcome_from_json(data: Mapping[str, Any]) -> Outcome:
    """A record or a failure.

    Raises:
        RecordVersionError: if another version has written it.
    """
    return Failure.from_json(data) if data.get("status") == "failed" else Record.from_json(data)


def write_records(folder: Path, outcomes: Iterable[Outcome]) -> None:
    """Write ``records.jsonl``, one outcome a line, complete or not at all."""
    lines = (json.dumps(outcome.to_json(), allow_nan=False) + "\n" for outcome in outcomes)
    write_text(folder / RECORDS_FILE, "".join(lines))


def read_records(folder: Path) -> list[Outcome]:
    """The outcomes of a finished evaluation.

    Args:
        folder: its output folder.

    Raises:
        RecordVersionError: if another version has written them.
    """
    text = (folder / RECORDS_FILE).read_text(encoding="utf-8")
    return [outcome_from_json(json.loads(line)) for line in text.splitlines() if line]


def _origin(case: str, patient: str, key: str, provenance: Provenance | None) -> dict[str, Any]:
    found = {"patient": patient, "key": f"{case}|{key}", "version": RECORD_VERSION}
    return found if provenance is None else found | asdict(provenance)


def _provenance(data: Mapping[str, Any]) -> Provenance | None:
    if "input_sha256" not in data:
        return None
    return Provenance(**{name: data[name] for name in PROVENANCE_FIELDS})
