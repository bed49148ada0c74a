"""An evaluation as its evidence says that it was run, built once more from what lies on this machine."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_smia.adapters import OVERLAY
from monai_smia.adapters.shipped import shipped_bundles
from monai_smia.command_line import check_arguments
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.recipe import BUNDLE, CONFIGS, PACKAGE
from monai_smia.evidence.errors import NotAgainError, check_outside
from monai_smia.evidence.typed import typed_evaluation
from monai_smia.overrides import config_files
from monai_smia.records.manifest import hash_of

CODE = re.compile(r"\$|_target_|^%")  # what MONAI runs, or reads from another file
TARGETS = ("AttackEvaluation", "bundle_evaluation")


def evaluation_of(
    recipe: Mapping[str, Any],
    output_dir: Path,
    given: Mapping[str, Any],
    *,
    trusted: bool = False,
    evidence: str | os.PathLike[str] | None = None,
) -> AttackEvaluation:
    """The evaluation of a recorded command, which is to write into another folder.

    Configs are taken from this machine, never from the evidence, and only where their hash is the recorded one;
    overrides from the evidence, where they are plain values, since MONAI runs what stands in an override as code.

    Args:
        recipe: as `monai_smia.evaluation.recipe.recipe_of` records it.
        output_dir: where to write.
        given: overrides in the place of the recorded ones, such as ``config_file``, ``bundle_root`` and
            ``dataset_dir`` of this machine.
        trusted: run recorded overrides though they hold code.
        evidence: folder of the evidence, of which nothing is run.

    Raises:
        NotAgainError: with what has to be given.
    """
    if recipe.get("program") == PACKAGE:
        return typed_evaluation(recipe["words"], output_dir, given, trusted=trusted, evidence=evidence)
    if recipe.get("program") != BUNDLE:
        raise NotAgainError(
            "the evidence does not say a command that can be run again, as of a run from Python: there, "
            "monai_smia.evidence.verify(evidence, evaluation=...) takes the evaluation itself."
        )
    recorded = {name: str(value) for name, value in recipe["overrides"].items() if name not in given}
    coded = [name for name, value in recorded.items() if CODE.search(value) or CODE.search(name)]
    if coded and not trusted:
        raise NotAgainError(
            f"the recorded overrides {', '.join(coded)} hold code, which would be run here: read them in spec.json, "
            "and give them behind the command, or --trusted."
        )
    for name, value in [*recorded.items(), *(("config_file", file) for file in recipe["configs"])]:
        if not is_output(name) and name not in given:
            check_outside(name, value, evidence)
    configs, root = _configs(recipe["configs"], given)
    _check_known(given, configs)
    if root is not None and not Path(recorded.get("bundle_root", "."), "configs").is_dir():
        recorded["bundle_root"] = str(root)
    lost = [name for name in recipe["shortened"] if name in recorded and not is_output(name)]
    if lost := [name for name in lost if not Path(recorded[name]).exists()]:
        raise NotAgainError(f"where it lies here is not recorded: give {' '.join(f'--{name} ...' for name in lost)}.")
    overrides: dict[str, Any] = {name: _parsed(value) for name, value in recorded.items() if not is_output(name)}
    overrides |= {name: _parsed(value) for name, value in given.items() if name != CONFIGS}
    return _built(configs, overrides | {"output_dir": str(output_dir)}, output_dir)


def _check_known(given: Mapping[str, Any], configs: Sequence[str]) -> None:
    """Refuse what the configs do not know, such as an option of the check itself that was misspelt."""
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    try:
        check_arguments(["monai/bundle/__main__.py", "run", "--config_file", str(list(configs)), *words])
    except SystemExit as error:
        raise NotAgainError(str(error)) from error


def is_output(name: str) -> bool:
    """Whether an override says where to write."""
    return re.split("#|::", name)[-1] == "output_dir"


def _configs(recorded: Mapping[str, str], given: Mapping[str, Any]) -> tuple[list[str], Path | None]:
    """Config files of this machine with the recorded hashes, and the root of the shipped bundle that they are of."""
    if not recorded:
        raise NotAgainError("the evidence names no config file.")
    own = config_files(str(given.get(CONFIGS, "")))
    shipped = {hash_of(path): path for folder in _shipped() for path in folder.glob("configs/*.*")}
    shipped[hash_of(OVERLAY)] = Path(OVERLAY)
    known = {hash_of(path): Path(path) for path in [*own, *(name for name in recorded if Path(name).is_file())]}
    found, root = [], None
    for name, digest in recorded.items():
        path = known.get(digest) or shipped.get(digest)
        if path is None:
            raise NotAgainError(
                f"the config {name} of SHA-256 {digest[:12]} is not here, and no bundle of the package has it: give "
                "--config_file, and what else is needed (--bundle_root, --dataset_dir)."
            )
        found.append(str(path))
        if digest not in known and path != Path(OVERLAY):
            root = path.parents[1]
    return found, root


def _shipped() -> list[Path]:
    try:
        return list(shipped_bundles().values())
    except FileNotFoundError:
        return []


def _built(configs: Sequence[str], overrides: Mapping[str, Any], output_dir: Path) -> AttackEvaluation:
    """What the configs call the evaluation, after what they run before it."""
    from monai.bundle import ConfigWorkflow

    meta = {"meta_file": overrides["meta_file"]} if "meta_file" in overrides else {}
    rest = {name: value for name, value in overrides.items() if name not in ("meta_file", "args_file", "init_id")}
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
    workflow = ConfigWorkflow(config_file=list(configs), logging_file=False, workflow_type="inference", **meta, **rest)
    workflow.initialize()
    names = [name for name, target in _targets(workflow.parser.get()) if target.rpartition(".")[2] in TARGETS]
    if len(names) != 1:
        raise NotAgainError(f"the configs must hold one evaluation, got {names or 'none'}.")
    if names[0] + "#output_dir" in overrides:
        raise NotAgainError("output_dir must not be given.")
    evaluation = workflow.parser.get_parsed_content(names[0])
    assert isinstance(evaluation, AttackEvaluation)
    if not Path(evaluation.output_dir).resolve().is_relative_to(output_dir.resolve()):
        raise NotAgainError("the configs write elsewhere than into output_dir: give the evaluation from Python.")
    return evaluation


def _targets(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and isinstance(value.get("_target_"), str):
            yield name, value["_target_"]


def _parsed(value: Any) -> Any:
    """A word of a command line, as ``monai.bundle`` takes it."""
    from fire.parser import DefaultParseValue

    return DefaultParseValue(value) if isinstance(value, str) else value
