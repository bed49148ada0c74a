"""Prompts that no attack has seen: what an attacked image does to the decisions under them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from monai_smia.adapters.monai_bundle.decisions import DecisionRule
from monai_smia.adapters.monai_bundle.pipeline import BundlePipeline
from monai_smia.adapters.monai_bundle.prompts import class_prompts
from monai_smia.attacks import PGD, Attack, Embedding
from monai_smia.evaluation.cases import Case
from monai_smia.metrics import CaseMetrics

UNSEEN = "unseen"  # name of the metric, of a prompt with its number


class UnseenPrompts:
    """A bundle's pipeline under other prompts than those of its items.

    Damage under a prompt is that to the clean decision under the same prompt.

    Args:
        pipeline: the bundle's, complete.
        prompts: entries of an item, such as ``{"label_prompt": [3]}``. Each takes the place of all entries that any of
            them has.

    Raises:
        ValueError: if there are none, one is no dictionary, or it is the prompt of a case itself.
    """

    def __init__(self, pipeline: BundlePipeline, prompts: Sequence[Mapping[str, Any]]) -> None:
        if (
            not isinstance(prompts, (list, tuple))
            or not prompts
            or not all(isinstance(p, Mapping) and p for p in prompts)
        ):
            raise ValueError(
                "unseen_prompts must be a list of entries of an item, such as [{'label_prompt': [3]}], got "
                f"{prompts!r}."
            )
        self.prompts = [dict(prompt) for prompt in prompts]
        keys = {key for prompt in self.prompts for key in prompt}
        for name, item in pipeline.items.items():
            own = {key: item[key] for key in keys if key in item}
            if own in self.prompts:
                raise ValueError(f"unseen_prompts must hold none that a case has: {name} is prompted with {own}.")
        self.pipelines = [_prompted(pipeline, keys, prompt) for prompt in self.prompts]

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"prompts": self.prompts}

    @property
    def told(self) -> str:
        """What is to be said of them, in a sentence."""
        each = "; ".join(f"{name(number)} is {prompt}" for number, prompt in enumerate(self.prompts))
        return f"Damage under prompts that no attack has seen, to the clean decision under the same prompt: {each}."

    def damages(self, case: Case, image: Tensor | Path) -> dict[str, float]:
        """The damage under every prompt, and their mean.

        Args:
            case: the case.
            image: in the place of its image, as for `BundlePipeline.score`.
        """
        found = [self._damage(pipeline, case, image) for pipeline in self.pipelines]
        return {UNSEEN: sum(found) / len(found), **{name(number): value for number, value in enumerate(found)}}

    @staticmethod
    def _damage(pipeline: BundlePipeline, case: Case, image: Tensor | Path) -> float:
        if isinstance(pipeline.rule, DecisionRule) and pipeline.rule.prompts:
            iteration = pipeline.clean(case.name)[1]
            channels = iteration.raw.shape[1]
            prompts = class_prompts(iteration.output, channels, pipeline.engine.postprocessing)
            pipeline.rule = replace(pipeline.rule, channels=channels + 1, prompts=prompts)
        return pipeline.score(case, image, _NoMetrics()).damage


def name(number: int) -> str:
    """What the metric of a prompt is called."""
    return f"{UNSEEN}_prompt{number + 1}"


class _NoMetrics(CaseMetrics):
    """Damage alone is asked for."""

    def case(self, victim: Any, prediction: Any, label: Any, image: Tensor) -> dict[str, Any]:
        return {}


def _prompted(pipeline: BundlePipeline, keys: set[str], prompt: Mapping[str, Any]) -> BundlePipeline:
    other = copy.copy(pipeline)
    other.items = {
        case: {**{key: value for key, value in item.items() if key not in keys}, **prompt}
        for case, item in pipeline.items.items()
    }
    other.labeled, other.unseen, other._clean = False, None, None
    return other


def embedding_attack(of: str, steps: int) -> Callable[..., Attack]:
    """A function of ``(eps=, seed=, clip=)`` that makes the attack on the embedding.

    Args:
        of: part of the network.
        steps: of PGD.
    """

    def make(**options: Any) -> Attack:
        return Embedding(PGD(steps=steps, **options), of=of)

    return make
