"""Losses and distances of a detector's head maps, image by image ``(B,)``.

Losses take an output layer, the prediction and a label (a list with one dictionary of boxes per image); divergences
take a reference prediction in the label's place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from monai.data.box_utils import box_iou
from torch import Tensor
from torch.nn import functional as F

from monai_smia.victims.choice import GoalLoss
from monai_smia.victims.detector_output import Boxes, DetectorOutput

SCORE_WIDTH, IOU_WIDTH = 0.25, 0.1  # of the sigmoids that stand for "at least this score" and "at least this IoU"
LEAST_RIGHT = 0.1  # guesses less right than this have no precision of their own
SURE = 0.5  # logits below the score that counts, from which on a lost object asks for no more


def focal(output: DetectorOutput, prediction: Mapping[str, Any], label: Sequence[Boxes]) -> Tensor:
    """RetinaNet's loss: focal classification loss and smooth L1 box loss, over the number of matched anchors."""
    return _detection_loss(output, prediction, label, focal=True)


def cross_entropy(output: DetectorOutput, prediction: Mapping[str, Any], label: Sequence[Boxes]) -> Tensor:
    """As `focal`, with the plain cross entropy of independent classes."""
    return _detection_loss(output, prediction, label, focal=False)


def focal_distance(output: DetectorOutput, prediction: Mapping[str, Any], reference: Mapping[str, Any]) -> Tensor:
    """Distance of both heads from a reference's, over the number of objects that the reference sees.

    Cross entropy with the reference's probabilities as target, weighted by ``|p - q|^2``, and the smooth L1 distance
    of the regressed boxes, weighted by how much the reference sees an object there.
    """
    return _head_distance(output, prediction, reference, partial(_soft_cross_entropy, focal=True))


def cross_entropy_distance(
    output: DetectorOutput, prediction: Mapping[str, Any], reference: Mapping[str, Any]
) -> Tensor:
    """As `focal_distance`, with the plain cross entropy (Eq. 3)."""
    return _head_distance(output, prediction, reference, _soft_cross_entropy)


def kl_distance(output: DetectorOutput, prediction: Mapping[str, Any], reference: Mapping[str, Any]) -> Tensor:
    """As `focal_distance`, with KL(prediction || reference) of every class at every anchor (Eq. 5)."""
    return _head_distance(output, prediction, reference, _kl)


def reverse_kl_distance(output: DetectorOutput, prediction: Mapping[str, Any], reference: Mapping[str, Any]) -> Tensor:
    """As `focal_distance`, with KL(reference || prediction) of every class at every anchor."""
    return _head_distance(output, prediction, reference, lambda ours, theirs: _kl(theirs, ours))


def ranking(output: DetectorOutput, prediction: Mapping[str, Any], label: Sequence[Boxes]) -> Tensor:
    """Minus the average precision of an image, made smooth: what mAP counts, for attacks.

    Every class at every anchor is a guess, right where its box overlaps an object of that class by `found_iou`. The
    precision at a guess is the share of right ones among those of at least its score. The sum of it over the right
    guesses, per object, falls where they lose their score, where wrong ones gain, and where boxes go astray; unlike
    cross entropies it falls most where right and wrong are level. (After the AP-loss of Chen et al., CVPR 2019, which
    is piecewise constant and knows scores alone.) With no right guess, one of the score `found_score` stands in.
    """
    logits, codes, anchors = output.flat(prediction)
    values = []
    for logit, code, truth in zip(logits, codes, label, strict=True):
        score, right = logit.flatten(), _rightness(output, logit, code, anchors, truth).flatten()
        there = right.detach() > LEAST_RIGHT
        if not bool(there.any()):
            score = torch.cat([score, torch.tensor([output.found_score]).logit(1e-6).to(score)])
            right = torch.cat([right, right.new_ones(1)])
            there = torch.cat([there, there.new_ones(1)])
        level = ((score - score[there, None]) / SCORE_WIDTH).sigmoid()
        precision = (level @ right + 0.5 * right[there]) / (level.sum(1) + 0.5)  # the other half of itself
        values.append(-(right[there] * precision).sum() / max(len(truth["boxes"]), 1))
    return torch.stack(values)


def found(output: DetectorOutput, prediction: Mapping[str, Any], label: Sequence[Boxes]) -> Tensor:
    """Minus how surely every object is found, summed over those that still are: a hinge at the deployed threshold.

    An anchor finds an object as far as the logit of the object's class lies above that of `found_score`, less what its
    box lacks of `found_iou`; an object is found by the best of its anchors, made smooth. Unlike in `ranking` nothing is
    spent on objects already lost, nor on wrong boxes.
    """
    logits, codes, anchors = output.flat(prediction)
    least, values = torch.tensor(output.found_score).logit(1e-6).to(logits), []
    for logit, code, truth in zip(logits, codes, label, strict=True):
        boxes = output.detector.box_coder.decode_single(code, anchors)
        overlap = torch.as_tensor(box_iou(truth["boxes"].to(boxes), boxes))  # (N, A)
        above = logit[:, truth["labels"].to(logit.device).long()].T - least
        surely = (above + F.logsigmoid((overlap - output.found_iou) / IOU_WIDTH)) / SCORE_WIDTH
        values.append(-(SCORE_WIDTH * surely.logsumexp(1)).clamp_min(-SURE).sum() + logit.sum() * 0)  # hangs on it
    return torch.stack(values)


