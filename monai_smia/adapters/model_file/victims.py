"""Networks out of files as victims, of which scores alone may be known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from monai_smia.adapters.ruled import RuledClassification, RuledSegmentation
from monai_smia.victims import RegressionVictim


class NoGradient:
    """What is the same in victims that answer with scores and have no gradient."""

    differentiable: ClassVar[bool] = False

    def check_differentiable(self) -> None:
        """Raise: it is not.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "this network has no gradient (ONNX): attack it by its answers, with the preset blackbox, or with Square, "
            "DecisionSearch or Noise."
        )


@dataclass(kw_only=True, eq=False)
class ScoredSegmentation(NoGradient, RuledSegmentation):
    """A segmentation network that answers with scores and has no gradient."""


@dataclass(kw_only=True, eq=False)
class ScoredClassification(NoGradient, RuledClassification):
    """A classification network that answers with scores and has no gradient."""


@dataclass(kw_only=True, eq=False)
class ScoredRegression(NoGradient, RegressionVictim):
    """A regression network that answers with numbers and has no gradient."""


VICTIMS: dict[tuple[str, bool], Any] = {  # by task, and whether there is a gradient
    ("segmentation", True): RuledSegmentation,
    ("segmentation", False): ScoredSegmentation,
    ("classification", True): RuledClassification,
    ("classification", False): ScoredClassification,
    ("regression", True): RegressionVictim,
    ("regression", False): ScoredRegression,
}
