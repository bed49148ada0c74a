"""Decisions and truth as they come out of a bundle's evaluator, as a judge takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_smia.adapters.monai_bundle.boxes import BoxKeys, decided_boxes, true_boxes
from monai_smia.adapters.monai_bundle.decisions import DecisionRule
from monai_smia.adapters.monai_bundle.engine import Iteration
from monai_smia.adapters.monai_bundle.grids import affine_of
from monai_smia.adapters.monai_bundle.numbers import NumberRule
from monai_smia.victims.gate import check_same_grid
from monai_smia.victims.preprocessing import as_plain

LABEL = "label"  # where MONAI's engines put a label, and look for one


@dataclass(frozen=True)
class Decided:
    """A decision and its truth.

    Args:
        prediction: a batch of one that the judge decides alike.
        truth: a batch of one; None where items have no label.
        affine: of the decision's grid; None where it is not known.
    """

    prediction: Any
    truth: Any
    affine: Tensor | None


def decided_boxes_of(iteration: Iteration, keys: BoxKeys, label_key: str | None) -> Decided:
    """The boxes of an iteration, with the true ones where there is a label."""
    truth = None if label_key is None else [true_boxes(iteration, keys)]
    return Decided([decided_boxes(iteration, keys)], truth, None)


def decided_of(iteration: Iteration, rule: DecisionRule | NumberRule, task: str, label_key: str | None) -> Decided:
    """The decision of an iteration, with its truth.

    Args:
        iteration: of the evaluator.
        rule: how postprocessing decides.
        task: ``"segmentation"``, ``"classification"`` or ``"regression"``.
        label_key: key of the label; None where there is none.

    Raises:
        ValueError: if postprocessing leaves no prediction, or leaves it and the label on different grids.
    """
    if "pred" not in iteration.output:
        raise ValueError(f"postprocessing must leave 'pred', got {sorted(map(str, iteration.output))}.")
    pred = iteration.output["pred"]
    prediction, affine = rule.decided(pred, partly=iteration.around_points), affine_of(pred)
    if isinstance(rule, DecisionRule) and task == "classification":
        prediction = _with_scores(prediction, rule.logits(as_plain(iteration.raw)).to(prediction), rule.activation)
    if label_key is None:
        return Decided(prediction, None, affine)
    label = _label_of(iteration, label_key)
    truth = rule.label(label).to(prediction.device)
    if isinstance(rule, NumberRule):
        return Decided(prediction, truth[None], None)
    if task == "classification":
        return Decided(prediction, truth.reshape((1, -1) if rule.activation == "sigmoid" else (1,)), None)
    if truth.shape[1:] != prediction.shape[2:]:
        raise ValueError(
            f"postprocessing leaves the prediction as {tuple(prediction.shape[2:])} and the label as "
            f"{tuple(truth.shape[1:])}: the bundle does not compare them on one grid; use its evaluate config, or "
            "--attack#unsupervised true."
        )
    return Decided(prediction, truth[None], affine_of(label) if affine is None else affine)


def check_label_grid(iteration: Iteration, label_key: str, image: Any) -> None:
    """Raise where a label that is compared voxel by voxel lies elsewhere than what it is compared with.

    Postprocessing may take a prediction back and leave metadata that do not say so, or none: where its shape is not
    that of the network's grid or it has no affine, a label on the grid of the image's file passes.

    Args:
        iteration: of the evaluator.
        label_key: key of the label.
        image: the item's, behind all transforms.

    Raises:
        ValueError: that names both affines.
    """
    label, pred = _label_of(iteration, label_key), iteration.output["pred"]
    theirs, known = affine_of(label), affine_of(pred)
    ours = affine_of(image) if known is None else known
    if theirs is None or ours is None or label.shape[1:] != pred.shape[1:]:  # other shapes are refused by `decided_of`
        return
    original = image.meta.get("original_affine") if isinstance(image, MetaTensor) else None
    untold = known is None or pred.shape[1:] != image.shape[1:]
    if untold and original is not None and torch.allclose(theirs, torch.as_tensor(original).cpu().double(), atol=1e-3):
        return
    check_same_grid(*(MetaTensor(as_plain(t), affine=affine) for t, affine in ((pred, ours), (label, theirs))))


def _label_of(iteration: Iteration, label_key: str) -> Any:
    label = iteration.output.get(LABEL)
    if label is None or (label_key != LABEL and LABEL in iteration.batch):  # which MONAI takes, and is another one
        label = iteration.batch.get(label_key)
    if label is None:
        raise ValueError(f"the evaluator must keep the label {label_key!r}, got {sorted(map(str, iteration.batch))}.")
    return label


def _with_scores(decided: Tensor, raw: Tensor, activation: str) -> Tensor:
    """The network's own values where they decide as postprocessing does: a decision alone has no rank among cases."""
    same = (raw > 0) == (decided > 0) if activation == "sigmoid" else raw.argmax(1) == decided.argmax(1)
    return raw if bool(same.all()) else decided
