"""The victim of a bundle, its metrics and its figure, once it is known what its network predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.transforms import Compose
from torch import Tensor

from monai_smia.adapters.monai_bundle.parts import Chain, activation_of, detector_of, is_dicom
from monai_smia.metrics import CaseMetrics, ClassificationMetrics, DetectionMetrics, SegmentationMetrics
from monai_smia.report.figures import detection_figure, photograph_figure, segmentation_figure
from monai_smia.victims import ClassificationVictim, DetectionVictim, SegmentationVictim
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import FrozenPreprocessing, as_plain


class VictimBuilder:
    """The victim of a bundle, once it is known what kind of network it has."""

    def __init__(
        self,
        evaluator: Any,
        chain: Chain,
        item: Mapping[str, Any],
        task: str | None,
        activation: str | None,
        postprocessing: Any,
        straight_through: bool,
        device: torch.device,
    ) -> None:
        self.evaluator = evaluator
        self.chain = chain
        self.straight_through = straight_through
        self.detector = detector_of(evaluator)
        self.task = task or ("detection" if self.detector is not None else None)
        self.classes = self.channels = self.dimensions = 0
        self.activation = ""
        if self.task != "detection":
            self.activation = activation or activation_of(postprocessing)
            self._probe(item, device)

    def _probe(self, item: Mapping[str, Any], device: torch.device) -> None:
        """One prediction of the first case: its shape tells the task and the number of classes."""
        with torch.no_grad():
            compose = Compose([*self.chain.loading, *self.chain.preprocessing])
            image = as_plain(compose(dict(item))[self.chain.image_key])[None].float().to(device)
            mode = self.evaluator.network.training
            prediction = self.evaluator.inferer(image, self.evaluator.network.eval())
            self.evaluator.network.train(mode)
        if not isinstance(prediction, Tensor):
            raise ValueError(
                f"the network must predict a tensor, got {type(prediction).__name__}; a detector must be a MONAI "
                "RetinaNetDetector that the evaluator or its inferer holds."
            )
        self.task = self.task or ("classification" if prediction.ndim == 2 else "segmentation")
        self.classes = prediction.shape[1]
        self.channels, self.dimensions = image.shape[1], image.ndim - 2

    def victim(self, in_scanner: bool) -> Victim:
        """The victim, with its preprocessing (on the grid of the files) or without (what the network sees)."""
        network, inferer = self.evaluator.network, self.evaluator.inferer
        options: dict[str, Any] = {"image_key": self.chain.image_key, "straight_through": self.straight_through}
        if in_scanner:
            options["preprocessing"] = Compose(self.chain.preprocessing)
        if self.task == "detection":
            if self.detector is None:
                raise ValueError("a detection bundle's evaluator or its inferer must hold a MONAI RetinaNetDetector.")
            return DetectionVictim(self.detector, **options)
        if self.task == "segmentation":
            return SegmentationVictim(network, inferer=inferer, activation=self.activation, allow_empty=True, **options)
        return ClassificationVictim(network, inferer=inferer, activation=self.activation, **options)

    def scale(self) -> float:
        """Network units per unit of the files."""
        return self.victim(True).intensity_scale()

    def why_not_scanner(self, item: Mapping[str, Any]) -> str | None:
        """Why the attack cannot live on the grid of the files, or None."""
        source = self.chain.source(item)
        if isinstance(source, (list, tuple)) and len(source) > 1 and not is_dicom(source):
            return f"an image is put together from {len(source)} files."
        try:
            self.scale()
        except ValueError as error:
            return f"a radius in network units has no fixed size in the unit of the files; {error}"
        try:
            image = self.chain.read(source).float()
            frozen = FrozenPreprocessing(Compose(self.chain.preprocessing), image, self.chain.image_key)
            frozen.check_differentiable()
        except ValueError as error:
            return str(error)
        same = frozen.shape == image.shape[1:] and torch.allclose(frozen.affine, frozen.clean.affine)
        if self.task == "detection" and not same:
            return "the preprocessing changes the grid, and boxes are not resampled."
        return None

    def metrics(self) -> CaseMetrics:
        """The metrics of its task."""
        if self.task == "detection":
            assert self.detector is not None
            return DetectionMetrics([str(number) for number in range(self.detector.num_classes)])
        if self.task == "classification":
            return ClassificationMetrics(max(self.classes, 2))
        return SegmentationMetrics(self.classes if self.activation == "softmax" else None)

    def figure(self) -> Callable[..., None] | None:
        """The function that draws its cases, None where there is none."""
        if self.task == "detection":
            assert self.detector is not None
            return detection_figure if self.detector.spatial_dims == 2 else None
        if self.task == "classification":
            return photograph_figure if self.channels == 3 and self.dimensions == 2 else None
        return segmentation_figure
