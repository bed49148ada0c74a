"""Content of a report, as one document: everything that a reader of a robustness figure has to ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from statistics import median
from typing import Any

from monai_smia.analysis import groups_of
from monai_smia.analysis.comparisons import (
    Stratum,
    differences,
    every_case,
    extremes,
    strata_of,
    worst_cases,
)
from monai_smia.analysis.summary import Group
from monai_smia.metrics import means
from monai_smia.metrics.volumes import SPACING
from monai_smia.records import COMPUTED, STORED, EvaluationSpec, Outcome, Record, RowKey, Summary, SummaryRow
from monai_smia.records.damage import ADDED_DAMAGE, CLEAN_DAMAGE, DAMAGE, FROZEN
from monai_smia.records.record import EPS_FILE
from monai_smia.records.summary import Headline
from monai_smia.report.document import (
    FORMAT,
    SCHEMA,
    Constraint,
    Convergence,
    Data,
    Model,
    PrimaryContent,
    ReportContent,
    RowCosts,
    RowDamage,
    RowSurvival,
    ThreatModelContent,
)

__all__ = ["FORMAT", "SCHEMA", "ReportContent", "report_content"]

MAX_FROZEN = 0.001  # of the voxels; more is said
LIMITATIONS = (
    "A figure holds for these cases, this radius and these attacks; a stronger attack may do more damage.",
    "Eps is a bound on the size of a perturbation, not on how likely one is to occur.",
    "Intervals cover the choice of {sampled}s, not errors of the reference labels or another scanner.",
)


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
    bounded = [group for group in groups if group.row.is_bounded]
    compared = bounded if any(not group.row.is_clean for group in bounded) else groups
    cases = every_case(compared, of_cases)
    about = spec.about
    limitations = [text.format(sampled=spec.sampled) for text in LIMITATIONS]
    return ReportContent(
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        intended_use=about.get("intended_use") or _metadata(spec).get("intended_use"),
        model=_model(spec, records),
        data=_data(spec, summary, outcomes, strata_of(cases)),
        threat_model=_threat_model(spec),
        attacks=[{"row": row.row.label, **row.parameters} for row in spec.rows if not row.row.is_clean],
        primary=PrimaryContent(primary.metric, primary.higher_is_better, of_cases.metric),
        rows=summary.rows,
        worst_case=worst_cases(compared, of_cases),
        convergence=_convergence(summary.headline),
        critical_radii=summary.critical_radii,
        shifts=summary.shifts,
        certificates=summary.certificates,
        cases=cases,
        differences=differences(groups, of_cases.metric),
        damage=_damage(summary.rows),
        costs=_costs(summary.rows),
        survival=_survival(summary.rows, primary.metric),
        constraint=_constraint(groups),
        extremes=extremes(groups, of_cases),
        flags=list(summary.flags),
        acceptance=about.get("acceptance"),
        criteria=list(summary.criteria),
        asset=about.get("asset"),
        hazard=about.get("hazard"),
        requirement=about.get("requirement"),
        residual_risk=about.get("residual_risk"),
        limitations=[*about.get("limitations", ()), *_of_records(records), *limitations],
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


def _metadata(spec: EvaluationSpec) -> Mapping[str, Any]:
    """What is said of the model attacked: never anything of that of the bundle where it is another."""
    found: Mapping[str, Any] = spec.about.get("model") or spec.about.get("metadata", {})
    return found


def _frozen(records: Sequence[Record]) -> list[str]:
    """How many voxels the valid range lets no attack change, where they are not few."""
    shares = {record.case: record.number(FROZEN) or 0.0 for record in records if record.stage == COMPUTED}
    many = {case: share for case, share in shares.items() if share > MAX_FROZEN}
    if not many:
        return []
    case, most = max(many.items(), key=lambda pair: pair[1])
    return [
        f"In {len(many)} of {len(shares)} cases more than {MAX_FROZEN:.1%} of the voxels lie outside of the valid "
        f"range, where no attack may change them: {most:.2%} at most, in {case}."
    ]


def _of_records(records: Sequence[Record]) -> list[str]:
    """What the records themselves say of the figures' limits."""
    return [*_in_files(records), *_frozen(records), *_voxel_sizes(records)]


