"""Where the overlay config lies, and what a bundle must bring along for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_smia.adapters import OVERLAY
from monai_smia.adapters.monai_bundle.pipeline import BundlePipeline
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.errors import is_ours, told_by
from monai_smia.evaluation.row import LEAST_AGREEMENT

NEEDS = {
    "evaluator": (
        "a SupervisedEvaluator (or one with network, inferer and data loader); where it has another id, as in a "
        'bundle\'s train.json with evaluate.json, add --attack#evaluator "@validate#evaluator"'
    ),
    "postprocessing": (
        "what the evaluator does with a prediction, which tells softmax from sigmoid; where it has another id, add "
        '--attack#postprocessing "@validate#postprocessing", and where there is none, --attack#postprocessing [] '
        "--attack#activation softmax (or sigmoid)"
    ),
    "output_dir": "where to write; add --output_dir FOLDER",
}


def overlay_path() -> Path:
    """The config to put behind a bundle's own.

    Example:
        >>> overlay_path().name
        'attack_eval.yaml'
    """
    return OVERLAY


def check_bundle(config_files: Sequence[str], overrides: Mapping[str, Any] | None = None) -> list[str]:
    """What would stop an attack on a bundle: what its configs lack, or what its pipeline says of its first cases.

    The evaluation is built as a run builds it, and goes through one case without an attack; nothing is written.

    Args:
        config_files: as they are given to ``monai.bundle run --config_file``, without the overlay.
        overrides: as on the command line of the run, such as ``{"attack#space": "network"}``; without a
            ``bundle_root`` it is the folder above that of the first config.

    Returns:
        One line for each thing that would stop it; empty if there is nothing to do.
    """
    overrides = dict(overrides or {})
    missing = check_configs(config_files, given=[name.removeprefix("attack#") for name in overrides])
    if missing:
        return missing
    try:
        return _go_through(_built(config_files, overrides))
    except (Exception, SystemExit) as error:  # whatever stops the run stops the check, and is what it is to say
        return [_said(error)]


def _said(error: BaseException) -> str:
    """What stops a bundle, in a sentence: in this package's words, or that it is the bundle's own."""
    told = told_by(error)
    if is_ours(told) or isinstance(error, SystemExit):
        return str(told)
    text = " ".join(str(told).split())
    if isinstance(told, ImportError) and (absent := re.search(r"No module named '([\w.]+)'", text)):
        return f"the bundle needs the package {absent[1]}, which is not installed here."
    return f"the bundle does not run here by itself: {type(told).__name__}: {text or 'no more is known'}"


def _built(config_files: Sequence[str], overrides: Mapping[str, Any]) -> AttackEvaluation:
    parser = ConfigParser()
    parser.read_config([*config_files, str(OVERLAY)])
    root = Path(config_files[0]).resolve().parent.parent
    if (metadata := Path(config_files[0]).resolve().with_name("metadata.json")).is_file():
        parser.read_meta(str(metadata))  # as a run does
    for name, value in {"bundle_root": str(root), "attack#progress": False, **overrides}.items():
        if name != "bundle_root" or "bundle_root" in parser or name in overrides:
            parser[name] = value
    parser.parse()
    if "initialize" in parser:
        parser.get_parsed_content("initialize")
    evaluation: AttackEvaluation = parser.get_parsed_content("attack")
    return evaluation


def _go_through(evaluation: AttackEvaluation) -> list[str]:
    """One case through pipeline and twin."""
    pipeline = evaluation.pipeline
    assert isinstance(pipeline, BundlePipeline)
    errors: list[str] = []
    for item in evaluation.cases:
        try:
            case = pipeline.prepare(evaluation.load(item))
            pipeline.score(case, case.image, evaluation.metrics)
        except Exception as error:  # a faulty case is left out of a run, and one that is not says what there is to say
            errors.append(f"{item['case']}: {told_by(error)}")
            continue
        share = pipeline.agreement(case)
        return [pipeline.difference(case, share)] if share is not None and share < LEAST_AGREEMENT else []
    return errors


def check_configs(config_files: Sequence[str], *, given: Sequence[str] = ()) -> list[str]:
    """The ids that the overlay needs and does not find in a bundle's configs.

    Args:
        config_files: as they are given to ``monai.bundle run --config_file``, without the overlay.
        given: ids that the command line supplies.

    Returns:
        One line for each id that is missing, with the way to supply it; empty if there is nothing to do.
    """
    parser = ConfigParser()
    parser.read_config(list(config_files))
    config: Any = parser.config
    missing = []
    for name, how in NEEDS.items():
        if name not in parser and name not in given:
            nested = [f"{key}#{name}" for key, part in config.items() if isinstance(part, dict) and name in part]
            hint = f" (there is {', '.join(nested)})" if nested else ""
            missing.append(f"{name} is missing{hint}: {how}.")
    return missing
