"""Plain facts of an evaluation that a report needs beside its records: plan, network, command."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from monai_smia.files import write_text
from monai_smia.metrics import CaseMetrics
from monai_smia.records.damage import DAMAGE
from monai_smia.records.parts import RECORD_VERSION, RecordVersionError, check_version
from monai_smia.records.rows import RowKey

SPEC_FILE = "spec.json"


@dataclass(frozen=True)
class Primary:
    """The headline metric.

    Args:
        metric: its name.
        higher_is_better: whether a victim is better with more of it.
    """

    metric: str
    higher_is_better: bool

    @classmethod
    def of(cls, metrics: CaseMetrics) -> Primary:
        """That of a task's metrics; damage is worse with more of it, whatever they say."""
        return cls(metrics.primary, metrics.higher_is_better and metrics.primary != DAMAGE)

    def among(self, values: Iterable[Mapping[str, Any]]) -> Primary:
        """This metric where any of the values has it; else the attack's damage.

        Average precision, for one, is said of no single case.

        Example:
            >>> Primary("map50", True).among([{"iou": 0.5, "damage": 1.0}])
            Primary(metric='damage', higher_is_better=False)
        """
        if any(isinstance(each.get(self.metric), float) for each in values):
            return self
        return Primary(DAMAGE, False)


@dataclass(frozen=True)
class PlannedRow:
    """A row of the plan.

    Args:
        row: the attack.
        targeted: whether the attack aims at a wrong answer of its choice.
        parameters: what the attack is run with, None where it has no such argument; empty without an attack.
    """

    row: RowKey
    targeted: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationSpec:
    """The plain facts of an evaluation; ``spec.json``.

    Args:
        network: class of the network.
        gradient_through: classes that the gradient passes through.
        unit: unit of the images.
        device: where the network is.
        primary: the headline metric.
        rows: the plan.
        about: ``metadata`` (that of a bundle), ``model`` (name, version, task and intended use of another model than
            that of the metadata), ``data`` (what the cases are, such as synthetic), ``knowledge`` (of the attacker,
            where that is not all), ``intended_use``, ``acceptance``, ``asset``, ``hazard``, ``requirement``,
            ``residual_risk`` and ``limitations``.
        sampled: what the cases are drawn by: ``"patient"`` where every case says whose it is, else ``"case"``.
        command: what was run.
        commit: of this package; None where it is not known.
        processes: how many.
        threads: of each.
        deterministic: whether PyTorch is held to deterministic algorithms.
        again: how the command can be run again, as `monai_smia.evaluation.recipe` records it; empty from Python.
    """

    network: str
    gradient_through: list[str]
    unit: str
    device: str
    primary: Primary
    rows: list[PlannedRow]
    about: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    commit: str | None = None
    processes: int = 1
    threads: int = 1
    deterministic: bool = False
    sampled: str = "case"
    again: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As in ``spec.json``."""
        return {"version": RECORD_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvaluationSpec:
        """From ``spec.json``.

        Raises:
            RecordVersionError: if another version has written it.
        """
        check_version(data, SPEC_FILE)
        rest = {name: value for name, value in data.items() if name not in ("version", "primary", "rows")}
        rows = [PlannedRow(**{**row, "row": RowKey(**row["row"])}) for row in data["rows"]]
        return cls(**rest, primary=Primary(**data["primary"]), rows=rows)

    def write(self, folder: Path) -> None:
        """Write ``spec.json``, complete or not at all."""
        write_text(folder / SPEC_FILE, json.dumps(self.to_json(), indent=1, default=str))

    @classmethod
    def read(cls, folder: Path) -> EvaluationSpec:
        """The facts of a finished evaluation.

        Raises:
            FileNotFoundError: if there is no folder.
            RecordVersionError: if another version has written it.
        """
        path = folder / SPEC_FILE
        if folder.is_dir() and not path.is_file():
            raise RecordVersionError(
                f"{str(folder)!r} holds no {SPEC_FILE}: it is no output folder of an evaluation, or one of monai_smia "
                "0.1.0, whose report is made anew by running that evaluation again with resume=False."
            )
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
