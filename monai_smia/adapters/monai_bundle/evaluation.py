"""The evaluation that the overlay config runs on a bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from monai_smia.adapters.monai_bundle.arguments import (
    as_limit,
    as_optional_switch,
    as_switch,
    check_choice,
    check_label_key,
)
from monai_smia.adapters.monai_bundle.builder import BundleBuilder
from monai_smia.adapters.monai_bundle.chain import chain_of
from monai_smia.adapters.monai_bundle.decisions import later_steps
from monai_smia.adapters.monai_bundle.loading import ATTACK, KEEP, BundleLoading
from monai_smia.adapters.monai_bundle.naming import named_metrics
from monai_smia.adapters.monai_bundle.numbers import REGRESSION
from monai_smia.adapters.monai_bundle.parts import case_names, check_outside, dataset_of, is_dicom, load_checkpoints
from monai_smia.adapters.monai_bundle.ranges import check_window
from monai_smia.adapters.monai_bundle.spaces import SPACES, space_of
from monai_smia.adapters.monai_bundle.storing import BundleStorage
from monai_smia.adapters.monai_bundle.twins import in_logits
from monai_smia.adapters.monai_bundle.units import KINDS, check_survival
from monai_smia.adapters.monai_bundle.unseen import UnseenPrompts, embedding_attack
from monai_smia.attacks import Attack
from monai_smia.command_line import check_arguments
from monai_smia.degradations import Degradation
from monai_smia.dicom.compressed import COMPRESSIONS
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.chosen import chosen_plan
from monai_smia.evaluation.console import console
from monai_smia.evaluation.fingerprint import weights_hash
from monai_smia.evaluation.pipeline import UNSUPERVISED
from monai_smia.evaluation.plan import radii_of
from monai_smia.evaluation.presets import PRESETS
from monai_smia.evaluation.volumes import WORST
from monai_smia.records.summary import TOLERANCE
from monai_smia.storage import NiftiStorage
from monai_smia.victims.embedding import part_of
from monai_smia.victims.own_statistics import DIFFERENTIATE, STATISTICS

LOGGER = logging.getLogger(__name__)
TASKS = ("segmentation", "classification", "detection", REGRESSION)
LABEL_KEY = "label"


def bundle_evaluation(
    evaluator: Any,
    *,
    postprocessing: Any,
    output_dir: str,
    eps: float | Sequence[float] = 0.03,
    eps_unit: str = "network",
    steps: int = 10,
    alpha: float = 1.0,
    preset: str = "quick",
    gradients: int | None = None,
    tolerance: float = TOLERANCE,
    extra: Sequence[Callable[..., Attack]] | None = None,
    embedding_of: str | None = None,
    unseen_prompts: Sequence[Mapping[str, Any]] | None = None,
    seed: int = 0,
    clip: Sequence[float] | None = None,
    space: str | None = None,
    task: str | None = None,
    activation: str | None = None,
    image_key: str = "image",
    label_key: str = LABEL_KEY,
    box_key: str = "box",
    output_key: str | int | None = None,
    within: float | None = None,
    point_axis: int | None = None,
    logits: str = "float32",
    statistics: str = DIFFERENTIATE,
    background: str = KEEP,
    unsupervised: bool | None = None,
    seeded: bool = False,
    class_names: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    volumes: Sequence[str] | None = None,
    shifts: Mapping[str, Any] | None = None,
    straight_through: bool = False,
    unit: str = "",
    survival: Mapping[str, Degradation] | None = None,
    identified: bool = False,
    compression: str | None = None,
    limit: int | None = None,
    only: Sequence[str] | None = None,
    training: Sequence[Mapping[str, Any]] = (),
    accept: str | Sequence[str] | None = None,
    write_volumes: str | bool = WORST,
    resume: bool = True,
    retry_failed: bool = False,
    figures: bool = True,
    progress: bool = True,
) -> AttackEvaluation:
    """The evaluation under attack of what a bundle's evaluator evaluates.

    Every figure is made by the bundle's own pipeline, untouched: its dataset's transforms, network, inferer and
    postprocessing, whole and in their own order; an attacked image is handed over behind its loader, a stored one goes
    through its file. Gradients come from a differentiable twin of it, which is compared with it on every clean case.
    Without labels the clean decision is the reference.

    Args:
        evaluator: the bundle's evaluator, its weights loaded or loaded by a handler.
        postprocessing: to apply where the evaluator has none of its own.
        output_dir: where to write.
        eps: radius, or several.
        eps_unit: ``"network"``, ``"image"`` (HU, grey levels, the scanner's values), or of each case and channel
            ``"std"`` or ``"range"``, see `OwnUnits`.
        steps: steps of the paper's attacks.
        alpha: weight of SMIA's stabilization term.
        preset: ``"quick"``, ``"standard"`` or ``"thorough"``, the strongest attacks, or ``"paper"``; see `preset_plan`.
        gradients: of the first strong attack; None for the preset's.
        tolerance: gradients are doubled while the headline moves by this much, see `AttackEvaluation`.
        extra: further attacks at the same radii, each a class or function of ``(eps=, seed=, clip=)``.
        embedding_of: part of the network, such as ``"image_encoder"``, whose output is attacked whatever it is prompted
            with (`Embedding` of `PGD`), in rows beside those of the preset.
        unseen_prompts: entries of an item, such as ``[{"label_prompt": [5]}]``, under which damage is measured, too.
        seed: seed of the attacks.
        clip: valid range of the images; None for that of 8-bit files or of the intensity window, where known.
        space: ``"native"`` (or ``"scanner"``) attacks on the grid of the files, ``"network"`` what the network sees;
            None for native where the preprocessing allows it, and says so where it does not.
        task: ``"segmentation"``, ``"classification"``, ``"detection"`` or ``"regression"`` (of numbers, landmarks);
            None to tell it from the network's output, by which no regression is known.
        activation: ``"softmax"`` or ``"sigmoid"``; None to tell it from `postprocessing`.
        image_key: key of the image in the dataset's items.
        label_key: key of the label; of the classes of boxes for a detector. One that no item has is refused where it
            is not the default.
        box_key: key of a detector's boxes.
        output_key: of the output that counts of several (``"seg"``, 1, ``"deep.0"``); None for that which decides.
        within, point_axis: of a regression the error up to which a number counts as right, in its own unit, and the
            axis of the prediction that holds the coordinates of a point, see `NumberRule`.
        logits: type that the twin's windows are stitched in, see `LogitsVictim.with_logits`; figures are the bundle's.
        statistics, background: as for `FrozenPreprocessing` and `BundleLoading`.
        unsupervised: take the clean prediction as reference; None where the items have no label.
        seeded: let random transforms draw the same for a case every time, instead of refusing them.
        class_names: names of the network's channels, the background's included, for a segmentation's metrics; None for
            those of the metadata, else their numbers.
        metadata: of the bundle; ``network_data_format`` names the channels.
        volumes: drive the volume of a segmentation ``"down"``, ``"up"`` or both, in rows beside those of the preset.
        shifts: of the preset ``"shifts"``, such as ``{"modality": "ct", "severity": 3}``: arguments of `shift_rows`.
            Shifts that move anatomy are for classification alone: labels come out of the bundle's own chain, unmoved.
        straight_through: let the gradient through where the intensity window clips.
        unit: unit of the images, for tables.
        survival: degradations by name, after which every attack is measured again, as for `AttackEvaluation`.
        identified: store DICOM series though their sources do not say that they are de-identified.
        compression: of the pixels of stored DICOM series, without loss: ``"jpegls"`` or ``"rle"``; None for none.
        limit: number of cases.
        only: attacks to run, by their names, of the preset or the paper's comparison; None for all of the preset.
        training: items of what the network was trained on, where known, as for `AttackEvaluation`.
        accept: criteria of your own, as for `AttackEvaluation`.
        write_volumes: adversarial images that stay as files, as for `AttackEvaluation`.
        resume: go on from the records in `output_dir`, as for `AttackEvaluation`.
        retry_failed: try cases again that have failed before.
        figures, progress: draw every case; show progress.

    Returns:
        The evaluation, to be run.

    Raises:
        ValueError: if something is missing or cannot be told; it is named, with the way to supply it.
    """
    check_arguments()
    check_choice("eps_unit", eps_unit, KINDS)
    check_choice("space", space, (*SPACES, None))
    check_choice("statistics", statistics, STATISTICS)
    check_choice("background", background, (KEEP, ATTACK))
    check_choice("task", task, (*TASKS, None))
    check_choice("compression", compression, (*COMPRESSIONS, None))
    unsupervised = as_optional_switch("unsupervised", unsupervised)
    seeded, straight_through = as_switch("seeded", seeded), as_switch("straight_through", straight_through)
    identified, figures = as_switch("identified", identified), as_switch("figures", figures)
    progress, limit = as_switch("progress", progress), as_limit("limit", limit)
    resume, retry_failed = as_switch("resume", resume), as_switch("retry_failed", retry_failed)
    found, transform = dataset_of(evaluator)
    found = found[:limit]
    chain = chain_of(transform, image_key, found[0], label_key)
    load_checkpoints(evaluator)
    device = torch.device(evaluator.state.device if evaluator.state.device is not None else "cpu")
    labeled = check_label_key(label_key, LABEL_KEY, found, unsupervised)

    sources = [chain.source(item) for item in found]
    check_outside(output_dir, sources)
    items = dict(zip(case_names(sources), found, strict=True))
    builder = BundleBuilder(
        evaluator,
        chain,
        items,
        postprocessing=postprocessing,
        task=task,
        activation=activation,
        label_key=label_key,
        box_key=box_key,
        labeled=labeled and not unsupervised,
        output_key=None if output_key is None else str(output_key),
        within=within,
        point_axis=point_axis,
        straight_through=straight_through,
        statistics=statistics,
        seeded=seeded,
    )
    given = radii_of(eps)
    where = space_of(builder, space=space, eps_unit=eps_unit, preset=preset, radii=given)
    in_scanner = where.in_scanner
    pipeline, twin = builder.pipeline, in_logits(builder.twin(in_scanner), logits, builder.notes)
    pipeline.twin, pipeline.in_scanner = twin, in_scanner
    loading = BundleLoading(pipeline, ranged=clip is None, units=builder.units, background=background)
    check_survival(survival, builder.units)
    folder = Path(output_dir) / "volumes"
    storage: Any = None
    if in_scanner:
        note = f"Seed {seed}, model {weights_hash(builder.network)[:16]}."
        storage = BundleStorage(folder, chain, note=note, identified=identified, compression=compression)
    elif not (builder.dimensions == 2 and builder.channels > 1):
        storage = NiftiStorage(folder, like_source=False)
    pipeline.storage = storage
    if unseen_prompts is not None:
        pipeline.unseen = UnseenPrompts(pipeline, unseen_prompts)
        builder.notes.append(pipeline.unseen.told)
    if embedding_of is not None:
        part_of(twin.network, embedding_of)  # raises where there is none
        extra = [*(extra or ()), embedding_attack(embedding_of, gradients or PRESETS.get(preset) or steps)]
    metrics, unnamed = named_metrics(builder, class_names, metadata)
    lost = builder.lost_affine()
    with console(progress):
        if unnamed:
            LOGGER.info(unnamed)
        for line in filter(None, (*builder.notes, lost, where.told, loading.kept)):
            LOGGER.info(line)
        _tell(where.reason, later_steps(pipeline.engine.postprocessing), None if labeled else label_key)
        if isinstance(storage, BundleStorage) and (unstored := storage.why_not(sources)):
            LOGGER.info(unstored)
    radii = [radius * where.per_unit for radius in given]
    valid: Any = None if clip is None else tuple(clip)
    attacks = chosen_plan(
        preset,
        builder.task,
        radii,
        steps=steps,
        alpha=alpha,
        seed=seed,
        unit_scale=where.scale,
        clip=valid,
        gradients=gradients,
        volumes=volumes,
        extra=extra,
        only=only,
        shifts={"dims": builder.dimensions, "geometric": builder.task == "classification", **(shifts or {})},
    )
    said = [UNSUPERVISED * (not pipeline.labeled), lost, *builder.notes, *where.limitations, loading.kept]
    limitations = [text for text in said if text]
    if builder.units is None:
        check_window(chain, attacks, in_scanner)
    return AttackEvaluation(
        cases=[
            {**item, "case": name, "image": source} for (name, item), source in zip(items.items(), sources, strict=True)
        ],
        loading=loading,
        victim=twin,
        attacks=attacks,
        metrics=metrics,
        output_dir=output_dir,
        storage=storage,
        figure=builder.figure() if figures else None,
        device=device,
        unit=where.named(unit, series=all(is_dicom(source) for source in sources)),
        data_range=1 / where.scale,
        survival=survival,
        tolerance=tolerance,
        about={"limitations": limitations} if limitations else None,
        training=training or (),
        accept=accept,
        write_volumes=write_volumes,
        resume=resume,
        retry_failed=retry_failed,
        progress=progress,
        pipeline=pipeline,
    )


def _tell(reason: str | None, later: Sequence[str], missing_label: str | None) -> None:
    """Say what is attacked, and what it is compared with."""
    if reason is not None:
        LOGGER.info("Attacking what the network sees, not the files: %s", reason)
    if later:
        LOGGER.info(
            "Postprocessing goes on to %s: figures have it, gradients do not (see `agreement`).", ", ".join(later)
        )
    if missing_label is not None:
        LOGGER.info("No labels (items have no %r): the clean prediction is the reference.", missing_label)
