"""One window of one image through a network, before anything is computed: does it fit, and what does it return?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

from monai_smia.adapters.case_files import FileLoading
from monai_smia.adapters.monai_bundle.arguments import check_choice
from monai_smia.adapters.monai_bundle.decisions import DecisionRule, are_probabilities
from monai_smia.evaluation.errors import told_by
from monai_smia.victims.base import Victim
from monai_smia.victims.gate import check_prediction
from monai_smia.victims.preprocessing import as_plain

CHANNELS = re.compile(r"to have (\d+) channels, but got (\d+) channels")
KINDS = ("softmax", "sigmoid")


def first_that_loads(cases: Sequence[Mapping[str, Any]], loading: FileLoading) -> tuple[str, Tensor]:
    """The first case that can be loaded, and its image; a broken file is for the evaluation to name.

    Raises:
        ValueError: that says what stops the first case, if none can.
    """
    errors: list[str] = []
    for item in cases:
        try:
            return str(item["case"]), loading(item)["image"]
        except Exception as error:  # whatever a loader raises
            errors.append(f"{item['case']}: {told_by(error)}")
    raise ValueError(errors[0])


def one_window(victim: Victim, image: Tensor, device: torch.device, name: str) -> tuple[Tensor, Tensor]:
    """What a network is given of an image, one window of it, and what it returns.

    Args:
        victim: network, window and preprocessing.
        image: of a case ``(C, *spatial)``.
        device: of the network.
        name: of the model's file.

    Raises:
        ValueError: if the network does not take it, or what it returns is no prediction; a sentence says why.
    """
    batch = image.to(device)[None].float()
    with torch.no_grad(), victim.frozen():
        bound = victim._bound_to(batch)
        seen = bound.network_input(as_plain(batch))
        if isinstance(victim.inferer, SlidingWindowInferer):
            seen = _window(seen, victim.inferer.roi_size)
        try:
            raw = victim.network(seen)
        except ValueError:
            raise
        except Exception as error:  # of any network
            raise ValueError(_sentence(error, seen, name)) from error
    check_prediction(raw)
    return seen, raw


def _window(seen: Tensor, roi: Any) -> Tensor:
    """One window in the middle, padded where the image is smaller, as MONAI's inferer does."""
    sizes = [roi] * (seen.ndim - 2) if isinstance(roi, int) else list(roi)
    if len(sizes) != seen.ndim - 2:
        raise ValueError(f"roi must have a size for each of the image's {seen.ndim - 2} axes, got {sizes}.")
    for axis, size in enumerate(sizes, 2):
        if seen.shape[axis] < size:
            short = size - seen.shape[axis]
            padding = [0, 0] * (seen.ndim - 1 - axis) + [short // 2, short - short // 2]
            seen = nn.functional.pad(seen, padding)
        seen = seen.narrow(axis, (seen.shape[axis] - size) // 2, size)
    return seen


def _sentence(error: Exception, seen: Tensor, name: str) -> str:
    """What a network says of an image that it does not take, in a sentence."""
    text = " ".join(str(error).split())
    shape = " x ".join(map(str, seen.shape))
    if found := CHANNELS.search(text):
        return f"{name} takes images of {found[1]} channels, and they have {found[2]} (it was given {shape})."
    text = text.rpartition("RuntimeError: ")[2][-300:].rstrip(".")  # behind the places that TorchScript was traced at
    return (
        f"{name} does not take what it was given, {shape} (batch, channels, axes): {text}. Is it another size of "
        "window (roi), another number of axes or channels?"
    )


def rule_of_file(
    task: str, seen: Tensor, raw: Tensor, *, activation: str | None, returns: str | None, name: str
) -> DecisionRule:
    """How a network is decided, of which nothing is known but one answer.

    Args:
        task: ``"segmentation"`` or ``"classification"``.
        seen: what it was given ``(1, C, *spatial)``.
        raw: what it returned.
        activation: ``"softmax"``, ``"sigmoid"``, or None: softmax where there are several channels.
        returns: ``"logits"``, ``"probabilities"``, or None to tell it from the answer.
        name: of its file.

    Raises:
        ValueError: if the answer is none of that task.
    """
    shape = tuple(raw.shape)
    if task == "classification" and raw.ndim != 2:
        raise ValueError(f"{name} must return scores (batch, classes) of a classification, got shape {shape}.")
    if task == "segmentation" and shape[2:] != tuple(seen.shape[2:]):
        raise ValueError(
            f"{name} must return scores (batch, classes, ...) on the grid of what it was given, "
            f"{tuple(seen.shape)}, got shape {shape}."
        )
    check_choice("activation", activation, (*KINDS, None))
    check_choice("returns", returns, ("logits", "probabilities", None))
    kind = activation or ("softmax" if shape[1] > 1 else "sigmoid")
    if kind == "softmax" and shape[1] == 1:
        raise ValueError(f"activation must be sigmoid: {name} returns one channel, of which a softmax is always 1.")
    inside = are_probabilities(raw, kind) if returns is None else returns == "probabilities"
    if inside and not are_probabilities(raw, kind):
        raise ValueError(f"returns must be logits: {name} returned values that no {kind} returns.")
    return DecisionRule(kind, shape[1], probabilities=inside, activated=not inside)
