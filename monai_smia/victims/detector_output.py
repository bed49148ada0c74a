"""The output layer of a detector: anchors, the objects that they stand for, and the boxes made of the head maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.ATSS_matcher import Matcher
from monai.data.box_utils import box_iou
from torch import Tensor

from monai_smia.metrics.boxes import found_and_invented

CLASSES, BOXES = "classification", "box_regression"  # the heads, as RetinaNet names them
Boxes = Mapping[str, Tensor]


@dataclass(frozen=True)
class DetectorOutput:
    """The output layer of a one-stage detector, which losses and decisions are taken by.

    A prediction holds ``classification``: logits ``(B, anchors * classes, *level)`` per level; ``box_regression``:
    ``(B, anchors * 2 * spatial_dims, *level)``; ``image_size``, and ``padded_size`` as the network saw it.

    Args:
        detector: its anchors, box coder and box selector.
        matcher: assigns anchors to objects.
        found_score: an object counts as found by a box of its class with at least this score
        found_iou: and at least this IoU.

    Example:
        >>> from monai.apps.detection.networks.retinanet_network import RetinaNet
        >>> from monai.apps.detection.utils.anchor_utils import AnchorGenerator
        >>> from monai_smia.targets.endoscopy import BoosterPyramid
        >>> from monai_smia.victims import DetectionVictim
        >>> pyramid = BoosterPyramid(planes=(8, 8, 16, 16), layers=(1, 1, 1, 1), out_channels=16)
        >>> network = RetinaNet(2, 7, 1, pyramid, size_divisible=64).eval()
        >>> anchors = AnchorGenerator(sizes=((32,), (64,), (128,), (256,)), aspect_ratios=((1.0,),) * 4)
        >>> victim = DetectionVictim(network, anchors=anchors)
        >>> logits, codes, anchors = victim.output.flat(victim.predict(torch.rand(2, 3, 64, 64)))
        >>> logits.shape, codes.shape, anchors.shape  # 64 + 16 + 4 + 1 anchors
        (torch.Size([2, 85, 7]), torch.Size([2, 85, 4]), torch.Size([85, 4]))
    """

    detector: RetinaNetDetector
    matcher: Matcher
    found_score: float = 0.3
    found_iou: float = 0.5

    def flat(self, prediction: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits ``(B, A, classes)``, box codes ``(B, A, 2 * dims)`` and anchors ``(A, 2 * dims)`` of all levels."""
        logits, codes = (self.detector._reshape_maps(prediction[key]) for key in (CLASSES, BOXES))
        maps = prediction[CLASSES]
        frame = maps[0].new_empty((1, 1, *prediction["padded_size"]))
        anchors = self.detector.anchor_generator(frame, maps)[0]
        return logits, codes, anchors

    @torch.no_grad()
    def match(self, boxes: Tensor, anchors: Tensor, levels: Sequence[int]) -> Tensor:
        """The object of every anchor ``(A,)``; negative where it is background or does not count."""
        _, matched = self.matcher(boxes, anchors, levels, self.detector.num_anchors_per_loc)
        return matched.to(anchors.device)

    def dense_scores(self, prediction: Mapping[str, Any]) -> Tensor:
        """Logits of every anchor ``(B, A, classes + 1)``, the last the background's.

        The background's is the score that no decided box is below, a constant: a detector of independent classes has
        no background of its own.
        """
        logits, _, _ = self.flat(prediction)
        background = torch.tensor(self.detector.box_selector.score_thresh).logit().to(logits)
        return torch.cat([logits, background.expand(*logits.shape[:2], 1)], 2)

    def dense_held(self, scores: Tensor, truth: Tensor) -> Tensor:
        """Whether every anchor may still give a box of its true class ``(B, A)``, by `dense_scores` and `dense_truth`.

        Classes are independent, and another one of a higher score does not keep it from that.
        """
        own = scores.gather(2, truth.clamp_min(0)[..., None])[..., 0]
        return (own > scores[..., -1]) & (truth >= 0)

    @torch.no_grad()
    def dense_truth(
        self, prediction: Mapping[str, Any], label: Sequence[Boxes], *, iou: float = 0.1, score: float = 0.1
    ) -> Tensor:
        """The class that every anchor proposes rightly ``(B, A)``, -1 for the others.

        A proposal is an anchor whose predicted box overlaps an object by more than `iou` and gives its class more than
        `score`; of several objects the one of most overlap counts.
        """
        logits, codes, anchors = self.flat(prediction)
        truths = []
        for logit, code, truth in zip(logits, codes, label, strict=True):
            proposed = torch.full((len(anchors),), -1, device=anchors.device)
            if len(truth["boxes"]):
                boxes = self.detector.box_coder.decode_single(code, anchors)
                overlap, nearest = torch.as_tensor(box_iou(truth["boxes"].to(boxes), boxes)).max(0)
                classes = truth["labels"].to(anchors.device).long()[nearest]
                sure = logit.sigmoid().gather(1, classes[:, None])[:, 0] > score
                proposed = torch.where((overlap > iou) & sure, classes, proposed)
            truths.append(proposed)
        return torch.stack(truths)

    @torch.no_grad()
    def decide(self, prediction: Mapping[str, Any]) -> list[dict[str, Tensor]]:
        """The boxes of every image, best first: ``boxes (N, 2 * dims)``, ``labels (N,)`` and ``scores (N,)``."""
        logits, codes, anchors = self.flat(prediction)
        found = self.detector.postprocess_detections(
            {CLASSES: logits, BOXES: codes},
            [anchors] * len(logits),
            [list(prediction["image_size"])] * len(logits),
            [level[0, 0].numel() for level in prediction[CLASSES]],
        )
        keys = {self.detector.target_box_key: "boxes", self.detector.target_label_key: "labels"}
        keys[self.detector.pred_score_key] = "scores"
        return [{ours: image[theirs] for theirs, ours in keys.items()} for image in found]

    def missed(self, decision: Boxes, truth: Boxes) -> float:
        """The share of an image's objects that its decided boxes do not find; without objects, 1 where one is found.

        A box finds one object, and an object is found by one box, as COCO matches them.
        """
        sure = self.sure(decision)
        if not len(truth["boxes"]):
            return float(len(sure["boxes"]) > 0)
        found, _ = found_and_invented(sure, truth, self.found_iou)
        return 1 - found / len(truth["boxes"])

    def invented(self, decision: Boxes, truth: Boxes) -> float:
        """The share of an image's decided boxes that find no object; 0 where there is no box."""
        sure = self.sure(decision)
        _, false = found_and_invented(sure, truth, self.found_iou)
        return false / max(len(sure["boxes"]), 1)

    def sure(self, boxes: Boxes) -> dict[str, Tensor]:
        """Of boxes with scores those that count as found."""
        kept = boxes["scores"] >= self.found_score
        return {key: boxes[key][kept] for key in ("boxes", "labels", "scores")}
