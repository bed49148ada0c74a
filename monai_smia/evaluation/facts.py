"""The plain facts of an evaluation, for its report: what was planned, on what it runs, by which command."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch

from monai_smia.attacks import Attack
from monai_smia.attacks.composite.base import CompositeAttack
from monai_smia.attacks.iterative import IterativeAttack
from monai_smia.evaluation.duplicates import duplicates_told
from monai_smia.evaluation.pipeline import UNSUPERVISED
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.evaluation.recipe import recipe_of, without_folders
from monai_smia.metrics import CaseMetrics
from monai_smia.nearest import nearest
from monai_smia.records import EvaluationSpec, PlannedRow, Primary
from monai_smia.victims.base import Victim

ABOUT = (  # what a report has a place for
    *("acceptance", "asset", "data", "hazard", "intended_use", "limitations", "metadata", "model"),
    *("knowledge", "requirement", "residual_risk"),
)
PARAMETERS = ("steps", "step_size", "alpha", "random_start", "restarts", "targeted", "stop_at", "keep", "seed")


def spec_of(
    victim: Victim,
    attacks: Sequence[PlannedAttack],
    metrics: CaseMetrics,
    *,
    unit: str,
    device: torch.device,
    about: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]] = (),
) -> EvaluationSpec:
    """The facts.

    Args:
        victim: what is attacked.
        attacks: the plan.
        metrics: of the task.
        unit: of the images.
        device: of the network.
        about: ``metadata`` is the path of a bundle's metadata.json, which is read.
        cases: items; ``patient`` says whose a case is, ``synthetic`` that it is of no patient.
    """
    metadata = about.get("metadata")
    read = {"metadata": json.loads(Path(metadata).read_text(encoding="utf-8"))} if metadata else {}
    parts = (victim.preprocessing, victim.inferer, victim.network)
    return EvaluationSpec(
        network=type(victim.network).__name__,
        gradient_through=[type(part).__name__ for part in parts if part is not None],
        unit=unit,
        device=str(device),
        primary=Primary.of(metrics),
        rows=[_planned_row(row, unit) for row in attacks],
        about=_about_data(cases) | {name: value for name, value in about.items() if name != "metadata"} | read,
        command=shlex.join(["python", *map(without_folders, sys.orig_argv[1:])]),
        again=recipe_of(sys.argv),
        commit=source_commit(),
        processes=idist.get_world_size(),
        threads=torch.get_num_threads(),
        sampled="patient" if cases and all(item.get("patient") for item in cases) else "case",
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )


def about_of(evaluation: Any) -> dict[str, Any]:
    """What a report says of an evaluation, and of cases without labels that it has none."""
    about = dict(evaluation.about or {})
    if evaluation.pipeline is None and not any("label" in item for item in evaluation.cases):
        for item in evaluation.cases:  # the first that can be read: a label may be made by loading
            with suppress(Exception):
                if evaluation.load(item).label is None:
                    about["limitations"] = [UNSUPERVISED, *about.get("limitations", ())]
                break
    if told := duplicates_told(evaluation.cases, evaluation.training):
        about["limitations"] = [*told, *about.get("limitations", ())]
    return about


def checked_about(about: Mapping[str, Any] | None) -> dict[str, Any]:
    """What its reader alone knows, for the report.

    Raises:
        ValueError: if the report has no place for it, and it would be lost.

    Example:
        >>> checked_about({"hazzard": "H-12"})
        Traceback (most recent call last):
        ValueError: about must hold acceptance, asset, ..., residual_risk, got 'hazzard'; did you mean hazard?
    """
    for name in about or {}:
        if name not in ABOUT:
            raise ValueError(f"about must hold {', '.join(ABOUT)}, got {name!r}{nearest(name, ABOUT)}")
    return dict(about or {})


def _about_data(cases: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the items say of the cases."""
    made = sum(bool(item.get("synthetic")) for item in cases)
    if not made:
        return {}
    some = "All" if made == len(cases) else f"{made} of {len(cases)}"
    return {"data": f"{some} cases are synthetic: these figures show that the evaluation runs, not how a model does."}


@cache  # what changes later is not what was imported
def source_commit() -> str | None:
    """The commit that this package was run from, ``-dirty`` where files have changed since; None if there is no git."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        tracked = subprocess.run(
            ["git", "-C", str(here), "ls-files", "--error-unmatch", __file__], capture_output=True, check=False
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return None
    return done.stdout.strip() if tracked.returncode == done.returncode == 0 else None


def _planned_row(row: PlannedAttack, unit: str) -> PlannedRow:
    """A row with what its attack is run with; None where it has no such argument."""
    key, attack = row.key(unit), row.attack
    if attack is None:
        return PlannedRow(key)
    step = getattr(attack, "step_size", None)
    if step is None and isinstance(attack, IterativeAttack) and attack.eps is not None:
        step = attack.default_step_size(attack.eps)
    named = {name: getattr(attack, name, None) for name in PARAMETERS}
    own = {"loss": row.loss, "norm": attack.norm, "eps_input": attack.eps, "precision": _precision(attack)}
    return PlannedRow(key, attack.targeted, {**own, **named, "step_size": step})


def _precision(attack: Attack) -> str | None:
    """In which lower precision the network answers an attack, or some of its parts; None in that of the image."""
    if attack.low_precision is not None or not isinstance(attack, CompositeAttack):
        return attack.low_precision
    found = [precision for part in attack.parts if (precision := _precision(part)) is not None]
    return f"{min(found).partition(' ')[0]} in part" if found else None
