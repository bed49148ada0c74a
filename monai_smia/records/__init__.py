"""Records: all that was measured, as typed objects with a version, and their files."""

from __future__ import annotations

from monai_smia.records.journal import Journal, JournalLine, JournalReader, current, next_run, read_journals
from monai_smia.records.parts import RECORD_VERSION, Costs, Probe, Provenance, RecordVersionError
from monai_smia.records.record import Failure, Outcome, Record, read_records, write_records
from monai_smia.records.rows import CLEAN, COMPUTED, STORED, RowKey, Stage
from monai_smia.records.seal import DamagedRecordsError, check_seal, seal
from monai_smia.records.spec import EvaluationSpec, PlannedRow, Primary
from monai_smia.records.summary import Flag, Summary, SummaryRow, Verdict

__all__ = [
    "CLEAN",
    "COMPUTED",
    "RECORD_VERSION",
    "STORED",
    "Costs",
    "DamagedRecordsError",
    "EvaluationSpec",
    "Failure",
    "Flag",
    "Journal",
    "JournalLine",
    "JournalReader",
    "Outcome",
    "PlannedRow",
    "Primary",
    "Probe",
    "Provenance",
    "Record",
    "RecordVersionError",
    "RowKey",
    "Stage",
    "Summary",
    "SummaryRow",
    "Verdict",
    "check_seal",
    "current",
    "next_run",
    "read_journals",
    "read_records",
    "seal",
    "write_records",
]
