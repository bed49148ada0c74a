"""The evaluation under attack of Auto3DSeg's algorithms."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from monai_smia.adapters.auto3dseg.cases import LABEL, find_items
from monai_smia.adapters.auto3dseg.ensemble import VOTE
from monai_smia.adapters.auto3dseg.labels import Labels
from monai_smia.adapters.auto3dseg.loading import ATTACK, KEEP, Auto3DSegLoading, sources_of, width_of
from monai_smia.adapters.auto3dseg.pipeline import Auto3DSegPipeline
from monai_smia.adapters.auto3dseg.victim import Auto3DSegVictim
from monai_smia.adapters.given import check_limit, default_radius, range_of
from monai_smia.adapters.monai_bundle.ranges import window_of
from monai_smia.adapters.monai_bundle.storing import BundleStorage
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
UNIT_OF_FILES = (
    "Auto3DSeg normalizes by a sigmoid or by every image's own statistics: a radius has no fixed size in network "
    "units, and what stands here as such is in the unit of the files."
)
KEPT = (
    "Voxels that are 0 in the files, by which the algorithm tells the background, were left as they are (--background "
    "attack attacks them, too)."
)
VOTES = "Votes of the algorithms are counted; gradients are of the average of their probabilities."


def auto3dseg_evaluation(
    folder: str | Path | Sequence[str | Path],
    *,
    images: str | Path | Sequence[str | Path],
    labels: str | Path | None = None,
    list_key: str | None = None,
    dataroot: str | Path | None = None,
    output_dir: str | Path = "auto3dseg_attack_eval",
    eps: float | str | Sequence[float | str] | None = None,
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
    identified: bool = False,
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
    """The evaluation under attack of an algorithm that Auto3DSeg has trained, or several, as they are deployed.

    Every figure is made by the algorithm's own `infer`, run by the scripts in its folder, on files: those of the case,
    stored ones, and attacked ones written in single precision. Gradients come from a differentiable twin of it
    (`Auto3DSegVictim`), which is compared with it on every clean case. Without labels the clean decision is the
    reference.

    Args:
        folder: of the algorithm, such as ``work_dir/segresnet_0``, or several, which decide together.
        images: NIfTI files, or folders of those or of DICOM series; or a list of data (JSON) as Auto3DSeg takes it,
            which alone can name the several images of a case (``extra_modalities``) and the labels.
        labels: folder of label maps ``CASE.nii.gz``, or the file of a single case; None where there are none.
        list_key, dataroot: of a list of data, as for `find_items`.
        output_dir: where to write.
        eps: radius in the unit of the images, or several; None for 3 % of the intensity window of a CT, or of the first
            image's range from the .5th to the 99.5th percentile.
        preset, gradients, steps, alpha, only, extra, volumes, seed: as for `chosen_plan`.
        tolerance: gradients are doubled while the headline moves by this much.
        clip: valid range of the images; None for that of every file's type or series.
        background: ``"keep"`` leaves zeros as they are where the algorithm normalizes by all others; ``"attack"``
            attacks them, too.
        unit: of the images, for tables; None for HU where the algorithm has an intensity window.
        identified: store DICOM series though their sources do not say that they are de-identified.
        survival: degradations by name, as for `AttackEvaluation`.
        limit: number of cases, the first ones.
        accept, write_volumes, resume, retry_failed: as for `AttackEvaluation`.
        figures: draw cases.
        progress: show progress.
        **model: `trusted`, `device`, `ensemble`, `straight_through`, as for `Auto3DSegVictim.from_folder`.

    Returns:
        The evaluation, to be run.

    Raises:
        ValueError: if something is missing or does not fit; it is named, before anything is computed.
    """
    if background not in (KEEP, ATTACK):
        raise ValueError(f"background must be one of {KEEP}, {ATTACK}, got {background!r}.")
    check_limit(limit)
    radii = None if eps is None else radii_of(eps)
    valid = range_of(clip)
    victim = Auto3DSegVictim.from_folder(folder, **model)
    deployed, chain = victim.deployed, victim.deployed.chains[0]
    settings = deployed.algorithms[0].settings
    if chain.apart:
        raise ValueError(f"the images of a case cannot be taken for one: {chain.apart}")
    data: dict[str, Any] = {"settings": settings, "list_key": list_key, "dataroot": dataroot, "limit": limit}
    items = find_items(images, labels, deployed.keys, **data)
    sources = sources_of(chain, items)
    labeled = any(LABEL in item for item in items.values())
    meaning = Labels.of_settings(settings, sigmoid=deployed.sigmoid)

    window = window_of(chain, clipped=False)
    width = window.a_max - window.a_min if window is not None else width_of(chain, sources)
    plan = chosen_plan(
        preset,
        "segmentation",
        [default_radius(width)] if radii is None else radii,
        steps=steps,
        alpha=alpha,
        seed=seed,
        unit_scale=1.0,
        clip=valid,
        gradients=gradients,
        volumes=volumes,
        extra=extra,
        only=only,
    )
    loading = Auto3DSegLoading(chain, items, meaning, background=background, ranged=clip is None)
    storage = BundleStorage(Path(output_dir) / "volumes", chain, note=f"Seed {seed}.", identified=identified)
    pipeline = Auto3DSegPipeline(victim, items, meaning, labeled=labeled)
    pipeline.storage = storage
    votes = deployed.mode == VOTE and len(deployed.algorithms) > 1
    limitations = [UNIT_OF_FILES, *[UNSUPERVISED] * (not labeled), *[KEPT] * loading.keeps, *[VOTES] * votes]
    with console(progress):
        told = [
            "" if labeled else UNSUPERVISED,
            VOTES if votes else "",
            storage.why_not(sources) or "",
            f"No radius given: {default_radius(width):g} is 3 % of the range of intensities." if eps is None else "",
        ]
        for line in filter(None, told):
            LOGGER.info(line)
    return AttackEvaluation(
        cases=[{"case": name, "image": source} for name, source in zip(items, sources, strict=True)],
        loading=loading,
        victim=victim,
        attacks=plan,
        metrics=SegmentationMetrics(None if meaning.sigmoid else meaning.channels, class_names=meaning.class_names),
        output_dir=output_dir,
        storage=storage,
        figure=segmentation_figure if figures else None,
        device=torch.device(deployed.algorithms[0].device),
        unit=unit if unit is not None else "HU" if window is not None else "",
        data_range=width,
        survival=survival,
        tolerance=tolerance,
        about={"model": {"name": f"Auto3DSeg {deployed.name}"}, "limitations": limitations},
        accept=accept,
        write_volumes=write_volumes,
        resume=resume,
        retry_failed=retry_failed,
        progress=progress,
        pipeline=pipeline,
    )
