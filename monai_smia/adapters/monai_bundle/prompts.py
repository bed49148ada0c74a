"""Networks that are prompted: classes, points and whatever else an inferer is given beside the image stays fixed."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from monai.apps.vista3d.inferer import point_based_window_inferer
from monai.apps.vista3d.transforms import Relabeld
from monai.inferers import Inferer, SlidingWindowInferer, SlidingWindowInfererAdapt, sliding_window_inference
from torch import Tensor

from monai_smia.adapters.monai_bundle.chain import leaves
from monai_smia.inferers import CheckpointedSlidingWindowInferer, point_windows
from monai_smia.victims.preprocessing import as_plain

Prompt = tuple[tuple[Any, ...], Mapping[str, Any]]  # by place and by name
AROUND_POINTS = (
    "What lies outside of the windows around the points is decided by nobody (MONAI's point inferer leaves NaN there): "
    "figures count it as background."
)
PARTS_WITHOUT_POINTS = (
    "With points alone postprocessing changes the parts of a decision that hold no point inside (VistaPostTransformd): "
    "figures have that, gradients do not (see `agreement`)."
)
POINT_LABELS = {"inside": (1, 3), "outside": (0, 2)}


class Prompted(Inferer):
    """An inferer with the prompt that a bundle's evaluator gives it, of one case after the other.

    Where the bundle's own code calls MONAI's windows, sliding or around points, ours are called in their place: the
    same values, with a gradient, at the memory of one window.

    Args:
        inferer: the bundle's.
        prompt: what it is given beside image and network, by place and by name.
    """

    def __init__(self, inferer: Any, prompt: Prompt) -> None:
        super().__init__()
        if type(inferer) is SlidingWindowInferer:
            inferer = CheckpointedSlidingWindowInferer.of(inferer)
        self.inferer, self.prompt = inferer, prompt

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records; the prompt is an item's, whose hash has it."""
        return {"inferer": self.inferer}

    def __call__(self, inputs: Any, network: Any, *args: Any, **kwargs: Any) -> Any:
        """What the bundle's inferer makes of every image of a batch under the prompt."""
        images = [inputs] if len(inputs) == 1 else inputs.split(1)
        with called_instead(self.inferer, WITH_GRADIENT):
            answers = [self.inferer(image, network, *self.prompt[0], **self.prompt[1]) for image in images]
        return as_plain(answers[0] if len(answers) == 1 else torch.cat(answers))  # a prompt may bring an affine along


@contextmanager
def called_instead(inferer: Any, instead: Mapping[Any, Any]) -> Iterator[None]:
    """Within the block an inferer's own code (not MONAI's) calls something else where it calls functions of MONAI.

    Args:
        inferer: whose attributes, and whose classes' modules, name the functions.
        instead: what is called, by the functions in whose place it is.
    """
    classes = [each for each in type(inferer).__mro__ if each.__module__.partition(".")[0] not in ("monai", "builtins")]
    modules = [sys.modules[each.__module__] for each in classes if each.__module__ in sys.modules]
    spaces = [getattr(each, "__dict__", {}) for each in (inferer, *modules)]
    new = {id(old): value for old, value in instead.items()}
    found = [(space, name, value) for space in spaces for name, value in [*space.items()] if id(value) in new]
    try:
        for space, name, value in found:
            space[name] = new[id(value)]
        yield
    finally:
        for space, name, value in found:
            space[name] = value


def _sliding_windows(*args: Any, **kwargs: Any) -> Any:
    """MONAI's function `sliding_window_inference` with our gradient."""
    given = inspect.signature(sliding_window_inference).bind(*args, **kwargs)
    given.apply_defaults()
    options: dict[str, Any] = given.arguments
    inputs, network = options.pop("inputs"), options.pop("predictor")
    further, named = options.pop("args"), options.pop("kwargs")
    weights, process = options.pop("roi_weight_map"), options.pop("process_fn")
    if process is not None:
        raise ValueError("process_fn must be None for a gradient window by window; the bundle's inferer gives one.")
    inferer = CheckpointedSlidingWindowInferer(**options)
    inferer.roi_weight_map = weights
    return inferer(inputs, network, *further, **named)


