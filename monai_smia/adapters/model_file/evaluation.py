"""The evaluation under attack of a network in a file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from monai_smia.adapters.case_files import CLASSES, NUMBERS, FileLoading, find_cases
from monai_smia.adapters.given import OWN_STATISTICS, check_limit, default_radius, range_of
from monai_smia.adapters.model_file.reading import ONNX, load_network
from monai_smia.adapters.model_file.steps import inferer_of, preprocessing_of
from monai_smia.adapters.model_file.trial import first_that_loads, one_window, rule_of_file
from monai_smia.adapters.model_file.victims import VICTIMS
from monai_smia.adapters.monai_bundle.arguments import check_choice, check_left_out
from monai_smia.adapters.monai_bundle.decisions import DecisionRule
from monai_smia.adapters.monai_bundle.numbers import REGRESSION, NumberRule, number_rule
from monai_smia.adapters.ruled import metrics_of
from monai_smia.attacks import Attack
from monai_smia.degradations import Degradation
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.chosen import chosen_plan
from monai_smia.evaluation.console import console
from monai_smia.evaluation.pipeline import UNSUPERVISED
from monai_smia.evaluation.plan import radii_of
from monai_smia.evaluation.volumes import WORST
from monai_smia.records.summary import TOLERANCE
from monai_smia.report.figures import photograph_figure, segmentation_figure
from monai_smia.storage import FormatStorage
from monai_smia.victims.base import Victim

LOGGER = logging.getLogger(__name__)
TASKS = ("segmentation", "classification", REGRESSION)
TABLES = {"classification": CLASSES, REGRESSION: NUMBERS}  # what a CSV of labels holds
BLACK_BOX = "blackbox"
KNOWLEDGE = "black box: query access alone (NIST AI 100-2), score-based: the network's scores, no weights, no gradient"
LOWER = "An attacker who has the network's gradient, or a copy of the network, may do more damage."


def model_evaluation(
    model: str | Path,
    *,
    task: str,
    images: str | Path | Sequence[str | Path],
    labels: str | Path | None = None,
    roi: Sequence[int] | None = None,
    overlap: float = 0.25,
    blend: str = "constant",
    logits: str = "float32",
    orientation: str | None = None,
    spacing: Sequence[float] | None = None,
    window: Sequence[float] | None = None,
    preprocessing: str | Path | None = None,
    activation: str | None = None,
    returns: str | None = None,
    output: str | int | None = None,
    class_names: Sequence[str] | None = None,
    within: float | None = None,
    point_axis: int | None = None,
    width_first: bool = False,
    trusted: bool = False,
    device: str = "cpu",
    output_dir: str | Path = "model_attack_eval",
    eps: float | str | Sequence[float | str] | None = None,
    preset: str | None = None,
    gradients: int | None = None,
    steps: int = 10,
    alpha: float = 1.0,
    only: Sequence[str] | None = None,
    extra: Sequence[Callable[..., Attack]] | None = None,
    volumes: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    clip: Sequence[float] | None = None,
    unit: str | None = None,
    straight_through: bool = False,
    survival: dict[str, Degradation] | None = None,
    identified: bool = False,
    limit: int | None = None,
    accept: str | Sequence[str] | None = None,
    write_volumes: str | bool = WORST,
    resume: bool = True,
    retry_failed: bool = False,
    figures: bool = True,
    progress: bool = True,
) -> AttackEvaluation:
    """The evaluation under attack of a network in a file: TorchScript, a program of torch.export, or ONNX.

    The file holds the network alone; what lies before it (orientation, voxel size, intensity window, sliding window) is
    given here and is part of what is attacked, on the grid of the files. An ONNX network has no gradient: it is
    attacked by its scores and decisions, and the page says black box.

    Args:
        model: the file, see `load_network`.
        task: ``"segmentation"``, ``"classification"`` or ``"regression"``, of numbers such as landmarks.
        images: NIfTI files, 8-bit pictures, or folders of those or of DICOM series.
        labels: of a segmentation a folder of label maps ``CASE.nii.gz`` (``CASE.png``), of a classification a table
            (CSV: image, label), of a regression one whose labels are numbers, several with blanks between in the order
            of the network's output, ``nan`` where one is not known; None where there are none: the decision on the
            clean image is the reference.
        roi, overlap, blend: the sliding window, see `inferer_of`; without `roi` the network is given whole images.
        logits: of a segmentation's window, ``"float16"`` or ``"bfloat16"`` to hold the prediction in half the memory,
            see `LogitsVictim.with_logits`; figures are of what it decides then.
        orientation, spacing, window: preprocessing, see `preprocessing_of`.
        preprocessing: a MONAI config file in their place.
        activation: ``"softmax"`` or ``"sigmoid"``; None for softmax where there are several channels.
        returns: ``"logits"`` or ``"probabilities"``; None to tell it from what the network returns.
        output: which of several outputs counts, a number or a key.
        class_names: of the network's channels, the background's included.
        within, point_axis: of a regression, see `NumberRule`.
        width_first: pictures are given to the network as MONAI's loader gives them, width before height.
        trusted: open a program of torch.export though it holds pickled objects, which run what they hold.
        device: of the network.
        output_dir: where to write.
        eps: radius in the unit of the images, or several; None for 3 % of the window, or of the first image's range.
        preset, gradients, steps, alpha, only, extra, volumes, seed: as for `chosen_plan`; the preset is ``"quick"``,
            and of an ONNX network ``"blackbox"``, where `gradients` are queries.
        tolerance: gradients are doubled while the headline moves by this much.
        clip: valid range of the images; None for that of every file's type or series.
        unit: of the images, for tables; None for grey levels of pictures, and image units of all else.
        straight_through: let the gradient through where the intensity window clips.
        survival: degradations by name, as for `AttackEvaluation`.
        identified: store DICOM series though their sources do not say that they are de-identified.
        limit: number of cases, the first ones.
        accept, write_volumes, resume, retry_failed: as for `AttackEvaluation`.
        figures: draw cases.
        progress: show progress.

    Returns:
        The evaluation, to be run; the network was asked about one window of the first image.

    Raises:
        ValueError: if something is missing or does not fit; it is named, before anything is computed.
    """
    check_choice("task", task, TASKS)
    check_limit(limit)
    radii = None if eps is None else radii_of(eps)
    valid = range_of(clip)
    chain = preprocessing_of(orientation=orientation, spacing=spacing, window=window, config=preprocessing)
    inferer = inferer_of(roi, overlap=overlap, blend=blend) if task == "segmentation" else None
    if task != "segmentation" and roi is not None:
        raise ValueError(f"roi must be left out of a {task}, which is of whole images.")
    numbers: dict[str, Any] = {"within": within, "point_axis": point_axis}
    others = {"activation": activation, "returns": returns, "class_names": class_names}
    check_left_out(task, others if task == REGRESSION else numbers)
    cases = find_cases(images, labels, limit=limit, pictures=True, table=TABLES.get(task))
    network, kind = load_network(model, device=device, output=output, trusted=trusted)
    preset = preset or (BLACK_BOX if kind == ONNX else "quick")
    if kind == ONNX and preset != BLACK_BOX:
        raise ValueError(f"preset must be {BLACK_BOX!r} for an ONNX network, which has no gradient, got {preset!r}.")

    name = Path(model).name
    loading = FileLoading(valid, several=True, width_first=width_first)
    case, image = first_that_loads(cases, loading)
    shared: dict[str, Any] = {"inferer": inferer, "preprocessing": chain, "straight_through": straight_through}
    shared |= {"allow_empty": True} if task == "segmentation" else {}
    rule: DecisionRule | NumberRule
    if task == REGRESSION:
        check_choice("logits", logits, ("float32",))
        victim = VICTIMS[task, kind != ONNX](network, **numbers, **shared)
        rule = number_rule(one_window(victim, image, torch.device(device), name)[1], **numbers)
        loading.shape = rule.shape[1:]
    else:
        kept = VICTIMS[task, kind != ONNX](network, rule=DecisionRule("softmax", 1), **shared)  # it is not known yet
        seen, raw = one_window(kept, image, torch.device(device), name)
        rule = rule_of_file(task, seen, raw, activation=activation, returns=returns, name=name)
        victim = replace(kept, rule=rule, activation=rule.activation).with_logits(logits)
    if chain is not None and kind != ONNX:
        _check_gradient(victim, image, device)

    per_unit = _scale(victim)
    width = abs(float(window[1]) - float(window[0])) if window is not None else _width(image)
    radii = [default_radius(width)] if radii is None else radii
    plan = chosen_plan(
        preset,
        task,
        [radius * (per_unit or 1.0) for radius in radii],
        steps=steps,
        alpha=alpha,
        seed=seed,
        unit_scale=per_unit or 1.0,
        clip=valid,
        gradients=gradients,
        volumes=volumes,
        extra=extra,
        only=only,
    )
    if kind == ONNX and (wanting := sorted({row.name for row in plan if row.attack and row.attack.planned_gradients})):
        raise ValueError(f"an ONNX network has no gradient, which these attacks need: {', '.join(wanting)}.")
    limitations = _limitations(name, kind, rule, per_unit=per_unit, logits=logits)
    with console(progress):
        for line in [*limitations, *[UNSUPERVISED] * (labels is None)]:  # the latter is added to the page's own
            LOGGER.info(line)
        if eps is None:
            LOGGER.info("No radius given: %g is 3 %% of %s.", radii[0], "the window" if window else f"{case}'s range")
    picture = image.ndim == 3
    figure = photograph_figure if picture and len(image) == 3 else None
    about: dict[str, Any] = {"model": {"name": f"{name} ({kind})"}, "limitations": limitations}
    return AttackEvaluation(
        cases=cases,
        loading=loading,
        victim=victim,
        attacks=plan,
        metrics=metrics_of(task, rule, class_names),
        output_dir=output_dir,
        storage=FormatStorage(Path(output_dir) / "volumes", identified=identified, width_first=width_first),
        figure=(segmentation_figure if task == "segmentation" else figure) if figures else None,
        num_probed_cases=0 if kind == ONNX else 3,
        device=torch.device(device),
        unit=unit if unit is not None else "grey levels" if picture else "image units",
        data_range=width,
        survival=survival,
        tolerance=tolerance,
        about={**about, "knowledge": KNOWLEDGE} if kind == ONNX else about,
        accept=accept,
        write_volumes=write_volumes,
        resume=resume,
        retry_failed=retry_failed,
        progress=progress,
    )


def _check_gradient(victim: Victim, image: Any, device: str) -> None:
    """Raise where a transform lets no gradient through; it is named."""
    bound = victim._bound_to(image.to(device)[None].float())
    bound.check_differentiable()


def _scale(victim: Victim) -> float | None:
    """Network units per unit of the files; None where every image has its own."""
    try:
        return victim.intensity_scale()
    except ValueError:
        return None


def _width(image: Any) -> float:
    return float(image.max() - image.min()) or 1.0


def _limitations(
    name: str, kind: str, rule: DecisionRule | NumberRule, *, per_unit: float | None, logits: str
) -> list[str]:
    """What the page says of the evaluation."""
    probable = (
        f"{name} returns probabilities (a {rule.kind} is part of it): losses are taken on their logarithms, and where "
        "it is certain to the last digit a gradient is 0."
    )
    said = {
        LOWER: kind == ONNX,
        OWN_STATISTICS: per_unit is None,
        probable: rule.probabilities,
        f"Logits are stitched in {logits}, and figures are of what they decide then.": logits != "float32",
    }
    numbers = [rule.told] if isinstance(rule, NumberRule) else []
    return numbers + [text for text, holds in said.items() if holds]