@dataclass(frozen=True)
class Invented(GoalLoss):
    """How many guesses that find no object count, made smooth: the goal of an attack that makes a detector see things.

    A guess, a class at an anchor, counts from a score of `found_score` on.
    """

    def __call__(self, output: DetectorOutput, prediction: Mapping[str, Any], target: Sequence[Boxes]) -> Tensor:
        """One value per image ``(B,)``."""
        logits, codes, anchors = output.flat(prediction)
        least, values = torch.tensor(output.found_score).logit(1e-6).to(logits), []
        for logit, code, truth in zip(logits, codes, target, strict=True):
            wrong = 1 - _rightness(output, logit, code, anchors, truth)
            values.append((wrong * ((logit - least) / SCORE_WIDTH).sigmoid()).sum())
        return torch.stack(values)

    def damage(self, output: DetectorOutput, prediction: Mapping[str, Any], target: Sequence[Boxes]) -> Tensor:
        """The share of an image's decided boxes that find no object ``(B,)``; 0 where there is no box."""
        pairs = zip(output.decide(prediction), target, strict=True)
        return torch.tensor([output.invented(decided, truth) for decided, truth in pairs])


def _detection_loss(
    output: DetectorOutput, prediction: Mapping[str, Any], label: Sequence[Boxes], *, focal: bool
) -> Tensor:
    logits, codes, anchors = output.flat(prediction)
    levels = [level[0, 0].numel() for level in prediction["classification"]]
    values = []
    for logit, code, truth in zip(logits, codes, label, strict=True):
        boxes, classes = truth["boxes"].to(anchors), truth["labels"].to(anchors.device).long()
        matched = output.match(boxes, anchors, levels)
        hit = matched >= 0
        target = torch.zeros_like(logit)
        target[hit, classes[matched[hit]]] = 1
        counted = matched != output.matcher.BETWEEN_THRESHOLDS
        loss = _cross_entropy(logit[counted], target[counted], focal).sum()
        if bool(hit.any()):
            aim = output.detector.box_coder.encode_single(boxes[matched[hit]], anchors[hit])
            loss = loss + F.smooth_l1_loss(code[hit], aim, beta=1 / 9, reduction="sum")
        values.append(loss / hit.sum().clamp_min(1))
    return torch.stack(values)


def _head_distance(
    output: DetectorOutput,
    prediction: Mapping[str, Any],
    reference: Mapping[str, Any],
    of_logits: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    logits, codes, _ = output.flat(prediction)
    soft, aim, _ = output.flat(reference)
    seen = soft.detach().sigmoid().amax(2)  # how much an object is there; a weight, not to be pushed
    distance = of_logits(logits, soft).sum((1, 2))
    regression = F.smooth_l1_loss(codes, aim, beta=1 / 9, reduction="none").sum(2)
    return (distance + (seen * regression).sum(1)) / seen.sum(1).clamp_min(1)


def _soft_cross_entropy(logits: Tensor, reference: Tensor, focal: bool = False) -> Tensor:
    return _cross_entropy(logits, reference.sigmoid(), focal)


def _kl(logits: Tensor, reference: Tensor) -> Tensor:
    """KL(prediction || reference) of independent classes, from logits, which do not saturate."""
    return _soft_cross_entropy(reference, logits) - _soft_cross_entropy(logits, logits)


def _rightness(output: DetectorOutput, logit: Tensor, code: Tensor, anchors: Tensor, truth: Boxes) -> Tensor:
    """Rightness of every class at every anchor ``(A, classes)``, in [0, 1]."""
    found = output.detector.box_coder.decode_single(code, anchors)
    overlap = torch.as_tensor(box_iou(truth["boxes"].to(found), found))
    share = ((overlap - output.found_iou) / IOU_WIDTH).sigmoid()
    right = [logit.new_zeros(len(logit))] * logit.shape[1]
    for number, row in zip(truth["labels"].long().tolist(), share, strict=True):
        right[number] = torch.maximum(right[number], row)
    return torch.stack(right, 1)


def _cross_entropy(logits: Tensor, target: Tensor, focal: bool) -> Tensor:
    """Cross entropy of independent classes, soft targets allowed; focal: what is clear already counts little."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if not focal:
        return loss
    balance = 0.25 * target + 0.75 * (1 - target)
    return balance * (logits.sigmoid() - target).square() * loss
