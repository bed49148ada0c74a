"""The evaluation of a product that is a black box."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_smia.adapters.case_files import CLASSES, FileLoading, find_cases, width_of
from monai_smia.adapters.given import check_limit, range_of
from monai_smia.adapters.product.asking import Asked, Asking, Product
from monai_smia.adapters.product.finding_surrogates import distilled_finding
from monai_smia.adapters.product.findings import FindingMetrics
from monai_smia.adapters.product.kinds import Finding
from monai_smia.adapters.product.learning import check_queries
from monai_smia.adapters.product.pipeline import ProductPipeline
from monai_smia.adapters.product.plans import PRESETS, knowledge_of, product_plan, transferred
from monai_smia.adapters.product.sender import Sender
from monai_smia.adapters.product.surrogates import bundle_surrogate, distilled
from monai_smia.adapters.product.victim import FindingVictim, ProductVictim
from monai_smia.checks import check_number
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.blackbox_plan import QUERIES
from monai_smia.evaluation.console import console
from monai_smia.evaluation.lock import locked
from monai_smia.evaluation.pipeline import UNSUPERVISED
from monai_smia.evaluation.plan import radii_of
from monai_smia.evaluation.volumes import WORST
from monai_smia.metrics import CaseMetrics, SegmentationMetrics
from monai_smia.report.figures import segmentation_figure
from monai_smia.storage import FormatStorage

LOGGER = logging.getLogger(__name__)
__all__ = ["PRESETS", "product_evaluation"]
DISTILLED = "distilled"
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
    shifts: Mapping[str, Any] | None = None,
    only: Sequence[str] | None = None,
    classes: int = 2,
    class_names: Sequence[str] | None = None,
    most_queries: int | None = None,
    jobs: int = 1,
    repeats: int = 2,
    clip: Sequence[float] | None = None,
    unit: str = "HU",
    name: str = "product",
    identified: bool = False,
    transfer: Sequence[str | Path] | None = None,
    distil: int = 0,
    seed: int = 0,
    limit: int | None = None,
    accept: str | Sequence[str] | None = None,
    write_volumes: str | bool = WORST,
    resume: bool = True,
    retry_failed: bool = False,
    figures: bool = True,
    progress: bool = True,
) -> AttackEvaluation:
    """The evaluation of a product of which its answers alone are known: label maps, or a finding of the whole image.

    Every figure is an answer to what was written for it, in whole stored units: what an attack asks is what its figure
    is of. Without labels the answer to the clean image is the reference.

    Args:
        product: what is asked, such as a `Command`.
        images: NIfTI files, or folders of those or of DICOM series.
        labels: folder of label maps ``CASE.nii.gz``, or the file of a single case; of findings a CSV file with the
            columns ``image`` and ``label``; None where there are none.
        output_dir: where to write; answers and the journal of queries lie in its ``product``.
        eps: radius in the unit of the images, or several.
        preset: ``"blackbox"``, see `blackbox_plan`, or ``"shifts"``, see `shift_rows`.
        queries: of every attack and case of the preset ``"blackbox"``.
        shifts: of the preset ``"shifts"``, such as ``{"severity": 3, "draws": 20}``: arguments of `shift_rows`; the
            modality is ``"ct"`` where the unit is HU.
        only: attacks to run, by their names; None for all.
        classes: of the label maps, with the background, or of the findings.
        class_names: their names, the background's included; None for numbers. Those of a finding are its own.
        most_queries: that the product may be asked in all, earlier runs included; None without a limit.
        jobs: queries at once of a command, where several are known beforehand: those that a surrogate is distilled on.
        repeats: how often the first clean image is asked about, to see whether answers repeat; 1 leaves it out.
        clip: valid range of the images; None for that of every file's type.
        unit: of the images, for tables.
        name: of the product, for the page.
        identified: derive from DICOM series that do not say that they are de-identified.
        transfer: bundles that attacks are made on and transferred from, by the names of shipped ones or their folders.
        distil: number of the product's answers that a surrogate is trained on, to transfer from; 0 trains none.
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
    check_limit(limit)
    check_number("repeats", repeats, whole=True, least=1)
    check_number("distil", distil, whole=True, least=0)
    if distil:
        check_queries(distil)
    valid = range_of(clip)
    if jobs != 1 and isinstance(product, Sender):
        raise ValueError(f"jobs is of a command, and a node is asked one thing at a time, got {jobs!r}.")
    held: dict[str, Any] = {"most": most_queries, "jobs": jobs, "identified": identified}
    asking = Asking(product, classes, Path(output_dir) / "product", **held)
    finding = asking.kind if isinstance(asking.kind, Finding) else None
    own = {"modality": "ct" if unit == "HU" else "any", **(shifts or {})}
    options: dict[str, Any] = {"queries": queries, "clip": valid, "seed": seed, "shifts": own, "only": only}
    surrogates: dict[str, Any] = dict(
        bundle_surrogate(bundle, finding=finding is not None) for bundle in transfer or ()
    )
    hoped = surrogates | ({DISTILLED: None} if distil else {})
    product_plan(preset, asking.kind, eps, **options, surrogates=hoped)  # raises before anything is asked
    cases = find_cases(images, labels, limit=limit, table=None if finding is None else CLASSES)
    names = None if class_names is None else list(class_names)
    victim: ProductVictim | FindingVictim = FindingVictim(Asked(asking))
    metrics: CaseMetrics = SegmentationMetrics(classes, class_names=names)
    if finding is None:
        victim = ProductVictim(Asked(asking), classes=classes, allow_empty=True)
    else:
        metrics = FindingMetrics(classes, finding)
    loading = FileLoading(valid)
    with console(progress):
        limitations = [LOWER, *[UNSUPERVISED] * (labels is None)]
        with locked(Path(output_dir)):
            asking.begin(anew=not resume)
            limitations += _repeated(asking, cases, repeats)
            if distil:
                distil_of = distilled if finding is None else distilled_finding
                found = distil_of(asking, cases, queries=distil, eps=max(radii_of(eps)), seed=seed)
                surrogates[DISTILLED] = found[0]
                limitations.append(found[1])
        for line in limitations[1:]:
            LOGGER.info(line)
    plan = product_plan(preset, asking.kind, eps, **options, surrogates=surrogates)
    knowledge = knowledge_of(asking.kind, preset) + (transferred(list(surrogates)) if surrogates else "")
    about = {"model": {"name": name}, "limitations": limitations, "knowledge": knowledge}
    return AttackEvaluation(
        cases=cases,
        loading=loading,
        victim=victim,
        attacks=plan,
        metrics=metrics,
        output_dir=output_dir,
        storage=FormatStorage(Path(output_dir) / "volumes", note="Black-box test.", identified=identified),
        figure=segmentation_figure if figures and finding is None else None,
        num_probed_cases=0,
        unit=unit,
        data_range=width_of(loading, cases),
        about=about,
        accept=accept,
        write_volumes=write_volumes,
        resume=resume,
        retry_failed=retry_failed,
        progress=progress,
        pipeline=ProductPipeline(
            victim, labeled=labels is not None, radii=radii_of(eps) if preset == "blackbox" else ()
        ),
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
        masks = not isinstance(asking.kind, Finding)
        if share == 1:
            return [f"{said}gave the same answer{', voxel for voxel' * masks}."]
        how = f"differ in {1 - share:.2%} of the voxels" if masks else "differ"
        return [f"{said}gave answers that {how}: figures are of one answer each."]
    raise errors[0]
