"""The evaluation of a product that is a black box."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_smia.adapters.case_files import FileLoading, find_cases, width_of
from monai_smia.adapters.given import check_limit, range_of
from monai_smia.adapters.product.asking import Asked, Asking, Product
from monai_smia.adapters.product.pipeline import ProductPipeline
from monai_smia.adapters.product.victim import ProductVictim
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.blackbox_plan import QUERIES, blackbox_plan
from monai_smia.evaluation.chosen import selected
from monai_smia.evaluation.console import console
from monai_smia.evaluation.lock import locked
from monai_smia.evaluation.pipeline import UNSUPERVISED
from monai_smia.evaluation.plan import check_number, radii_of
from monai_smia.evaluation.volumes import WORST
from monai_smia.metrics import SegmentationMetrics
from monai_smia.report.figures import segmentation_figure
from monai_smia.storage import FormatStorage

LOGGER = logging.getLogger(__name__)
PRESETS = ("blackbox",)
KNOWLEDGE = "black box: query access alone (NIST AI 100-2), decision-based: the final masks, no scores and no weights"
LOWER = "An attacker who knows the network, or a copy of it, may do more damage than one who only asks it."


def product_evaluation(
    product: Product,
    *,
    images: str | Path | Sequence[str | Path],
    labels: str | Path | None = None,
    output_dir: str | Path = "blackbox",
    eps: float | str | Sequence[float | str] = 20.0,
    preset: str = "blackbox",
    queries: int = QUERIES,
    only: Sequence[str] | None = None,
    classes: int = 2,
    class_names: Sequence[str] | None = None,
    most_queries: int | None = None,
    repeats: int = 2,
    clip: Sequence[float] | None = None,
    unit: str = "HU",
    name: str = "product",
    identified: bool = False,
    seed: int = 0,
    limit: int | None = None,
    accept: str | Sequence[str] | None = None,
    write_volumes: str | bool = WORST,
    resume: bool = True,
    retry_failed: bool = False,
    figures: bool = True,
    progress: bool = True,
) -> AttackEvaluation:
    """The evaluation of a product that answers with label maps, of which nothing else is known.

    Every figure is an answer to what was written for it, in whole stored units: what an attack asks is what its figure
    is of. Without labels the answer to the clean image is the reference.

    Args:
        product: what is asked, such as a `Command`.
        images: NIfTI files, or folders of those or of DICOM series.
        labels: folder of label maps ``CASE.nii.gz``, or the file of a single case; None where there are none.
        output_dir: where to write; answers and the journal of queries lie in its ``product``.
        eps: radius in the unit of the images, or several.
        preset: ``"blackbox"``, see `blackbox_plan`.
        queries: of every attack and case.
        only: attacks to run, by their names; None for all.
        classes: of the label maps, with the background.
        class_names: their names, the background's included; None for numbers.
        most_queries: that the product may be asked in all, earlier runs included; None without a limit.
        repeats: how often the first clean image is asked about, to see whether answers repeat; 1 leaves it out.
        clip: valid range of the images; None for that of every file's type.
        unit: of the images, for tables.
        name: of the product, for the page.
        identified: derive from DICOM series that do not say that they are de-identified.
        seed: of all attacks.
        limit: number of cases, the first ones.
        accept, write_volumes, resume, retry_failed: as for `AttackEvaluation`.
        figures: draw cases.
        progress: show progress.

    Returns:
        The evaluation, to be run; its first cases were asked about `repeats` times.

    Raises:
        ValueError: if something is missing or does not fit; it is named, before anything is asked. An `AnswerError`
            where the product does not answer to the first image.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {PRESETS} for a product, of which nothing is known, got {preset!r}.")
    check_limit(limit)
    check_number("repeats", repeats, whole=True, least=1)
    radii = radii_of(eps)
    valid = range_of(clip)
    plan = blackbox_plan("segmentation", radii, queries=queries, clip=valid, seed=seed, scores=False)
    plan = plan if only is None else selected(plan, only)
    cases = find_cases(images, labels, limit=limit)
    asking = Asking(product, classes, Path(output_dir) / "product", most=most_queries, identified=identified)
    victim = ProductVictim(Asked(asking), classes=classes, allow_empty=True)
    loading = FileLoading(valid)
    with console(progress):
        limitations = [LOWER, *[UNSUPERVISED] * (labels is None)]
        with locked(Path(output_dir)):
            asking.begin(anew=not resume)
            limitations += _repeated(asking, cases, repeats)
        for line in limitations[1:]:
            LOGGER.info(line)
    about = {"model": {"name": name}, "limitations": limitations, "knowledge": KNOWLEDGE}
    return AttackEvaluation(
        cases=cases,
        loading=loading,
        victim=victim,
        attacks=plan,
        metrics=SegmentationMetrics(classes, class_names=None if class_names is None else list(class_names)),
        output_dir=output_dir,
        storage=FormatStorage(Path(output_dir) / "volumes", note="Black-box test.", identified=identified),
        figure=segmentation_figure if figures else None,
        num_probed_cases=0,
        unit=unit,
        data_range=width_of(loading, cases),
        about=about,
        accept=accept,
        write_volumes=write_volumes,
        resume=resume,
        retry_failed=retry_failed,
        progress=progress,
        pipeline=ProductPipeline(victim, labeled=labels is not None),
    )


def _repeated(asking: Asking, cases: Sequence[dict[str, Any]], times: int) -> list[str]:
    """Whether the product answers alike when it is asked again, in a sentence; nothing where it was not asked.

    A case that cannot be asked about is for the evaluation to name.
    """
    if times < 2:
        return []
    errors: list[Exception] = []
    for item in cases:
        try:
            asking.open(item["image"], item["case"])
            share = asking.repeated(times)
        except Exception as error:  # of this case alone, or of all
            errors.append(error)
            continue
        said = f"Asked {times} times about the clean image of {item['case']}, the product "
        if share == 1:
            return [f"{said}gave the same answer, voxel for voxel."]
        return [f"{said}gave answers that differ in {1 - share:.2%} of the voxels: figures are of one answer each."]
    raise errors[0]
