"""Names of the classes that a bundle's figures are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai_smia.adapters.monai_bundle.builder import BundleBuilder
from monai_smia.metrics import CaseMetrics, channel_names

OBJECT = "object"  # what points alone are of


def named_metrics(
    builder: BundleBuilder, class_names: Sequence[str] | None, metadata: Mapping[str, Any] | None
) -> tuple[CaseMetrics, str]:
    """The metrics, with the names of classes, and why these have none where they have none.

    Args:
        builder: of the bundle.
        class_names: that the user gives; None for those of the metadata.
        metadata: of the bundle; None where nobody has read them.
    """
    if class_names is None and builder.rule is not None and builder.rule.prompts:
        return builder.metrics(prompt_names(builder.rule.prompts, builder.of_classes, metadata)), ""
    if class_names is not None or builder.task != "segmentation" or not metadata:
        return builder.metrics(class_names), ""
    try:
        return builder.metrics(channel_names(metadata, builder.rule.channels if builder.rule else 0)), ""
    except ValueError as error:
        return builder.metrics(), f"Classes go by their numbers: {error}"


def prompt_names(prompts: Sequence[int], named: bool, metadata: Mapping[str, Any] | None) -> list[str]:
    """What the classes of a prompted network are called, the background first.

    Args:
        prompts: their numbers.
        named: whether it is prompted with classes, and not with points alone.
        metadata: of the bundle, whose ``channel_def`` of the first output may name them.

    Example:
        >>> outputs = {"pred": {"channel_def": {"0": "background", "1": "liver", "3": "spleen"}}}
        >>> prompt_names([3, 7], True, {"network_data_format": {"outputs": outputs}})
        ['background', 'spleen', '7']
    """
    if not named:
        return ["background", OBJECT]
    outputs: Mapping[str, Any] = (metadata or {}).get("network_data_format", {}).get("outputs", {})
    first: Mapping[str, Any] = next(iter(outputs.values()), {})
    known = first.get("channel_def", {})
    return ["background", *(str(known.get(str(number), number)) for number in prompts)]
