"""The evaluation that the overlay config runs on a bundle."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.transforms import ScaleIntensityRange

from monai_smia.adapters.monai_bundle.builder import VictimBuilder
from monai_smia.adapters.monai_bundle.loading import BundleLoading
from monai_smia.adapters.monai_bundle.parts import (
    Chain,
    case_names,
    dataset_of,
    is_dicom,
    later_steps,
    load_checkpoints,
    split_chain,
)
from monai_smia.degradations import Degradation
from monai_smia.dicom import read_dicom_series
from monai_smia.evaluation import AttackEvaluation, PlannedAttack, paper_comparison
from monai_smia.evaluation.console import console
from monai_smia.evaluation.fingerprint import weights_hash
from monai_smia.storage import DicomStorage, NiftiStorage, PictureStorage
from monai_smia.victims.freezing import array_attribute

LOGGER = logging.getLogger(__name__)
TASKS = ("segmentation", "classification", "detection")
SPACES = ("scanner", "network")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def bundle_evaluation(
    evaluator: Any,
    *,
    postprocessing: Any,
    output_dir: str,
    eps: float | Sequence[float] = 0.03,
    eps_unit: str = "network",
    steps: int = 10,
    alpha: float = 1.0,
    seed: int = 0,
    clip: Sequence[float] | None = None,
    space: str | None = None,
    task: str | None = None,
    activation: str | None = None,
    image_key: str = "image",
    label_key: str = "label",
    box_key: str = "box",
    unsupervised: bool | None = None,
    straight_through: bool = False,
    unit: str = "",
    survival: Mapping[str, Degradation] | None = None,
    identified: bool = False,
    limit: int | None = None,
    only: Sequence[str] | None = None,
    figures: bool = True,
    progress: bool = True,
) -> AttackEvaluation:
    """The evaluation under attack of what a bundle's evaluator evaluates.

    Network, inferer and weights are the evaluator's; its dataset's transforms are taken apart into what loads a case
    and what preprocesses it, which becomes part of the victim. Without labels the clean prediction is the reference.

    Args:
        evaluator: the bundle's evaluator, its weights loaded or loaded by a handler.
        postprocessing: the bundle's, for softmax or sigmoid; None where `activation` says it.
        output_dir: where to write.
        eps: radius, or several.
        eps_unit: ``"network"`` or ``"image"`` (HU, grey levels).
        steps: steps of the iterated attacks.
        alpha: weight of SMIA's stabilization term.
        seed: seed of the attacks.
        clip: valid range of the images; None for that of 8-bit files or of the intensity window, where known.
        space: ``"scanner"`` attacks on the grid of the files, ``"network"`` what the network sees; None for scanner
            where the preprocessing allows it, and says so where it does not.
        task: ``"segmentation"``, ``"classification"`` or ``"detection"``; None to tell it from the network's output.
        activation: ``"softmax"`` or ``"sigmoid"``; None to tell it from `postprocessing`.
        image_key: key of the image in the dataset's items.
        label_key: key of the label; of the classes of boxes for a detector.
        box_key: key of a detector's boxes.
        unsupervised: take the clean prediction as reference; None where the items have no label.
        straight_through: let the gradient through where the intensity window clips.
        unit: unit of the images, for tables.
        survival: degradations by name, after which every attack is measured again, as for `AttackEvaluation`.
        identified: store DICOM series though their sources do not say that they are de-identified.
        limit: number of cases.
        only: attacks to run out of those of `paper_comparison`, by their names; None for all of them.
        figures: draw every case.
        progress: show progress.

    Returns:
        The evaluation, to be run.

    Raises:
        ValueError: if something is missing or cannot be told; it is named, with the way to supply it.
    """
    _check("eps_unit", eps_unit, ("network", "image"))
    _check("space", space, (*SPACES, None))
    _check("task", task, (*TASKS, None))
    items, transform = dataset_of(evaluator)
    items = items[:limit]
    chain = split_chain(transform, image_key, items[0])
    load_checkpoints(evaluator)
    device = torch.device(evaluator.state.device if evaluator.state.device is not None else "cpu")
    labeled = label_key in items[0]
    if unsupervised is False and not labeled:
        raise ValueError(f"items have no {label_key!r}, only {sorted(items[0])}: say which with --attack#label_key.")

    builder = VictimBuilder(evaluator, chain, items[0], task, activation, postprocessing, straight_through, device)
    reason = builder.why_not_scanner(items[0]) if space is None else None
    in_scanner = space == "scanner" or (space is None and reason is None)
    victim = builder.victim(in_scanner)
    keys = {"boxes": box_key, "labels": label_key} if builder.task == "detection" else {"label": label_key}
    with console(progress):
        _tell(reason, later_steps(postprocessing), None if labeled else label_key)

    scale = victim.intensity_scale() if in_scanner else 1.0
    per_unit = builder.scale() if eps_unit == "image" and not in_scanner else scale
    radii = [eps] if isinstance(eps, (int, float)) else list(eps)
    sources = [chain.source(item) for item in items]
    attacks = paper_comparison(
        [radius * per_unit for radius in radii] if eps_unit == "image" else radii,
        steps=steps,
        alpha=alpha,
        seed=seed,
        unit_scale=scale,
        clip=tuple(clip) if clip is not None else _valid_range(chain, sources[0], in_scanner),
        stronger_loss="soft_jaccard" if builder.task == "segmentation" else None,
    )
    return AttackEvaluation(
        cases=[
            {**item, "case": name, "image": source}
            for item, name, source in zip(items, case_names(sources), sources, strict=True)
        ],
        loading=BundleLoading(chain, in_scanner, None if unsupervised or not labeled else keys, victim, device),
        victim=victim,
        attacks=attacks if only is None else _selected(attacks, only),
        metrics=builder.metrics(),
        output_dir=output_dir,
        storage=_storage(chain, sources[0], in_scanner, builder, Path(output_dir) / "volumes", identified, seed),
        figure=builder.figure() if figures else None,
        device=device,
        unit=(unit or "HU" * is_dicom(sources[0])) if in_scanner else "",
        data_range=1 / scale,
        survival=survival,
        progress=progress,
    )


def _check(name: str, value: str | None, allowed: Sequence[str | None]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {tuple(allowed)}, got {value!r}.")


def _tell(reason: str | None, later: Sequence[str], missing_label: str | None) -> None:
    """Say what is attacked, and what the figures are not of."""
    if reason is not None:
        LOGGER.info("Attacking what the network sees, not the files: %s", reason)
    if later:
        LOGGER.info(
            "The bundle's postprocessing goes on to %s: not applied, figures are of the decision.", ", ".join(later)
        )
    if missing_label is not None:
        LOGGER.info("No labels (items have no %r): the clean prediction is the reference.", missing_label)


def _selected(attacks: Sequence[PlannedAttack], names: Sequence[str]) -> list[PlannedAttack]:
    """The clean row and the attacks of these names."""
    known = {row.name for row in attacks}
    if unknown := set(names) - known:
        raise ValueError(f"only must name attacks of {sorted(known)}, got {sorted(unknown)}.")
    return [row for row in attacks if row.attack is None or row.name in names]


def _valid_range(chain: Chain, source: Any, in_scanner: bool) -> tuple[float, float] | None:
    if in_scanner and is_dicom(source):
        return read_dicom_series(source, chain.read(source).meta.get("series_uid")).range
    if in_scanner:
        return (0.0, 255.0) if _suffix(source) in PICTURES else None
    for transform in reversed(chain.preprocessing):
        attribute = array_attribute(transform)
        array = getattr(transform, attribute) if attribute else transform
        if isinstance(array, ScaleIntensityRange) and array.clip:
            return None if array.b_min is None or array.b_max is None else (array.b_min, array.b_max)
    return None


def _suffix(source: Any) -> str:
    return "" if isinstance(source, (list, tuple)) else Path(str(source)).suffix.lower()


def _storage(
    chain: Chain, source: Any, in_scanner: bool, builder: VictimBuilder, folder: Path, identified: bool, seed: int
) -> Any:
    if not in_scanner:
        picture = builder.dimensions == 2 and builder.channels > 1
        return None if picture else NiftiStorage(folder, like_source=False)
    if _suffix(source) in PICTURES:
        return PictureStorage(folder, chain.read)
    storage: Any = NiftiStorage(folder)
    if is_dicom(source):
        note = f"Seed {seed}, model {weights_hash(builder.evaluator.network)[:16]}."
        storage = DicomStorage(folder, note=note, identified=identified)
    storage.read = chain.read  # by the unmodified pipeline
    return storage
