"""Object detectors on anchors, 2-D and 3-D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from monai.apps.detection.utils.ATSS_matcher import ATSSMatcher, Matcher
from monai.apps.detection.utils.detector_utils import preprocess_images
from monai.apps.detection.utils.predict_utils import ensure_dict_value_to_list_, predict_with_inferer
from torch import Tensor

from monai_smia.victims import box_losses
from monai_smia.victims.base import Victim
from monai_smia.victims.boxes import check_boxes
from monai_smia.victims.choice import Choice, GoalLoss
from monai_smia.victims.detector_output import BOXES, CLASSES, Boxes, DetectorOutput
from monai_smia.victims.in_place import protected


@dataclass(kw_only=True, eq=False)
class DetectionVictim(Victim):
    """A one-stage detector: the head maps of a RetinaNet, their loss on matched anchors, and the boxes made of them.

    Nothing here needs torchvision, and the network stays in eval mode: anchors are matched and the loss is taken by the
    victim. A label is a list with one dictionary per image, ``{"boxes": (N, 2 * spatial_dims), "labels": (N,)}``, boxes
    as MONAI's detectors take them (all lower corners, then all upper ones, along the image's axes in their order).
    N may be 0: such an image has no object, and all its anchors are background. A decision is a label, too: of its
    boxes those with at least `found_score` are the objects.

    Args:
        network: a MONAI RetinaNet (heads ``{"classification": maps, "box_regression": maps}``), or a
            RetinaNetDetector, whose network, anchors, box coder, box selector and inferer are then used.
        anchors: MONAI's AnchorGenerator, needed for a bare network.
        detector: the RetinaNetDetector whose anchors, box coder and box selector are used: that given as `network`, or
            one made of a bare network, `anchors` and the thresholds below.
        matcher: assigns anchors to objects, a MONAI matcher: `monai_smia.victims.matching.IoUMatcher`, or ATSSMatcher,
            which is taken where this is None.
        inferer: a sliding-window inferer for images larger than the windows trained on.
        preprocessing: intensity transforms between the image and the network; the grid must stay as it is.
        score_thresh: decided boxes have at least this score.
        nms_thresh: of two decided boxes of a class that overlap more (IoU), the lower score is dropped.
        max_boxes: most decided boxes of an image.
        found_score: an object counts as found by a box of its class with at least this score
        found_iou: and at least this IoU; a box finds one object.
        loss: ``"ranking"``, an average precision made smooth, by far the strongest in attacks
            (`monai_smia.victims.box_losses`); ``"found"``, a hinge per object at `found_score`; ``"invented"``, the
            number of false boxes made smooth, for attacks that make the detector see things; ``"focal"`` (Lin et al.,
            2017: alpha 0.25, gamma 2) or ``"bce"``, both summed over anchors, plus smooth L1 on the matched anchors,
            divided by their number; or a callable ``(prediction, label) -> (B,)``.
        divergence: distances with the reference in the label's place: ``"focal"`` (cross entropy weighted
            by ``|p - q|^2``), ``"bce"`` (Eq. 3), ``"kl"`` (Eq. 5) or ``"reverse_kl"``, plus the smooth L1 distance of
            the regressed boxes, weighted by how much the reference sees an object there; or a callable
            ``(prediction, reference) -> (B,)``.
        image_key, straight_through, degradation: as for `Victim`.

    Raises:
        ValueError: if an argument is outside its range; in use, if a label does not fit.

    Example:
        >>> from monai.apps.detection.networks.retinanet_network import RetinaNet
        >>> from monai_smia.targets.endoscopy import BoosterPyramid
        >>> pyramid = BoosterPyramid(planes=(8, 8, 16, 16), layers=(1, 1, 1, 1), out_channels=16)
        >>> network = RetinaNet(2, 7, 1, pyramid, size_divisible=64).eval()
        >>> anchors = AnchorGenerator(sizes=((32,), (64,), (128,), (256,)), aspect_ratios=((1.0,),) * 4)
        >>> victim = DetectionVictim(network, anchors=anchors)
        >>> prediction = victim.predict(torch.rand(2, 3, 64, 64))
        >>> none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
        >>> one = {"boxes": torch.tensor([[4.0, 8.0, 40.0, 60.0]]), "labels": torch.tensor([3])}
        >>> victim.loss(prediction, [one, none]).shape
        torch.Size([2])
    """

    losses = {
        "ranking": box_losses.ranking,
        "found": box_losses.found,
        "invented": box_losses.Invented(),
        "focal": box_losses.focal,
        "bce": box_losses.cross_entropy,
    }
    divergences = {
        "focal": box_losses.focal_distance,
        "bce": box_losses.cross_entropy_distance,
        "kl": box_losses.kl_distance,
        "reverse_kl": box_losses.reverse_kl_distance,
    }

    anchors: AnchorGenerator | None = None
    detector: RetinaNetDetector | None = field(default=None, repr=False)
    matcher: Matcher | None = None
    score_thresh: float = 0.05
    nms_thresh: float = 0.5
    max_boxes: int = 100
    found_score: float = 0.3
    found_iou: float = 0.5
    loss: Choice = Choice("ranking")
    divergence: Choice = Choice("focal")

    def __post_init__(self) -> None:
        for name in ("score_thresh", "nms_thresh", "found_score"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}.")
        if not 0 < self.found_iou <= 1:
            raise ValueError(f"found_iou must lie in (0, 1], got {self.found_iou}.")
        if isinstance(self.network, RetinaNetDetector):
            self.detector, self.anchors = self.network, None
            self.inferer = self.inferer or self.detector.inferer
            self.network = self.detector.network
        elif self.anchors is not None:
            self.detector = RetinaNetDetector(self.network, self.anchors)
            self.detector.set_box_selector_parameters(self.score_thresh, 1000, self.nms_thresh, self.max_boxes)
        elif self.detector is None:
            raise ValueError(
                "anchors must be given for a bare network: MONAI's AnchorGenerator that it was trained with."
            )
        self.matcher = self.matcher or ATSSMatcher(center_in_gt=False)
        super().__post_init__()

    @property
    def output(self) -> DetectorOutput:
        """The output layer: the meaning of the head maps."""
        assert self.detector is not None
        assert self.matcher is not None
        return DetectorOutput(self.detector, self.matcher, self.found_score, self.found_iou)

    # ---- the prediction

    def network_input(self, image: Tensor) -> Tensor:
        """The image as the network is given it: after degradation and preprocessing, on the same grid.

        Raises:
            ValueError: if the preprocessing changes the grid.
        """
        seen = super().network_input(image)
        if seen.shape[2:] != image.shape[2:]:
            raise ValueError(
                f"preprocessing must keep the grid: {tuple(image.shape[2:])} became {tuple(seen.shape[2:])}, and "
                "boxes are not resampled; resize frames where they are loaded."
            )
        return seen

    def forward(self, network_input: Tensor) -> dict[str, Any]:
        """The raw maps of both heads, finest level first, and the sizes that anchors and boxes depend on.

        Args:
            network_input: ``(B, C, *spatial)``.

        Returns:
            The prediction as `DetectorOutput` takes it.
        """
        detector = self.output.detector
        padded, _ = preprocess_images(network_input, detector.spatial_dims, detector.size_divisible)
        inferer: Any = self.inferer  # MONAI's annotation names the sliding window alone; any Inferer will do
        with protected(self.network, padded, windows=inferer is not None) as seen:
            if inferer is None:
                heads = self.network(seen)
            else:
                heads = predict_with_inferer(seen, self.network, keys=[CLASSES, BOXES], inferer=inferer)
        if not isinstance(heads, dict):
            heads = {CLASSES: heads[: len(heads) // 2], BOXES: heads[len(heads) // 2 :]}
        ensure_dict_value_to_list_(heads)
        return {
            CLASSES: heads[CLASSES],
            BOXES: heads[BOXES],
            "image_size": tuple(network_input.shape[2:]),
            "padded_size": tuple(padded.shape[2:]),
        }

    def flat(self, prediction: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits ``(B, A, classes)``, box codes ``(B, A, 2 * dims)`` and anchors ``(A, 2 * dims)`` of all levels."""
        return self.output.flat(prediction)

    def match(self, boxes: Tensor, anchors: Tensor, levels: Sequence[int]) -> Tensor:
        """The object of every anchor ``(A,)``; negative where it is background or does not count."""
        return self.output.match(boxes, anchors, levels)

    # ---- what a dense attack sees

    def dense_scores(self, prediction: Mapping[str, Any]) -> Tensor:
        """Logits of every anchor ``(B, A, classes + 1)``, as `DetectorOutput.dense_scores`."""
        return self.output.dense_scores(prediction)

    def dense_held(self, scores: Tensor, truth: Tensor) -> Tensor:
        """Whether every anchor may still give a box of its true class ``(B, A)``, as `DetectorOutput.dense_held`."""
        return self.output.dense_held(scores, truth)

    def dense_truth(
        self, prediction: Mapping[str, Any], label: Sequence[Boxes], *, iou: float = 0.1, score: float = 0.1
    ) -> Tensor:
        """The class that every anchor proposes rightly ``(B, A)``, as `DetectorOutput.dense_truth`."""
        return self.output.dense_truth(prediction, self.target(label), iou=iou, score=score)

    # ---- the decision

    def decide(self, prediction: Mapping[str, Any]) -> list[dict[str, Tensor]]:
        """The boxes of every image, best first: ``boxes (N, 2 * dims)``, ``labels (N,)`` and ``scores (N,)``."""
        return self.output.decide(prediction)

    def damage(self, prediction: Mapping[str, Any], label: Sequence[Boxes]) -> Tensor:
        """The share of an image's objects no longer found ``(B,)``; without objects, 1 where one is found.

        With a `GoalLoss` as loss it is that loss's, as the share of false boxes of ``"invented"``.
        """
        label = self.target(label)
        self.check_label(prediction, label)
        if isinstance(goal := self.loss.function, GoalLoss):
            return goal.damage(self.output, prediction, label)
        decided = self.decide(prediction)
        return torch.tensor([self.output.missed(d, truth) for d, truth in zip(decided, label, strict=True)])

    # ---- what the attack's machinery asks for

    def as_label(self, label: Any) -> Any:
        """Class numbers of any type as long; of boxes with scores those that count as found."""
        return [self._as_boxes(truth) for truth in label] if isinstance(label, Sequence) else label

    def _as_boxes(self, truth: Any) -> Any:
        if not (isinstance(truth, Mapping) and isinstance(truth.get("boxes"), Tensor) and "labels" in truth):
            return truth
        boxes, labels = truth["boxes"], torch.as_tensor(truth["labels"], device=truth["boxes"].device)
        if not boxes.numel():
            boxes = boxes.reshape(0, 2 * self.output.detector.spatial_dims)
        if not labels.is_floating_point() or bool((labels == labels.round()).all()):
            labels = labels.long()
        scores = truth.get("scores")
        if scores is None or not len(boxes) == len(labels) == len(scores):
            return {"boxes": boxes, "labels": labels}
        return self.output.sure({"boxes": boxes, "labels": labels, "scores": scores})

    def check_label(self, prediction: Mapping[str, Any], label: Any) -> None:
        """Raise a ValueError that names the image and what is wrong with its boxes."""
        label = self.as_label(label)
        if not isinstance(label, Sequence) or len(label) != self.batch_size(prediction):
            got = f"{len(label)} items" if isinstance(label, Sequence) else type(label).__name__
            count = self.batch_size(prediction)
            raise ValueError(f"label must be a list with one dictionary for each of {count} images, got {got}.")
        for number, truth in enumerate(label):
            check_boxes(truth, prediction["image_size"], self.output.detector.num_classes, f"label[{number}]")

    def batch_size(self, prediction: Mapping[str, Any]) -> int:
        """Number of images."""
        return len(prediction[CLASSES][0])

    def detach(self, prediction: Mapping[str, Any]) -> dict[str, Any]:
        """The prediction without its graph."""
        heads = {key: [level.detach() for level in prediction[key]] for key in (CLASSES, BOXES)}
        return {**prediction, **heads}

    def select_label(self, label: Sequence[Boxes], index: Tensor) -> list[Boxes]:
        """The labels of some images, by mask or number."""
        numbers = index.nonzero().flatten() if index.dtype == torch.bool else index
        return [label[i] for i in numbers.tolist()]
