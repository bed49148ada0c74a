"""Postprocessing of what a detector has found, where a bundle leaves it to the handler that saves boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai.transforms import Compose

from monai_smia.adapters.monai_bundle.chain import leaves

PRED = "pred"  # where MONAI's engines put a prediction


class OfWhatIsFound:
    """Steps that go over found boxes laid beside the image, which is how a saver of boxes applies them.

    An item's own boxes, which may have the same keys, stay as they are.

    Args:
        steps: of the bundle.
        key: of the boxes.

    Example:
        >>> steps = OfWhatIsFound(lambda data: {**data, "box": [data["image"] + x for x in data["box"]]}, "box")
        >>> steps({"image": 1, "box": [5], "pred": {"box": [10]}})
        {'image': 1, 'box': [5], 'pred': {'box': [11]}}
    """

    def __init__(self, steps: Callable[[Any], Any], key: str) -> None:
        self.steps, self.key = steps, key

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """The data with the boxes of its prediction as the steps leave them.

        Raises:
            ValueError: if they leave another number of boxes than of classes or scores.
        """
        found = data[PRED]
        done = self.steps({**{key: value for key, value in data.items() if key != PRED}, **found})
        kept = {name: done[name] for name in found}
        counts = {name: len(value) for name, value in kept.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
            raise ValueError(f"postprocessing must leave as many classes and scores as boxes, got {told}.")
        return {**data, PRED: kept}


def is_of_what_is_found(postprocessing: Any, key: str) -> bool:
    """Whether steps name found boxes as if they lay beside the image, and nothing under the key of predictions."""
    steps = list(leaves(postprocessing if isinstance(postprocessing, Compose) else Compose(postprocessing or [])))
    named = [name for step in steps for name in _keys_of(step)]
    return key in named and PRED not in named


def _keys_of(step: Any) -> Sequence[Any]:
    keys: Any = getattr(step, "box_keys", None) or getattr(step, "keys", ())
    return (keys,) if isinstance(keys, str) else tuple(keys)
