"""Instance maps of nuclei, as HoVerNet's postprocessing makes them: which output each comes from, and what it decides.

Instances themselves have no metric here. Their map says what is a nucleus and what is not, the map of types which one:
both are maps of classes, compared pixel by pixel with what the bundle itself leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.apps.pathology.transforms.post.dictionary import (
    HoVerNetInstanceMapPostProcessingd,
    HoVerNetNuclearTypePostProcessingd,
)
from monai.transforms import Compose
from torch import Tensor

from monai_smia.adapters.monai_bundle.chain import leaves
from monai_smia.victims.preprocessing import as_plain

STEPS = (HoVerNetInstanceMapPostProcessingd, HoVerNetNuclearTypePostProcessingd)


@dataclass(frozen=True)
class NucleiMap:
    """A map that is made of an output.

    Args:
        key: of the map.
        of_instances: it has a number for every nucleus; else the number of its type.
    """

    key: str
    of_instances: bool

    @property
    def told(self) -> str:
        """What figures are of, in a sentence."""
        if self.of_instances:
            return f"Figures are of what {self.key!r} has as nuclei, one class, however they are told from each other."
        return f"Figures are of {self.key!r}, the types of nuclei pixel by pixel."

    def decision(self, output: Mapping[Any, Any]) -> Tensor:
        """The map of classes ``(1, *spatial)`` in what postprocessing leaves."""
        value = torch.as_tensor(output[self.key])
        return (value > 0).to(torch.uint8) if self.of_instances else value


def nuclei_maps(postprocessing: Sequence[Any]) -> dict[str, NucleiMap]:
    """The maps that postprocessing makes of a network's outputs, by the keys of these; the first decides by itself.

    Raises:
        ValueError: if an output is not decided by the highest of its channels.

    Example:
        >>> maps = nuclei_maps([Compose([HoVerNetInstanceMapPostProcessingd()])])
        >>> maps["nucleus_prediction"].key
        'instance_map'
    """
    found: dict[str, NucleiMap] = {}
    for step in (t for part in postprocessing for t in leaves(part if isinstance(part, Compose) else Compose(part))):
        if isinstance(step, HoVerNetInstanceMapPostProcessingd):
            _check_softmax(step, step.instance_map_post_process.generate_watershed_mask)
            found[str(step.nuclear_prediction_key)] = NucleiMap(str(step.instance_map_key), True)
        elif isinstance(step, HoVerNetNuclearTypePostProcessingd) and step.return_type_map:
            _check_softmax(step, step.type_post_process)
            found[str(step.type_prediction_key)] = NucleiMap(str(step.type_map_key), False)
    return found


def decided_nuclei(output: Mapping[Any, Any], key: str, postprocessing: Sequence[Any]) -> Tensor | None:
    """The decision on one output in what postprocessing leaves; None where it makes no such map of it."""
    made = nuclei_maps(postprocessing).get(key)
    return None if made is None or made.key not in output else as_plain(made.decision(output))


def _check_softmax(step: Any, inner: Any) -> None:
    softmax, threshold = inner.activation.softmax, inner.as_discrete.threshold
    if not softmax or threshold is not None:
        raise ValueError(
            f"{type(step).__name__} must take the highest channel after a softmax, got "
            f"{'a softmax' if softmax else 'another activation'} and threshold {threshold}."
        )