WITH_GRADIENT: Mapping[Any, Any] = {
    point_based_window_inferer: point_windows,
    sliding_window_inference: _sliding_windows,
    SlidingWindowInferer: CheckpointedSlidingWindowInferer,
    SlidingWindowInfererAdapt: CheckpointedSlidingWindowInferer,
}


def class_prompts(output: Mapping[Any, Any], channels: int, postprocessing: Sequence[Any]) -> tuple[int, ...]:
    """The numbers that a map of prompted objects holds, one for each channel of the network.

    Args:
        output: of an evaluator for one item; ``label_prompt`` holds class numbers, where it is prompted with classes.
        channels: of the network.
        postprocessing: of the evaluator, which may give classes other numbers.
    """
    given = output.get("label_prompt")
    numbers = list(range(1, channels + 1)) if given is None else torch.as_tensor(given).flatten().tolist()
    for step in (t for part in postprocessing for t in leaves(part)):
        if isinstance(step, Relabeld) and "pred" in step.keys and (mapper := step.mappers.get("default")) is not None:
            mapping = dict(zip(mapper.orig_labels, mapper.target_labels, strict=True))
            numbers = [mapping.get(number, number) for number in numbers]
    return tuple(int(number) for number in numbers)


def check_prompts(prompts: Sequence[int], first: Sequence[int]) -> None:
    """Raise a ValueError where a case is prompted with other classes than the first: no figure would be of one class.

    Args:
        prompts: numbers of the case's.
        first: numbers of the first case's.
    """
    if tuple(prompts) != tuple(first):
        raise ValueError(
            f"every case must be prompted with the classes of the first, {list(first)}, got {list(prompts)}: evaluate "
            "cases of other prompts apart, in an output_dir of their own."
        )


def told_prompt(prompt: Prompt, cases: int) -> str:
    """What a network is prompted with, in a sentence; empty where with nothing.

    Args:
        prompt: of the first case.
        cases: how many there are.

    Example:
        >>> given = {"class_vector": torch.tensor([[3]]), "point_coords": torch.zeros(1, 2, 3)}
        >>> told_prompt(((), {**given, "point_labels": torch.tensor([[1, 0]])}), 1)
        'The prompt stays fixed under attack: class 3 and 2 points (1 inside, 1 outside).'
    """
    by_name = {name: value for name, value in prompt[1].items() if value is not None}
    told = []
    if (classes := by_name.pop("class_vector", None)) is not None:
        numbers = [str(int(number)) for number in torch.as_tensor(classes).flatten().tolist()]
        told.append(f"class{'es' * (len(numbers) > 1)} {', '.join(numbers)}")
    if (points := by_name.pop("point_coords", None)) is not None:
        told.append(_told_points(points, by_name.pop("point_labels", None)))
    told += [f"{name}{_shape(value)}" for name, value in by_name.items()]
    told += [f"an argument{_shape(value)}" for value in prompt[0] if value is not None]
    whose = (
        "The prompt stays fixed under attack: " if cases == 1 else "Every case's prompt stays fixed; the first's is "
    )
    return f"{whose}{' and '.join(told)}." if told else ""


def _told_points(points: Any, labels: Any) -> str:
    labels = torch.as_tensor([] if labels is None else labels).flatten().tolist()
    counts = {word: sum(label in of for label in labels) for word, of in POINT_LABELS.items()}
    total = torch.as_tensor(points).shape[-2] - labels.count(-1)
    how = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"{total} point{'s' * (total != 1)}{f' ({how})' if how else ''}"


def _shape(value: Any) -> str:
    return f" {tuple(value.shape)}" if isinstance(value, Tensor) else ""
