"""The evaluation under attack of a trained nnU-Net."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose

from monai_smia.adapters.given import OWN_STATISTICS, check_limit, default_radius, range_of
from monai_smia.adapters.monai_bundle.units import IMAGE, NAMES, RANGE, STD, WORDS, OwnUnits, check_survival, told_units
from monai_smia.adapters.nnunet.cases import find_cases
from monai_smia.adapters.nnunet.loading import ATTACK, KEEP, NNUNetLoading, NNUNetReading
from monai_smia.adapters.nnunet.normalization import CT
from monai_smia.adapters.nnunet.pipeline import NNUNetPipeline
from monai_smia.adapters.nnunet.storing import NNUNetStorage
from monai_smia.adapters.nnunet.victim import NNUNetVictim
from monai_smia.attacks import Attack
from monai_smia.degradations import Degradation
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.chosen import chosen_plan
from monai_smia.evaluation.console import console
from monai_smia.evaluation.pipeline import UNSUPERVISED
from monai_smia.evaluation.plan import radii_of
from monai_smia.evaluation.volumes import WORST
from monai_smia.metrics import SegmentationMetrics
from monai_smia.records.summary import TOLERANCE
from monai_smia.report.figures import segmentation_figure

LOGGER = logging.getLogger(__name__)
KEPT = (
    "Voxels around the body that are 0 in every channel, by which nnU-Net crops and masks, were left as they are "
    "(--background attack attacks them, too)."
)


def nnunet_evaluation(
    model_folder: str | Path,
    *,
    images: str | Path | Sequence[str | Path],
    labels: str | Path | None = None,
    output_dir: str | Path = "nnunet_attack_eval",
    eps: float | str | Sequence[float | str] | None = None,
    eps_unit: str = IMAGE,
    preset: str = "quick",
    gradients: int | None = None,
    steps: int = 10,
    alpha: float = 1.0,
    only: Sequence[str] | None = None,
    extra: Sequence[Callable[..., Attack]] | None = None,
    volumes: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    clip: Sequence[float] | None = None,
    background: str = KEEP,
    unit: str | None = None,
    survival: dict[str, Degradation] | None = None,
    limit: int | None = None,
    accept: str | Sequence[str] | None = None,
    write_volumes: str | bool = WORST,
    resume: bool = True,
    retry_failed: bool = False,
    figures: bool = True,
    progress: bool = True,
    **model: Any,
) -> AttackEvaluation:
    """The evaluation under attack of a trained nnU-Net v2, as it is deployed.

    Every figure is made by nnU-Net's own predictor, untouched: clean and stored images through their files, attacked
    ones behind its reader. Gradients come from a differentiable twin of it (`NNUNetVictim`), which is compared with it
    on every clean case. Without labels the clean decision is the reference.

    Args:
        model_folder: such as ``nnUNetTrainer__nnUNetPlans__3d_fullres``.
        images: folders or files, named ``CASE_0000.nii.gz`` for the first channel, as nnU-Net wants them.
        labels: folder of label maps ``CASE.nii.gz``, or the file of a single case; None where there are none.
        output_dir: where to write.
        eps: radius in the unit of the images (HU, the scanner's values), or several; None for 3 % of the range from the
            .5th to the 99.5th percentile of the foreground, by the fingerprint of the training data.
        eps_unit: ``"image"``, or of each case and channel ``"std"`` or ``"range"``, see `OwnUnits`; with these `eps`
            is to be given.
        preset, gradients, steps, alpha, only, extra, volumes, seed: as for `chosen_plan`.
        tolerance: gradients are doubled while the headline moves by this much.
        clip: valid range of the images; None for that of every file's type.
        background: ``"keep"`` leaves voxels around the body that are 0 in all channels as they are, where nnU-Net goes
            by them; ``"attack"`` attacks them, too.
        unit: of the images, for tables; None for HU where the model normalizes as for CT.
        survival: degradations by name, as for `AttackEvaluation`.
        limit: number of cases, the first ones.
        accept, write_volumes, resume, retry_failed: as for `AttackEvaluation`.
        figures: draw cases.
        progress: show progress.
        **model: `folds`, `checkpoint`, `device`, `mirroring`, `step`, `trusted`, `statistics`, `straight_through`,
            `memory_limit`, as for `NNUNetVictim.from_folder`.

    Returns:
        The evaluation, to be run.

    Raises:
        ValueError: if something is missing or does not fit; it is named, before anything is computed.
    """
    if background not in (KEEP, ATTACK):
        raise ValueError(f"background must be one of {KEEP}, {ATTACK}, got {background!r}.")
    check_limit(limit)
    units = _own_units(eps_unit, eps, survival)
    radii = None if eps is None else radii_of(eps)
    victim = NNUNetVictim.from_folder(model_folder, **model)
    deployed, channels = victim.deployed, victim.preprocessing.channels
    paths = [images] if isinstance(images, (str, Path)) else list(images)
    cases = find_cases(deployed, paths, labels, limit=limit)

    width = min(channel.high - channel.low for channel in channels) or 1.0
    scale = {channel.scale for channel in channels}
    per_unit = scale.pop() if len(scale) == 1 else None
    radii = [default_radius(width)] if radii is None else radii
    if units is not None:
        per_unit, width, unit = 1.0, 1.0, NAMES[eps_unit]
    valid = range_of(clip)
    plan = chosen_plan(
        preset,
        "segmentation",
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
    reading = NNUNetReading(deployed)
    storage = NNUNetStorage(Path(output_dir) / "volumes", reading)
    limitations = (
        [UNSUPERVISED] * (labels is None) + [OWN_STATISTICS] * (per_unit is None) + [KEPT] * (background == KEEP)
    )
    in_units = ""
    if units is not None:
        limitations.append(
            f"Radii are in {WORDS[eps_unit]}; what they are in the unit of the files stands beside them."
        )
        in_units = told_units(eps_unit, radii, units.measured(reading(cases[0]["image"])))
    metrics, unnamed = _metrics(victim)
    with console(progress):
        told = [
            unnamed,
            UNSUPERVISED if labels is None else "",
            storage.why_not([item["image"] for item in cases]) or "",
            f"No radius given: {radii[0]:g} is 3 % of the foreground's range." if eps is None else "",
            in_units,
        ]
        for line in filter(None, told):
            LOGGER.info(line)
    return AttackEvaluation(
        cases=cases,
        loading=NNUNetLoading(reading, victim.preprocessing, background=background, ranged=clip is None, units=units),
        victim=victim,
        attacks=plan,
        metrics=metrics,
        output_dir=output_dir,
        storage=storage,
        figure=segmentation_figure if figures else None,
        device=torch.device(deployed.device),
        unit=unit if unit is not None else "HU" * all(channel.scheme == CT for channel in channels),
        data_range=width,
        survival=survival,
        tolerance=tolerance,
        about={"model": {"name": f"nnU-Net {deployed.plans.dataset_name} {deployed.name}"}, "limitations": limitations},
        accept=accept,
        write_volumes=write_volumes,
        resume=resume,
        retry_failed=retry_failed,
        progress=progress,
        pipeline=NNUNetPipeline(victim, labeled=labels is not None),
    )


def _own_units(kind: str, eps: Any, survival: dict[str, Degradation] | None) -> OwnUnits | None:
    """What images are attacked in; None for the unit of their files."""
    if kind not in (IMAGE, STD, RANGE):
        raise ValueError(f"eps_unit must be one of {IMAGE}, {STD}, {RANGE}, got {kind!r}.")
    if kind == IMAGE:
        return None
    if eps is None:
        raise ValueError(f"eps must be given where eps_unit is {kind}, such as --eps 0.1, got None.")
    units = OwnUnits(kind, Compose([]), "image", option="--eps_unit image")
    check_survival(survival, units)
    return units


def _metrics(victim: NNUNetVictim) -> tuple[SegmentationMetrics, str]:
    """Metrics with the names of the dataset's labels, and why they have none where they do not."""
    labels = victim.deployed.labels
    count = len(labels.names) if labels.exclusive else None
    try:
        return SegmentationMetrics(count, class_names=list(labels.names)), ""
    except ValueError as error:
        numbers = None if labels.exclusive else [str(number) for number in range(len(labels.names))]
        return SegmentationMetrics(count, class_names=numbers), f"Classes go by their numbers: {error}"
