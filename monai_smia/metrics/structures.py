"""Metrics of single structures: the names of classes, and which structure a metric's name is of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

MARK = "jaccard_"  # every structure has one
ENDS = ("low", "high")  # of the names of an interval's ends


def structures_of(names: Iterable[str]) -> list[str]:
    """The structures that metrics of a segmentation are said of, told from the metrics' names.

    Example:
        >>> structures_of(["jaccard", "dice", "jaccard_left lung", "dice_left lung"])
        ['left lung']
    """
    return [name.removeprefix(MARK) for name in names if name.startswith(MARK)]


def structure_of(name: str, structures: Iterable[str]) -> str | None:
    """The structure that a metric is of, the longest that fits; None where it is of all of them.

    Example:
        >>> structure_of("hd95_left_lung", ["lung", "left_lung"]), structure_of("hd95", ["lung"])
        ('left_lung', None)
    """
    return max((each for each in structures if name.endswith(f"_{each}")), key=len, default=None)


def check_class_names(names: Sequence[str], plain: Iterable[str]) -> None:
    """Raise a ValueError where names of classes are no names, or would be taken for something else.

    Args:
        names: one for each class.
        plain: metrics that are of all classes together.
    """
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"class_names must be names, got {name!r} among {list(names)}.")
        if name.rpartition("_")[2] in ENDS or any(metric.endswith(f"_{name}") for metric in plain):
            raise ValueError(f"class_names must not end as a metric's name or its interval's does, got {name!r}.")
    if len(set(names)) < len(names):
        raise ValueError(f"class_names must be different from each other, got {list(names)}.")


def channel_names(metadata: Mapping[str, Any] | str | os.PathLike[str], channels: int) -> list[str]:
    """What a bundle's metadata call the channels of its network's first output.

    Args:
        metadata: of a bundle, or the path of its ``metadata.json``.
        channels: how many the network has.

    Returns:
        ``network_data_format`` / ``outputs`` / ``channel_def``, in the order of the channels.

    Raises:
        ValueError: if there is none, or it is not of as many channels.

    Example:
        >>> outputs = {"pred": {"channel_def": {"0": "other", "1": "lung"}}}
        >>> channel_names({"network_data_format": {"outputs": outputs}}, 2)
        ['other', 'lung']
    """
    read: Any = metadata if isinstance(metadata, Mapping) else json.loads(Path(metadata).read_text(encoding="utf-8"))
    for part in ("network_data_format", "outputs", None, "channel_def"):
        entries = read if isinstance(read, Mapping) else {}
        read = entries.get(part) if part is not None else next(iter(entries.values()), None)
    names = {str(number): str(name) for number, name in read.items()} if isinstance(read, Mapping) else None
    if names is None or set(names) != {str(number) for number in range(channels)}:
        raise ValueError(
            f"metadata must name the network's {channels} channels in network_data_format, outputs, channel_def, "
            f"got {read!r}."
        )
    return [names[str(number)] for number in range(channels)]
