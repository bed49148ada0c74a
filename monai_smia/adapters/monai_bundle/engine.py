"""One iteration of a bundle's own evaluator: its batch, inferer and postprocessing, and nothing that it writes."""

from __future__ import annotations

import copy
import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from monai.apps.vista3d.inferer import point_based_window_inferer
from monai.data import MetaTensor
from monai.engines import IterationEvents
from monai.inferers import Inferer
from monai.transforms import Compose
from torch import Tensor

from monai_smia.adapters.monai_bundle.ensembles import EnsembleNetwork
from monai_smia.adapters.monai_bundle.found_boxes import OfWhatIsFound, is_of_what_is_found
from monai_smia.adapters.monai_bundle.outputs import selected, with_decision
from monai_smia.adapters.monai_bundle.prompts import Prompt, called_instead
from monai_smia.inferers.points import monai_point_windows
from monai_smia.victims.gate import check_prediction


@dataclass(frozen=True)
class Iteration:
    """What an evaluator makes of one item.

    Args:
        output: of its postprocessing, for one item: image, label, pred and what else there is.
        batch: what the item holds beside it.
        seen: what the network was given ``(1, C, *spatial)``.
        raw: what the inferer returned.
        windowed: whether a detector was told to use its window.
        prompt: what the inferer was given beside image and network, such as classes or points, by place and by name.
        around_points: whether it laid windows around points, beside which nobody decides.
    """

    output: Mapping[Any, Any]
    batch: Mapping[Any, Any]
    seen: Any
    raw: Any
    windowed: bool
    prompt: Prompt = ((), MappingProxyType({}))
    around_points: bool = False


