"""A bundle's pipeline and its differentiable twin, once it is known what its network predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from monai_smia.adapters.monai_bundle.arguments import check_left_out
from monai_smia.adapters.monai_bundle.boxes import BoxKeys, box_mode, check_boxes
from monai_smia.adapters.monai_bundle.chain import Chain
from monai_smia.adapters.monai_bundle.decisions import DecisionRule, rule_of
from monai_smia.adapters.monai_bundle.engine import Iteration, QuietEngine
from monai_smia.adapters.monai_bundle.ensembles import EnsembleNetwork, network_of
from monai_smia.adapters.monai_bundle.grids import affine_of
from monai_smia.adapters.monai_bundle.instances import nuclei_maps
from monai_smia.adapters.monai_bundle.merging import before_merging
from monai_smia.adapters.monai_bundle.numbers import REGRESSION, NumberRule, RegressionTwin, number_rule
from monai_smia.adapters.monai_bundle.outputs import SelectedOutput, deciding_output, task_of
from monai_smia.adapters.monai_bundle.own_inferers import check_inferer
from monai_smia.adapters.monai_bundle.parts import detector_of, explained
from monai_smia.adapters.monai_bundle.pipeline import BundlePipeline
from monai_smia.adapters.monai_bundle.prompts import (
    AROUND_POINTS,
    PARTS_WITHOUT_POINTS,
    Prompted,
    class_prompts,
    told_prompt,
)
from monai_smia.adapters.monai_bundle.twins import ClassificationTwin, DetectionTwin, SegmentationTwin, judge_of
from monai_smia.adapters.monai_bundle.units import InFileUnitsd, OwnUnits
from monai_smia.adapters.ruled import metrics_of
from monai_smia.metrics import CaseMetrics, DetectionMetrics
from monai_smia.report.figures import detection_figure, landmark_figure, photograph_figure, segmentation_figure
from monai_smia.victims.base import Victim
from monai_smia.victims.intensity import fixed_intensity_scale
from monai_smia.victims.own_statistics import FREEZE
from monai_smia.victims.preprocessing import as_plain

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
        output_key: of the output that counts, where the network returns several; None to tell it.
        within, point_axis: of a regression, see `NumberRule`.
        straight_through, statistics: of the twin.
        seeded: random transforms are drawn alike every time, instead of refused.

    Attributes:
        notes: what is to be said of how decisions are read.
        of_classes: whether it is prompted with classes, and not with points alone.
        units: what images are attacked in; None where that is the unit of their files.

    Raises:
        ValueError: if the bundle's own way cannot be gone, or what it decides cannot be told; with the reason.
    """

    units: OwnUnits | None = None

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
        output_key: str | None = None,
        within: float | None = None,
        point_axis: int | None = None,
        straight_through: bool = False,
        statistics: str = FREEZE,
        seeded: bool = False,
    ) -> None:
        if (names := chain.random_steps()) and not seeded:
            raise ValueError(
                f"preprocessing draws at random ({', '.join(names)}): every figure would be one draw. Leave it out, or "
                "let every case draw the same each time with --attack#seeded true."
            )
        self.evaluator, self.chain = evaluator, chain
        self.options = {"straight_through": straight_through, "statistics": statistics, "image_key": chain.image_key}
        self.detector = detector_of(evaluator)
        engine = QuietEngine(evaluator, postprocessing, self.detector, output_key=output_key)
        self.network = network_of(evaluator, engine.postprocessing)
        engine.ensemble = self.network if isinstance(self.network, EnsembleNetwork) else None
        keys = None
        if self.detector is not None:
            keys = BoxKeys.of_detector(self.detector, box_key, label_key, box_mode(engine.postprocessing))
            if labeled:
                check_boxes(chain, box_key, engine.postprocessing)
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
        self.rule: DecisionRule | NumberRule | None = None
        self.channels, self.dimensions = first.seen.shape[1], first.seen.ndim - 2
        if self.detector is None:
            first = self._of_one_output(first, activation)
        self.task = self.pipeline.task = task or ("detection" if self.detector else task_of(first))
        if self.task != REGRESSION:
            check_left_out(self.task, {"within": within, "point_axis": point_axis})
        if self.task == "classification" and first.raw.ndim != 2:
            task_of(first)  # which says what it may be
        if self.task == REGRESSION:
            check_left_out(self.task, {"activation": activation})
            left = as_plain(first.output.get("pred", first.raw)).shape
            self.rule = self.pipeline.rule = number_rule(first.raw, within, point_axis, left)
        elif self.task != "detection":
            self.rule = self.pipeline.rule = self._rule_of(first, activation)
        elif self.detector is None:
            raise ValueError("a detection bundle's evaluator or its inferer must hold a MONAI RetinaNetDetector.")
        self.pipeline.judge = judge_of(self.task, self.rule, self.detector)
        first, merged = before_merging(self.pipeline, engine.without, self.case, first)
        nearest = self.rule is not None and self.rule.is_interpolated(first.output["pred"])
        self.of_classes = first.output.get("label_prompt") is not None
        told = told_prompt(first.prompt, len(items)) if self.detector is None else ""
        numbers = self.rule.told if isinstance(self.rule, NumberRule) else ""
        self.notes = [note for note in (self._told_output(), numbers, told, merged) if note]
        self.notes += [AROUND_POINTS] * first.around_points
        self.notes += [PARTS_WITHOUT_POINTS] * (first.around_points and not self.of_classes)
        self.notes += [INTERPOLATED] * nearest + [APART] * self._is_apart(first)
        self.windowed = first.windowed
        if self.detector is None and not isinstance(self.network, EnsembleNetwork):
            check_inferer(evaluator.inferer, self.network, first, self.pipeline.engine.output_key)
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

    def _of_one_output(self, first: Iteration, activation: str | None) -> Iteration:
        """The first case with the one output of the network that counts."""
        engine = self.pipeline.engine
        if engine.output_key is not None and isinstance(engine.inferer.raw, Tensor):
            raise ValueError(
                f"output_key is for a network that returns several outputs, and this one returns one, of shape "
                f"{tuple(engine.inferer.raw.shape)}; leave it out, got {engine.output_key!r}."
            )
        if isinstance(first.raw, Tensor):
            return first
        engine.output_key = deciding_output(first, engine.postprocessing, activation)
        self.pipeline.exchange(engine)
        return self.pipeline.clean(self.case)[1]

    def _told_output(self) -> str:
        """What is to be said of the network's output: which of several counts, and that it ends in probabilities."""
        key = self.pipeline.engine.output_key
        if isinstance(self.network, EnsembleNetwork):
            return self.network.told
        of_several = "" if key is None else f"Of the network's outputs {key!r} is the one that decides. "
        if (made := nuclei_maps(self.pipeline.engine.postprocessing).get(key or "")) is not None:
            of_several += made.told
        if self.rule is None or not self.rule.probabilities:
            return of_several.strip()
        return f"{of_several}The network ends in a {self.rule.kind}: losses are of the logarithms of its probabilities."

    def _rule_of(self, first: Iteration, activation: str | None) -> DecisionRule:
        own = self.network.activation if isinstance(self.network, EnsembleNetwork) else None
        steps = self.pipeline.engine.postprocessing
        prompts = class_prompts(first.output, first.raw.shape[1], steps) if any(first.prompt) else ()
        rule = rule_of(steps, first.raw, activation or own, prompts)
        return rule if own is None else replace(rule, activated=True, probabilities=False)

    def _first_that_works(self, items: Mapping[str, Any]) -> tuple[str, Iteration]:
        """The first case that the pipeline can go through; a broken file is for the evaluation to name."""
        errors: list[Exception] = []
        for name in items:
            try:
                return name, self.pipeline.clean(name)[1]
            except Exception as error:  # whatever a loader raises
                errors.append(error)
        if text := explained(errors[0], self.chain.source(next(iter(items.values())))):
            raise ValueError(text) from None
        raise errors[0]

    def twin(self, in_scanner: bool) -> Victim:
        """What is attacked, with its preprocessing (on the grid of the files) or without (what the network sees)."""
        network, inferer = self.network, self.evaluator.inferer
        prompt = self.pipeline.clean(self.case)[1].prompt
        if any(prompt) and self.detector is None:
            inferer = Prompted(inferer, prompt)
        if (key := self.pipeline.engine.output_key) is not None:
            network = SelectedOutput(network, key)
        options: dict[str, Any] = dict(self.options)
        if in_scanner:
            first = [] if self.units is None else [InFileUnitsd(self.chain.image_key)]
            options["preprocessing"] = self.chain.steps(first)
        if self.task == "detection":
            assert self.detector is not None
            return DetectionTwin(self.detector, windowed=self.windowed, **options)
        if isinstance(self.rule, NumberRule):
            options |= {"within": self.rule.within, "point_axis": self.rule.point_axis}
            return RegressionTwin(network, inferer=inferer, **options)
        assert self.rule is not None
        options |= {"inferer": inferer, "activation": self.rule.activation, "rule": self.rule}
        if self.task == "segmentation":
            return SegmentationTwin(network, allow_empty=True, **options)
        return ClassificationTwin(network, **options)

    def scale(self) -> float:
        """Network units per unit of the files, where every case has the same.

        Raises:
            ValueError: if each has its own, or none is known.
        """
        return fixed_intensity_scale(self.chain.steps())

    def first_image(self) -> Any:
        """The first case's image as its files hold it."""
        image: Any = self.chain.read(self.chain.source(self.pipeline.items[self.case]))
        return image.float()

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
        if isinstance(self.rule, NumberRule):
            axis = self.rule.point_axis
            drawn = self.rule.is_planar and self.dimensions == 2 and self.channels in (1, 3)
            return partial(landmark_figure, point_axis=axis) if drawn and axis is not None else None
        if self.task == "classification":
            return photograph_figure if self.channels == 3 and self.dimensions == 2 else None
        return segmentation_figure
