"""Networks that return several outputs: which one decides, told from the bundle's own decision, or by its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_smia.adapters.monai_bundle.decisions import DecisionRule, rule_of
from monai_smia.adapters.monai_bundle.instances import decided_nuclei, nuclei_maps
from monai_smia.victims.preprocessing import as_plain

PRED = "pred"  # where MONAI's engines put a prediction
ALIKE = 0.95  # of voxels that an output must decide as the bundle does, to be the one that it goes by


def outputs_of(raw: Any, path: str = "") -> dict[str, Tensor]:
    """The tensors of a prediction by their keys: names and numbers, with a dot between where they are nested.

    Example:
        >>> list(outputs_of({"seg": torch.zeros(1), "deep": [torch.zeros(1), torch.zeros(1)]}))
        ['seg', 'deep.0', 'deep.1']
    """
    if isinstance(raw, Tensor):
        return {path: raw}
    pairs: Any = raw.items() if isinstance(raw, Mapping) else enumerate(raw) if _is_list(raw) else ()
    return {
        name: tensor for key, value in pairs for name, tensor in outputs_of(value, f"{path}.{key}".lstrip(".")).items()
    }


def selected(raw: Any, key: str | None) -> Any:
    """One of a prediction's tensors; a prediction that is a tensor is that, whatever the key.

    Raises:
        ValueError: if it has none of that key; those that it has are named.
    """
    if isinstance(raw, Tensor) or key is None:
        return raw
    found = outputs_of(raw)
    if key not in found:
        raise ValueError(f"output_key must name an output of the network, got {key!r}: there are {_told(found, raw)}.")
    return found[key]


class SelectedOutput(nn.Module):
    """A network that returns one of the outputs of another.

    Args:
        network: returns several.
        key: of `outputs_of`.
    """

    def __init__(self, network: nn.Module, key: str) -> None:
        super().__init__()
        self.network, self.key = network, key

    def forward(self, image: Tensor) -> Tensor:
        """The output of that key."""
        found: Tensor = selected(self.network(image), self.key)
        return found


def with_decision(
    output: Mapping[Any, Any], raw: Any, key: str | None, postprocessing: Sequence[Any] = ()
) -> Mapping[Any, Any]:
    """What an evaluator's postprocessing leaves, with the decision on one output where others put a prediction.

    Args:
        output: of the postprocessing, for one item.
        raw: what the inferer returned, a batch of one.
        key: of the output that counts; None where there is one alone.
        postprocessing: of the evaluator, which may have made a map of it.
    """
    if key is None or isinstance(output.get(PRED), Tensor):
        return output
    if (nuclei := decided_nuclei(output, key, postprocessing)) is not None:
        return {**output, PRED: nuclei}
    found = outputs_of(output.get(PRED, ()))
    if key in found:
        return {**output, PRED: found[key]}
    return {**output, PRED: output[key] if isinstance(output.get(key), Tensor) else selected(raw, key)[0]}


def deciding_output(first: Any, postprocessing: Sequence[Any], activation: str | None) -> str | None:
    """The key of the output that a bundle decides by: that which decides as the bundle does on a case.

    Where it makes instances of several outputs, it is the one that they are cut out of.

    Args:
        first: what its evaluator made of a case.
        postprocessing: of the evaluator.
        activation: ``"softmax"`` or ``"sigmoid"``, where the owner says it.

    Returns:
        None where the network returns a tensor.

    Raises:
        ValueError: if none of its outputs decides alike.
    """
    if isinstance(first.raw, Tensor):
        return None
    found, pred = outputs_of(first.raw), first.output.get(PRED)
    if (cut := next((key for key in nuclei_maps(postprocessing) if key in found), None)) is not None:
        return cut
    shares = {
        name: _agreement(tensor, pred, postprocessing, activation)
        for name, tensor in found.items()
        if tensor.ndim >= 2 and isinstance(pred, Tensor)
    }
    best = max(shares, key=lambda name: shares[name], default=None)
    if best is None or shares[best] < ALIKE:
        raise ValueError(
            "the network must predict a tensor, or one of several that decides as the bundle does: there are "
            f"{_told(found, first.raw)}. Say which it goes by with --attack#output_key; a detector must be a MONAI "
            "RetinaNetDetector that the evaluator or its inferer holds."
        )
    return best


def task_of(first: Any) -> str:
    """``"classification"`` or ``"segmentation"``, by what a network predicts of a case.

    Args:
        first: what its evaluator made of a case.

    Raises:
        ValueError: if it predicts neither one vector an image nor a map of the image's axes.
    """
    if first.raw.ndim == 2:
        return "classification"
    if first.raw.ndim == first.seen.ndim:
        return "segmentation"
    raise ValueError(
        f"the network must predict classes, (B, K), or a map of them with the axes of the image, got "
        f"{tuple(first.raw.shape)} of an image {tuple(first.seen.shape)}: where these are numbers, such as landmarks, "
        "say so with --attack#task regression and --attack#within, the error up to which one counts as right; where it "
        "has several outputs, say which counts with --attack#output_key."
    )


def _agreement(tensor: Tensor, pred: Any, postprocessing: Sequence[Any], activation: str | None) -> float:
    """The share of voxels that an output would decide as the bundle has; 0 where they cannot be compared."""
    try:
        rule = rule_of(postprocessing, tensor, activation)
        theirs, ours = _decision(rule.decided(pred), rule), _decision(rule.logits(as_plain(tensor)), rule)
        if ours.shape != theirs.shape:
            return 0.0
        return float((ours == theirs.to(ours.device)).double().mean())
    except (ValueError, RuntimeError, IndexError):
        return 0.0


def _decision(logits: Tensor, rule: DecisionRule) -> Tensor:
    return torch.as_tensor(logits.argmax(1) if rule.activation == "softmax" else logits > 0)


def _told(found: Mapping[str, Tensor], raw: Any) -> str:
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in found.items()) or type(raw).__name__


def _is_list(raw: Any) -> bool:
    return isinstance(raw, (list, tuple))