def _in_files(records: Sequence[Record]) -> list[str]:
    """What a radius in units of each case's own is in the unit of the files, over cases and channels."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for record in records:
        key, values = record.row, [v for name, v in record.metrics.items() if name.startswith(EPS_FILE)]
        if record.stage == COMPUTED and values:
            found.setdefault((key.eps_input, key.unit, key.norm), []).extend(values)
    return [
        f"Radius {eps:g}{' ' + unit if unit else ''}{'' if norm == 'linf' else f' in {norm}'} is {min(values):.4g} to "
        f"{max(values):.4g} in the unit of the files (median {median(values):.4g} over cases and channels)."
        for (eps, unit, norm), values in sorted(found.items(), key=str)
    ]


def _voxel_sizes(records: Sequence[Record]) -> list[str]:
    """Where distances and volumes of a segmentation stand on a voxel size that is not known, or may be assumed."""
    own = [r for r in records if r.stage == COMPUTED]
    cases = len({r.case for r in own})
    unknown = {r.case for r in own if r.number("invented_voxels") is not None and r.number(SPACING) is None}
    ones = {r.case for r in own if r.number("invented_ml") is not None and set(r.number(SPACING) or ()) == {1.0}}
    found = []
    if unknown:
        found.append(
            f"In {len(unknown)} of {cases} cases voxels have no known size: distances and volumes are in voxels."
        )
    if ones:
        found.append(
            f"In {len(ones)} of {cases} cases voxels measure 1 x 1 x 1 mm, which a file without any size is taken for, "
            "too: distances and milliliters there are right only if this is their size."
        )
    return found


def _convergence(headline: Headline | None) -> list[Convergence]:
    if headline is None:
        return []
    return [
        Convergence(r.eps, r.eps_input, r.norm, r.rounds, r.moved, r.converged, headline.tolerance)
        for r in headline.radii
        if r.rounds
    ]


def _damage(rows: Sequence[SummaryRow]) -> list[RowDamage]:
    return [
        RowDamage(
            row.row.label,
            str(row.stage),
            row.cases,
            row.value(CLEAN_DAMAGE),
            row.value(DAMAGE),
            row.value(ADDED_DAMAGE),
            row.wrong_when_clean,
            row.unchanged,
        )
        for row in rows
        if not row.row.is_clean and row.stage in (COMPUTED, STORED)
    ]


def _model(spec: EvaluationSpec, records: Sequence[Record]) -> Model:
    metadata = _metadata(spec)
    return Model(
        name=metadata.get("name") or spec.network,
        version=metadata.get("version"),
        network=spec.network,
        task=metadata.get("task"),
        weights_sha256=_origin(records, "weights_sha256"),
        config_sha256=_origin(records, "config_sha256"),
    )


def _data(spec: EvaluationSpec, summary: Summary, outcomes: Sequence[Outcome], strata: list[Stratum]) -> Data:
    last = {outcome.case: outcome for outcome in outcomes}
    return Data(
        cases=summary.cases,
        evaluated=summary.evaluated,
        patients=len({outcome.patient for outcome in last.values()}),
        excluded=[{"case": f.case, "kind": f.kind, "reason": f.reason} for f in summary.failures],
        inputs=[{"case": case, "sha256": _origin([outcome], "input_sha256")} for case, outcome in last.items()],
        strata=strata,
        sampled=spec.sampled,
        about=spec.about.get("data"),
    )


def _threat_model(spec: EvaluationSpec) -> ThreatModelContent:
    attacks = [row for row in spec.rows if not row.row.is_clean]
    radii = {(row.row.eps, row.row.eps_input, row.row.norm) for row in attacks if not row.row.is_shift}
    targeted = any(row.targeted for row in attacks)
    return ThreatModelContent(
        goal=f"integrity violation, {'targeted' if targeted else 'untargeted'}",
        gradient_through=spec.gradient_through,
        **({"knowledge": spec.about["knowledge"]} if spec.about.get("knowledge") else {}),
        rows_by_knowledge={
            knowledge: [row.row.label for row in attacks if row.row.knowledge == knowledge]
            for knowledge in dict.fromkeys(row.row.knowledge for row in attacks if row.row.knowledge)
        },
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
        RowCosts(
            r.row,
            r.value("gradients"),
            r.value("seconds"),
            most.get((r.row.eps, r.row.setting_label)),
            r.value("queries"),
        )
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
