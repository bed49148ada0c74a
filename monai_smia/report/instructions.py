"""Text for the instructions for use, drafted from the records: what was tested, in which domain, and what was not."""

from __future__ import annotations

from collections.abc import Sequence

from monai_smia.records import Outcome, Record
from monai_smia.report.document import ReportContent
from monai_smia.report.verdicts import verdict_text
from monai_smia.units import in_unit

FILE = "instructions_for_use.md"
NORMS = {
    "linf": "every voxel by at most {radius}",
    "l2": "all voxels together by at most {radius} (L2 norm)",
}
NAMES = {"linf": "L-inf", "l2": "L2"}
UNITLESS = "in the unit of the images"
MOST = 8  # values of a stratum that are named
NEVER = (
    "Data poisoning and backdoors, extraction of the model or of its training data, the security of files and network, "
    "and what a wrong decision does to a patient: this evaluation tests evasion alone.",
    "Perturbations that are not bounded by a radius, such as patches, drawn or printed objects and generated images.",
)


def instructions_text(content: ReportContent, outcomes: Sequence[Outcome], unit: str, headline: str) -> str:
    """The draft, as Markdown; every sentence follows from the records or says that they do not tell.

    Args:
        content: of the report.
        outcomes: all of them.
        unit: of the images.
        headline: of the page, in sentences.
    """
    parts = [
        ("What was tested", _tested(content)),
        ("In which domain", _domain(content, outcomes, unit)),
        ("What was found", _found(content, headline)),
        ("What was not tested", _not_tested(content, unit)),
    ]
    head = [
        "# Robustness against adversarial images: text for the instructions for use",
        f"Draft made of the records of an evaluation of {content.made[:10]}, to be checked and completed by who "
        "answers for the product. It says what was tested; whether that is enough is not for it to say.",
    ]
    body = [f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) for title, lines in parts if lines]
    return "\n\n".join([*head, *body]) + "\n"


def _tested(content: ReportContent) -> list[str]:
    model, data = content.model, content.data
    name = " ".join(part for part in (model.name, model.version) if part)
    hashed = (
        f" ({model.network}, weights {model.weights_sha256[:12]})" if model.weights_sha256 else f" ({model.network})"
    )
    patients = f" of {_count(data.patients, 'patient')}" if data.sampled == "patient" else ""
    excluded = f"; {_count(len(data.excluded), 'more case')} could not be evaluated" if data.excluded else ""
    lines = [
        f"The model {name}{hashed}, attacked through {', '.join(content.threat_model.gradient_through)}.",
        f"Its intended use: {content.intended_use or 'the records do not state it'}.".replace("..", "."),
        f"{_count(data.evaluated, 'case')}{patients}{excluded}. {data.about or ''}".strip(),
    ]
    for knowledge, rows in content.threat_model.rows_by_knowledge.items():
        names = list(dict.fromkeys(row.partition(",")[0].partition(" ")[0] for row in rows))
        who = "As a control, without knowledge of the model" if knowledge == "none" else f"Attacks, {knowledge}"
        lines.append(f"{who}: {', '.join(names)}.")
    return lines


def _domain(content: ReportContent, outcomes: Sequence[Outcome], unit: str) -> list[str]:
    lines = []
    for norm, how in NORMS.items():
        radii = sorted({r["eps_input"] for r in content.threat_model.radii if r["norm"] == norm and r["eps_input"]})
        if radii:
            told = ", ".join(f"{radius:g}" for radius in radii)
            lines.append(f"Images changed on purpose, {how.format(radius=in_unit(told, unit or UNITLESS))}.")
    if content.shifts:
        named = ", ".join(f"{gap.shift} (severity {gap.severity})" for gap in content.shifts)
        lines.append(f"Acquisition shifts, on average and at their worst: {named}.")
    degraded = list(dict.fromkeys(name for row in content.survival for name in row.after))
    if any(row.stored is not None for row in content.survival):
        lines.append("Images as computed, and as they were after they had been stored in a file and read back.")
    if degraded:
        lines.append(f"Images that were degraded afterwards: {', '.join(degraded)}.")
    strata: dict[str, set[str]] = {}
    for outcome in outcomes:
        for name, value in outcome.strata.items() if isinstance(outcome, Record) else ():
            strata.setdefault(name, set()).add(value)
    for name, values in strata.items():
        told = ", ".join(sorted(values)[:MOST])
        more = f" and {len(values) - MOST} more" if len(values) > MOST else ""
        lines.append(f"{name[:1].upper()}{name[1:]} of the cases: {told}{more}.")
    return lines


def _found(content: ReportContent, headline: str) -> list[str]:
    verdicts = [f"Criterion {verdict_text(verdict, content.flags)}" for verdict in content.criteria]
    return [headline, *verdicts] if headline else verdicts


def _not_tested(content: ReportContent, unit: str) -> list[str]:
    rows = content.threat_model.rows_by_knowledge
    largest = {
        norm: max(
            (r["eps_input"] for r in content.threat_model.radii if r["norm"] == norm and r["eps_input"]), default=0
        )
        for norm in NORMS
    }
    lines = [
        f"Changes of more than {in_unit(size, unit or UNITLESS)} ({NAMES[norm]})."
        for norm, size in largest.items()
        if size
    ]
    lines += [f"Changes that are bounded in {NAMES[norm]}." for norm, size in largest.items() if not size]
    if "transfer" not in rows:
        lines.append("Attacks that were computed on another model (transfer).")
    if "black box" not in rows:
        lines.append("Attackers who see the model's answers alone (black box).")
    if "white box" not in rows:
        lines.append("Attackers who know the model (white box), who may do more damage.")
    if not content.shifts:
        lines.append("How an image is acquired (motion, dose, calibration, ...): no acquisition shift was run.")
    if not any(row.stored is not None for row in content.survival):
        lines.append("Storage of the images in files.")
    if not any(row.after for row in content.survival):
        lines.append("Degradations on the way to the model, such as compression, resampling or smoothing.")
    lines.append("Images of other scanners, protocols, populations or sites than those of the cases above.")
    return [*lines, *NEVER, *content.limitations]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
