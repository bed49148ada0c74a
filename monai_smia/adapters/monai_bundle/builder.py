"""A bundle's pipeline and its differentiable twin, once it is known what its network predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import Compose, MapTransform
from torch import Tensor

from monai_smia.adapters.monai_bundle.boxes import BoxKeys, box_mode, to_world
from monai_smia.adapters.monai_bundle.chain import Chain, leaves
from monai_smia.adapters.monai_bundle.decisions import DecisionRule, rule_of
from monai_smia.adapters.monai_bundle.engine import Iteration, QuietEngine
from monai_smia.adapters.monai_bundle.grids import affine_of
from monai_smia.adapters.monai_bundle.merging import before_merging
from monai_smia.adapters.monai_bundle.parts import detector_of, is_dicom
from monai_smia.adapters.monai_bundle.pipeline import BundlePipeline
from monai_smia.adapters.monai_bundle.prompts import Prompted
from monai_smia.adapters.monai_bundle.twins import ClassificationTwin, DetectionTwin, SegmentationTwin, judge_of
from monai_smia.adapters.ruled import metrics_of
from monai_smia.dicom import DicomSeriesError, read_dicom_series
from monai_smia.evaluation.errors import cause_of
from monai_smia.metrics import CaseMetrics, DetectionMetrics
from monai_smia.report.figures import detection_figure, photograph_figure, segmentation_figure
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import FrozenPreprocessing

INTERPOLATED = (
    "Postprocessing resamples a map of classes by interpolation after it was decided: figures are of the nearest class."
)

APART = (
    "Preprocessing drops the affine of the image, and postprocessing takes the decision to another grid: twin and "
    "pipeline cannot be compared voxel by voxel."
)


class BundleBuilder:
    """Pipeline, twin, metrics and figure of a bundle, found by asking its evaluator about one case.

    Args:
        evaluator: the bundle's.
        chain: the transforms of its dataset.
        items: of the dataset, by the names of the cases.
        postprocessing: where the evaluator has none of its own.
        task: None to tell it.
        activation: None to tell it.
        label_key: of the label.
        box_key: of a detector's boxes.
        labeled: whether items have labels that are the truth.
        straight_through: of the twin.
        seeded: random transforms are drawn alike every time, instead of refused.

    Attributes:
        notes: what is to be said of how decisions are read.

    Raises:
        ValueError: if the bundle's own way cannot be gone, or what it decides cannot be told; with the reason.
    """

    def __init__(
        self,
        evaluator: Any,
        chain: Chain,
        items: Mapping[str, Mapping[Any, Any]],
        *,
        postprocessing: Any,
        task: str | None,
        activation: str | None,
        label_key: str,
        box_key: str,
        labeled: bool,
        straight_through: bool = False,
        seeded: bool = False,
    ) -> None:
        if not hasattr(evaluator, "network"):
            raise ValueError(
                f"evaluator must have one network, got a {type(evaluator).__name__} of "
                f"{len(getattr(evaluator, 'networks', []))}; attack one of them, with --attack#evaluator a "
                "SupervisedEvaluator of it."
            )
        if (names := chain.random_steps()) and not seeded:
            raise ValueError(
                f"preprocessing draws at random ({', '.join(names)}): every figure would be one draw. Leave it out, or "
                "let every case draw the same each time with --attack#seeded true."
            )
        self.evaluator, self.chain, self.straight_through = evaluator, chain, straight_through
        self.detector = detector_of(evaluator)
        engine = QuietEngine(evaluator, postprocessing, self.detector)
        keys = None
        if self.detector is not None:
            keys = BoxKeys.of_detector(self.detector, box_key, label_key, box_mode(engine.postprocessing))
            if labeled:
                _check_boxes(chain, box_key, engine.postprocessing)
        self.pipeline = BundlePipeline(
            engine,
            chain,
            items,
            task=task or "",
            rule=None,
            judge=None,
            in_scanner=False,
            label_key=label_key,
            boxes=keys,
            labeled=labeled,
            seeded=seeded,
        )
        self.case, first = self._first_that_works(items)
        self.rule: DecisionRule | None = None
        self.channels, self.dimensions = first.seen.shape[1], first.seen.ndim - 2
        self.task = self.pipeline.task = task or self._task_of(first.raw)
        if self.task != "detection":
            self.rule = self.pipeline.rule = rule_of(engine.postprocessing, self._tensor(first.raw), activation)
        elif self.detector is None:
            raise ValueError("a detection bundle's evaluator or its inferer must hold a MONAI RetinaNetDetector.")
        self.pipeline.judge = judge_of(self.task, self.rule, self.detector)
        first, merged = before_merging(
            self.pipeline,
            lambda left_out: QuietEngine(evaluator, postprocessing, self.detector, left_out),
            self.case,
            first,
        )
        nearest = self.rule is not None and self.rule.is_interpolated(first.output["pred"])
        self.notes = [merged] * bool(merged) + [INTERPOLATED] * nearest + [APART] * self._is_apart(first)
        self.windowed = first.windowed
        seen = self.pipeline.clean(self.case)[0][chain.image_key]
        if tuple(seen.shape) != tuple(first.seen.shape[1:]):
            raise ValueError(
                f"the network must be given what the dataset gives as {chain.image_key!r}, {tuple(seen.shape)}, got "
                f"{tuple(first.seen.shape[1:])} out of prepare_batch."
            )

    def _is_apart(self, iteration: Iteration) -> bool:
        """Whether nothing says how the network's grid lies to that of the decision."""
        if self.task != "segmentation":
            return False
        found = self.pipeline.decided(iteration)
        known = affine_of(iteration.seen) is not None and found.affine is not None
        return not known and tuple(found.prediction.shape[2:]) != tuple(iteration.seen.shape[2:])

    def _first_that_works(self, items: Mapping[str, Any]) -> tuple[str, Iteration]:
        """The first case that the pipeline can go through; a broken file is for the evaluation to name."""
        errors: list[Exception] = []
        for name in items:
            try:
                return name, self.pipeline.clean(name)[1]
            except Exception as error:  # whatever a loader raises
                errors.append(error)
        if text := self._explained(errors[0], self.chain.source(next(iter(items.values())))):
            raise ValueError(text) from None
        raise errors[0]

    @staticmethod
    def _explained(error: Exception, source: Any) -> str:
        """What stops the first case, in words that say what to do where that is known, else nothing."""
        text = str(cause_of(error))
        if isinstance(cause_of(error), TypeError) and "required positional argument" in text:
            return (
                f"the network must take an image alone, and wants more: {text}. What it is prompted with can be held "
                "fixed in a module around it."
            )
        if is_dicom(source) and not isinstance(cause_of(error), DicomSeriesError):
            return (
                f"the bundle's reader does not read this series: {text}; monai_smia.data.DicomSeriesReader reads it, "
                "or says what is wrong with it."
            )
        return ""

    def _task_of(self, raw: Any) -> str:
        if self.detector is not None:
            return "detection"
        return "classification" if self._tensor(raw).ndim == 2 else "segmentation"

    @staticmethod
    def _tensor(raw: Any) -> Tensor:
        if not isinstance(raw, Tensor):
            raise ValueError(
                f"the network must predict a tensor, got {type(raw).__name__}; a detector must be a MONAI "
                "RetinaNetDetector that the evaluator or its inferer holds."
            )
        return raw

    def twin(self, in_scanner: bool) -> Victim:
        """What is attacked, with its preprocessing (on the grid of the files) or without (what the network sees)."""
        network, inferer = self.evaluator.network, self.evaluator.inferer
        prompt = self.pipeline.clean(self.case)[1].prompt
        if any(prompt) and self.detector is None:
            inferer = Prompted(inferer, prompt)
        options: dict[str, Any] = {"image_key": self.chain.image_key, "straight_through": self.straight_through}
        if in_scanner:
            compose = self.chain.compose
            options["preprocessing"] = Compose(self.chain.twin, lazy=compose.lazy, overrides=compose.overrides)
        if self.task == "detection":
            assert self.detector is not None
            return DetectionTwin(self.detector, windowed=self.windowed, **options)
        assert self.rule is not None
        options |= {"inferer": inferer, "activation": self.rule.activation, "rule": self.rule}
        if self.task == "segmentation":
            return SegmentationTwin(network, allow_empty=True, **options)
        return ClassificationTwin(network, **options)

    def scale(self) -> float:
        """Network units per unit of the files."""
        return self.twin(True).intensity_scale()

    def why_not_scanner(self) -> str | None:
        """Why the attack cannot live on the grid of the files, or None."""
        source = self.chain.source(self.pipeline.items[self.case])
        several = isinstance(source, (list, tuple)) and len(source) > 1 and not is_dicom(source)
        if self.chain.loader is None or several:
            return f"an image is put together from {len(source)} files."
        try:
            self.scale()
        except ValueError as error:
            return f"a radius in network units has no fixed size in the unit of the files; {error}"
        try:
            image: Any = self.chain.read(source).float()
            if is_dicom(source):
                read_dicom_series(source, image.meta.get("series_uid"))
            twin = self.twin(True)
            frozen = FrozenPreprocessing(twin.preprocessing, image, self.chain.image_key)
            frozen.check_differentiable()
            self.pipeline.twin = twin
            self.pipeline.check_twin(self.case, image[None], self.pipeline.clean(self.case)[1])
            self.pipeline.chain.run(self.pipeline.items[self.case], image)
        except Exception as error:  # a transform of any kind may refuse an image that lies alone
            return f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
        same = frozen.shape == image.shape[1:] and torch.allclose(frozen.affine, frozen.clean.affine)
        if self.task == "detection" and not same:
            return "the preprocessing changes the grid, and boxes are not resampled."
        return None

    def lost_affine(self) -> str:
        """What is to be said where preprocessing drops the affine of an image whose label has one; else nothing."""
        item = self.pipeline.clean(self.case)[0]
        label = item.get(self.pipeline.label_key) if self.pipeline.labeled else None
        if self.task != "segmentation" or affine_of(label) is None or affine_of(item[self.chain.image_key]) is not None:
            return ""
        step = self.chain.loses_affine(self.pipeline.items[self.case])
        return (
            f"{step or 'Preprocessing'} drops the affine of the image: image and label are compared voxel by voxel, as "
            "the bundle does, and nothing says whether they lie at one place."
        )

    def metrics(self, class_names: Sequence[str] | None = None) -> CaseMetrics:
        """The metrics of its task.

        Args:
            class_names: of the network's channels, for a segmentation; None for their numbers.

        Raises:
            ValueError: if they are no names, or not one for each channel.
        """
        if self.task == "detection":
            assert self.detector is not None
            return DetectionMetrics([str(number) for number in range(self.detector.num_classes)])
        assert self.rule is not None
        return metrics_of(self.task, self.rule, class_names)

    def figure(self) -> Callable[..., None] | None:
        """The function that draws its cases, None where there is none."""
        if self.task == "detection":
            assert self.detector is not None
            return detection_figure if self.detector.spatial_dims == 2 else None
        if self.task == "classification":
            return photograph_figure if self.channels == 3 and self.dimensions == 2 else None
        return segmentation_figure


def _check_boxes(chain: Chain, box_key: str, postprocessing: Sequence[Any]) -> None:
    """Refuse boxes whose coordinates nothing says, or that are not compared in one system of coordinates."""
    if not any(isinstance(t, MapTransform) and box_key in getattr(t, "keys", ()) for t in leaves(chain.compose)):
        raise ValueError(
            f"the boxes of items go through no transform of the bundle, and nothing says whether {box_key!r} are "
            "corners in voxels or world coordinates; use its train and evaluate configs, or --attack#unsupervised true."
        )
    if to_world(postprocessing):
        raise ValueError(
            "postprocessing takes the boxes that are found to world coordinates and leaves those of the items: the "
            "bundle does not compare them; use its evaluate config, or --attack#unsupervised true."
        )
