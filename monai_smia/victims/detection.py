"""Object detectors on anchors, 2-D and 3-D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from monai.apps.detection.utils.ATSS_matcher import ATSSMatcher, Matcher
from monai.apps.detection.utils.detector_utils import preprocess_images
from monai.apps.detection.utils.predict_utils import ensure_dict_value_to_list_, predict_with_inferer
from monai.data.box_utils import box_iou
from monai.inferers import Inferer
from torch import Tensor, nn

from monai_smia.victims import box_losses
from monai_smia.victims.base import PerSample, Victim
from monai_smia.victims.boxes import check_boxes

CLASSES, BOXES = "classification", "box_regression"  # the heads, as RetinaNet names them
Boxes = Mapping[str, Tensor]


class DetectionVictim(Victim):
    """A one-stage detector: the head maps of a RetinaNet, their loss on matched anchors, and the boxes made of them.

    Nothing here needs torchvision, and the network stays in eval mode: anchors are matched and the loss is taken by the
    victim. A label is a list with one dictionary per image, ``{"boxes": (N, 2 * spatial_dims), "labels": (N,)}``, boxes
    as MONAI's detectors take them (all lower corners, then all upper ones, along the image's axes in their order).
    N may be 0: such an image has no object, and all its anchors are background.

    Args:
        network: a MONAI RetinaNet (heads ``{"classification": maps, "box_regression": maps}``), or a
            RetinaNetDetector, whose network, anchors, box coder, box selector and inferer are then used.
        anchors: MONAI's AnchorGenerator, needed for a bare network.
        matcher: assigns anchors to objects, a MONAI matcher: `monai_smia.victims.matching.IoUMatcher`, or ATSSMatcher,
            which is taken where this is None.
        inferer: a sliding-window inferer for images larger than the windows trained on.
        preprocessing: intensity transforms between the image and the network; the grid must stay as it is.
        score_thresh: decided boxes have at least this score.
        nms_thresh: of two decided boxes of a class that overlap more (IoU), the lower score is dropped.
        max_boxes: most decided boxes of an image.
        found_score: an object counts as found by a box of its class with at least this score
        found_iou: and at least this IoU.
        loss: ``"focal"`` (Lin et al., 2017: alpha 0.25, gamma 2) or ``"bce"``, both summed over anchors, plus smooth L1
            on the matched anchors, divided by their number; ``"ranking"``, an average precision made smooth, for
            attacks (`monai_smia.victims.box_losses`); or a callable ``(prediction, label) -> (B,)``.
        divergence: the first two with the reference in the label's place: ``"focal"`` (cross entropy weighted
            by ``|p - q|^2``) or ``"bce"`` (Eq. 3), plus the smooth L1 distance of the regressed boxes, weighted by how
            much the reference sees an object there; or a callable ``(prediction, reference) -> (B,)``.
        image_key: key of the image in dictionary transforms.

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
        "focal": partial(box_losses.detection_loss, focal=True),
        "bce": partial(box_losses.detection_loss, focal=False),
        "ranking": box_losses.ranking,
    }
    divergences = {
        "focal": partial(box_losses.head_distance, focal=True),
        "bce": partial(box_losses.head_distance, focal=False),
    }

    def __init__(
        self,
        network: nn.Module,
        *,
        anchors: AnchorGenerator | None = None,
        matcher: Matcher | None = None,
        inferer: Inferer | None = None,
        score_thresh: float = 0.05,
        nms_thresh: float = 0.5,
        max_boxes: int = 100,
        found_score: float = 0.3,
        found_iou: float = 0.5,
        loss: str | PerSample = "focal",
        divergence: str | PerSample = "focal",
        **options: Any,
    ) -> None:
        for name, share in (("score_thresh", score_thresh), ("nms_thresh", nms_thresh), ("found_score", found_score)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {share}.")
        if not 0 < found_iou <= 1:
            raise ValueError(f"found_iou must lie in (0, 1], got {found_iou}.")
        if isinstance(network, RetinaNetDetector):
            detector = network
            inferer = inferer or detector.inferer
        elif anchors is None:
            raise ValueError(
                "anchors must be given for a bare network: MONAI's AnchorGenerator that it was trained with."
            )
        else:
            detector = RetinaNetDetector(network, anchors)
            detector.set_box_selector_parameters(score_thresh, 1000, nms_thresh, max_boxes)
        super().__init__(detector.network, inferer=inferer, loss=loss, divergence=divergence, **options)
        self.detector = detector
        self.matcher = matcher or ATSSMatcher(center_in_gt=False)
        self.found_score = found_score
        self.found_iou = found_iou

    # ---- the prediction

    def predict(self, image: Tensor) -> dict[str, Any]:
        """The raw maps of both heads, finest level first, and the sizes that anchors and boxes depend on.

        Args:
            image: ``(B, C, *spatial)``.

        Returns:
            ``classification``: logits ``(B, anchors * classes, *level)`` per level; ``box_regression``:
            ``(B, anchors * 2 * spatial_dims, *level)``; ``image_size``, and ``padded_size`` as the network saw it.
        """
        size = tuple(image.shape[2:])
        if self.preprocessing is not None:
            image = (self._frozen or self._freeze(image))(image)
            if tuple(image.shape[2:]) != size:
                raise ValueError(
                    f"preprocessing must keep the grid: {size} became {tuple(image.shape[2:])}, and "
                    "boxes are not resampled; resize frames where they are loaded."
                )
        padded, _ = preprocess_images(image, self.detector.spatial_dims, self.detector.size_divisible)
        if self.inferer is None:
            heads = self.network(padded)
            if not isinstance(heads, dict):
                heads = {CLASSES: heads[: len(heads) // 2], BOXES: heads[len(heads) // 2 :]}
            ensure_dict_value_to_list_(heads)
        else:
            heads = predict_with_inferer(padded, self.network, keys=[CLASSES, BOXES], inferer=self.inferer)  # type: ignore[arg-type]
        return {
            CLASSES: heads[CLASSES],
            BOXES: heads[BOXES],
            "image_size": size,
            "padded_size": tuple(padded.shape[2:]),
        }

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

    # ---- what a dense attack sees

    def dense_scores(self, prediction: Mapping[str, Any]) -> Tensor:
        """Logits of every anchor ``(B, A, classes + 1)``; the last is the background's, the score that no decided box
        is below (a constant: a detector of independent classes has no background of its own)."""
        logits, _, _ = self.flat(prediction)
        background = torch.tensor(self.detector.box_selector.score_thresh).logit().to(logits)
        return torch.cat([logits, background.expand(*logits.shape[:2], 1)], 2)

    def dense_held(self, scores: Tensor, truth: Tensor) -> Tensor:
        """Whether every anchor may still give a box of its true class ``(B, A)``, by `dense_scores` and `dense_truth`:
        classes are independent, and another one of a higher score does not keep it from that."""
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
                classes = truth["labels"].to(anchors.device)[nearest]
                sure = logit.sigmoid().gather(1, classes[:, None])[:, 0] > score
                proposed = torch.where((overlap > iou) & sure, classes, proposed)
            truths.append(proposed)
        return torch.stack(truths)

    # ---- the decision

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

    def damage(self, prediction: Mapping[str, Any], label: Sequence[Boxes]) -> Tensor:
        """The share of an image's objects no longer found ``(B,)``; without objects, 1 where one is found."""
        return torch.tensor([self._missed(d, truth) for d, truth in zip(self.decide(prediction), label, strict=True)])

    def _missed(self, decision: Boxes, truth: Boxes) -> float:
        sure = decision["scores"] >= self.found_score
        if not len(truth["boxes"]):
            return float(sure.any())
        if not bool(sure.any()):
            return 1.0
        boxes, classes = truth["boxes"].to(decision["boxes"]), truth["labels"].to(decision["labels"])
        hit = torch.as_tensor(box_iou(boxes, decision["boxes"][sure])) >= self.found_iou
        hit &= classes[:, None] == decision["labels"][sure][None]
        return 1 - float(hit.any(1).float().mean())

    # ---- what the attack's machinery asks for

    def check_label(self, prediction: Mapping[str, Any], label: Any) -> None:
        """Raise a ValueError that names the image and what is wrong with its boxes."""
        if not isinstance(label, Sequence) or len(label) != self.batch_size(prediction):
            got = f"{len(label)} items" if isinstance(label, Sequence) else type(label).__name__
            count = self.batch_size(prediction)
            raise ValueError(f"label must be a list with one dictionary for each of {count} images, got {got}.")
        for number, truth in enumerate(label):
            check_boxes(truth, prediction["image_size"], self.detector.num_classes, f"label[{number}]")

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