class QuietEngine:
    """Runs iterations of an evaluator, postprocessing included, without its handlers and without what saves files.

    Args:
        evaluator: the bundle's; it is not touched.
        postprocessing: to apply where the evaluator has none of its own.
        detector: of a detection bundle; how it is called is noted.
        left_out: steps of postprocessing that are not run, beside what saves files.
        output_key: of the output that counts, where the network returns several.

    Attributes:
        ensemble: the networks of an evaluator that has several; None where it has one.
    """

    def __init__(
        self,
        evaluator: Any,
        postprocessing: Any,
        detector: Any = None,
        left_out: Sequence[Callable[..., Any]] = (),
        output_key: str | None = None,
    ) -> None:
        self.detector, self.left_out, self.output_key = detector, tuple(left_out), output_key
        self.ensemble: EnsembleNetwork | None = None
        self.given = evaluator, postprocessing
        self.engine = copy.copy(evaluator)
        self.engine.state = copy.copy(evaluator.state)
        self.engine._event_handlers = defaultdict(list)
        self.inferer = _Watched(evaluator.inferer)
        self.engine.inferer = self.inferer
        self.postprocessing: list[Compose] = []
        self.steps: list[_Noted] = []
        for event in (IterationEvents.FORWARD_COMPLETED, IterationEvents.MODEL_COMPLETED):
            for handler, args, kwargs in evaluator._event_handlers.get(event, []):
                self._register(event, handler, args, kwargs)
        own = bool(self.postprocessing)
        if not own and postprocessing:
            key = None if detector is None else str(detector.target_box_key)
            self._postprocess(postprocessing, key if key and is_of_what_is_found(postprocessing, key) else None)
        process = evaluator._process_function
        if getattr(process, "__self__", None) is evaluator:  # `_iteration` may ask itself instead of the engine
            process = process.__func__.__get__(self.engine)
        self.process = process
        self.collate = evaluator.data_loader.collate_fn

    def run(self, item: Mapping[Any, Any], seen: Tensor | None = None) -> Iteration:
        """One iteration.

        Args:
            item: of the dataset, transformed.
            seen: what the network is given in the place of what the batch holds.

        Raises:
            ValueError: if the network's prediction is NaN or infinite, or postprocessing is never applied.
        """
        engine, batch = self.engine, self.collate([dict(item)])
        engine.state.batch, engine.state.output = batch, None
        self.inferer.begin(seen)
        calls: list[bool] = []

        def note(module: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            calls.append(bool(options.get("use_inferer", args[2] if args[2:] else False)))

        hook = self.detector and self.detector.register_forward_pre_hook(note, with_kwargs=True)
        try:
            with torch.no_grad():
                engine.state.output = self.process(engine, batch)
        finally:
            if hook:
                hook.remove()
        if idle := [step for step in self.steps if not step.ran and step.names]:
            raise ValueError(
                f"postprocessing must be applied by the evaluator, whose iteration does not (it fires no "
                f"{IterationEvents.MODEL_COMPLETED.name}): {', '.join(idle[0].names)}. Where predictions are decisions "
                "as they are, give --attack#postprocessing [] and --attack#activation."
            )
        output, rest = (_first(value) for value in (engine.state.output, engine.state.batch))
        if not isinstance(output, Mapping):
            raise ValueError(f"the evaluator must give a dictionary for an item, got {type(output).__name__}.")
        if self.ensemble is not None:
            raw, output = self.ensemble.together(self.inferer.raws), self.ensemble.with_decision(output)
        else:
            raw = selected(self.inferer.raw, self.output_key)
        output = with_decision(output, raw, self.output_key, self.postprocessing)
        beside = rest if isinstance(rest, Mapping) else {}
        watched = self.inferer
        return Iteration(output, beside, watched.seen, raw, any(calls), watched.prompt, watched.around_points)

    def without(self, left_out: Sequence[Callable[..., Any]]) -> QuietEngine:
        """The same without some steps of postprocessing."""
        other = QuietEngine(*self.given, self.detector, left_out, self.output_key)
        other.ensemble = self.ensemble
        return other

    def _register(self, event: Any, handler: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if getattr(handler, "__name__", "") == "_run_postprocessing":
            names = handler.__code__.co_freevars
            closed = dict(zip(names, (cell.cell_contents for cell in handler.__closure__ or ()), strict=True))
            self._postprocess(closed["posttrans"])
            return
        if args and isinstance(args[0], weakref.ref):
            args = (weakref.ref(self.engine), *args[1:])
        self.engine._event_handlers[event].append((handler, args, dict(kwargs)))

    def _postprocess(self, transform: Any, found: str | None = None) -> None:
        compose = transform if isinstance(transform, Compose) else Compose(transform)
        self.postprocessing.append(compose)
        kept: Any = without_savers(compose, self.left_out)
        names = [type(t).__name__ for t in kept.flatten().transforms]
        self.steps.append(_Noted(kept if found is None else OfWhatIsFound(kept, found), names))
        self.engine._register_postprocessing(self.steps[-1])


class _Noted:
    """Steps of postprocessing that note whether they ran."""

    def __init__(self, steps: Callable[[Any], Any], names: Sequence[str]) -> None:
        self.steps, self.names, self.ran = steps, names, False

    def __call__(self, data: Any) -> Any:
        self.ran = True
        return self.steps(data)


class _Watched(Inferer):
    """An inferer that notes what it is given and what it returns, and may be given something else.

    Attributes:
        around_points: whether windows were laid around points, beside which MONAI leaves NaN.
    """

    def __init__(self, inferer: Any) -> None:
        super().__init__()
        self.inferer = inferer
        self.begin(None)

    def begin(self, instead: Tensor | None) -> None:
        self.instead, self.seen, self.raw = instead, None, None
        self.prompt: Prompt = ((), {})
        self.around_points = False
        self.raws: list[Any] = []  # of every network of an ensemble

    def __call__(self, inputs: Any, network: Any, *args: Any, **kwargs: Any) -> Any:
        if self.instead is not None:
            inputs = _in_place_of(inputs, self.instead)
        if self.seen is None:
            self.seen = inputs[0][None] if isinstance(inputs, (list, tuple)) else inputs
            self.prompt = args, dict(kwargs)
        with called_instead(self.inferer, {point_based_window_inferer: self._around_points}):
            raw = self.inferer(inputs, network, *args, **kwargs)
        if not self.around_points:
            check_prediction(raw)
        self.raw = raw if self.raw is None else self.raw
        self.raws.append(raw)
        return raw

    def _around_points(self, *args: Any, **kwargs: Any) -> Any:
        self.around_points = True
        logits, covered = monai_point_windows(*args, **kwargs)
        check_prediction(logits.masked_fill(~covered, 0))
        return logits

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inferer"], name)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and value else value


def _in_place_of(inputs: Any, image: Tensor) -> Any:
    """The batch ``(1, C, *spatial)`` as the inferer takes its inputs, with their metadata."""
    if isinstance(inputs, (list, tuple)):
        return type(inputs)([_in_place_of(inputs[0][None], image)[0]])
    image = image.to(inputs)
    if not isinstance(inputs, MetaTensor):
        return image
    return MetaTensor(image, meta=inputs.meta, applied_operations=inputs.applied_operations)


def without_savers(compose: Compose, left_out: Sequence[Callable[..., Any]] = ()) -> Compose:
    """A Compose without the transforms that write files, and without others that are named."""
    kept = copy.copy(compose)
    kept.transforms = tuple(
        without_savers(t, left_out) if isinstance(t, Compose) else t
        for t in compose.transforms
        if not is_saver(t) and not any(t is other for other in left_out)
    )
    return kept


def is_saver(transform: Any) -> bool:
    """Whether a transform writes files, by its name, such as SaveImaged or the NpySaverd of a bundle of the zoo."""
    return "Save" in type(transform).__name__
