"""Several networks of one evaluator, whose predictions its postprocessing averages or lets vote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import MeanEnsembled, VoteEnsembled
from torch import Tensor, nn

from monai_smia.adapters.monai_bundle.chain import leaves
from monai_smia.adapters.monai_bundle.decisions import PRED, TINY
from monai_smia.victims.base import Victim
from monai_smia.victims.preprocessing import as_plain


class EnsembleNetwork(nn.Module):
    """The networks of an ensemble as one: what their predictions give together.

    Args:
        networks: of the evaluator.
        activation: ``"softmax"`` or ``"sigmoid"`` that postprocessing applies to each before they are averaged; None
            where they are averaged as they are.
        weights: of the networks ``(E,)``, or of their channels too ``(E, C)``; None for equal ones.
        output_key: where postprocessing puts the result.
        votes: whether decisions are counted and not averaged, which has no gradient: the average stands for it.

    Example:
        >>> both = EnsembleNetwork([nn.Identity(), nn.Identity()], "sigmoid")
        >>> torch.sigmoid(both.together([torch.tensor([[0.0]]), torch.tensor([[9.0]])])).round(decimals=2)
        tensor([[0.7500]])
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        activation: str | None,
        *,
        weights: Tensor | None = None,
        output_key: str = PRED,
        votes: bool = False,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.activation, self.output_key, self.votes = activation, output_key, votes
        self.weights = weights

    def forward(self, image: Tensor) -> Tensor:
        """Of one window alone."""
        return self.together([network(image) for network in self.networks])

    def together(self, predictions: Sequence[Tensor]) -> Tensor:
        """Predictions ``(B, K, ...)`` as one, in logits where they are activated first."""
        stack = torch.stack([as_plain(prediction) for prediction in predictions])
        if self.activation == "softmax":
            stack = stack.softmax(2)
        elif self.activation == "sigmoid":
            stack = stack.sigmoid()
        if self.weights is not None:
            weights = torch.as_tensor(self.weights).to(stack)
            weights = weights / weights.mean(0, keepdim=True)
            weights = weights[:, None] if weights.ndim > 1 else weights
            stack = stack * weights.reshape(*weights.shape, *[1] * (stack.ndim - weights.ndim))
        mean = stack.mean(0)
        if self.activation == "softmax":
            return mean.clamp_min(TINY).log()
        return torch.logit(mean, eps=1e-7) if self.activation == "sigmoid" else mean

    def with_decision(self, output: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """What postprocessing leaves, with the ensemble's decision where others put a prediction."""
        return output if self.output_key == PRED else {**output, PRED: output.get(self.output_key)}

    @property
    def told(self) -> str:
        """What is to be said of it."""
        what = "votes are counted; gradients are of the average" if self.votes else "predictions are averaged"
        before = f" after a {self.activation}" if self.activation else ""
        return f"An ensemble of {len(self.networks)} networks, whose {what}{before}."


def network_of(evaluator: Any, postprocessing: Any) -> nn.Module:
    """An evaluator's network, or its several as one.

    Args:
        evaluator: of a bundle.
        postprocessing: its transforms, which put several together.

    Raises:
        ValueError: if there are several, and nothing puts them together.
    """
    if hasattr(evaluator, "network"):
        network: nn.Module = evaluator.network
        return network
    networks, keys = list(getattr(evaluator, "networks", [])), list(getattr(evaluator, "pred_keys", []))
    steps = [t for part in postprocessing for t in leaves(part)]
    joins = [t for t in steps if isinstance(t, (MeanEnsembled, VoteEnsembled)) and list(t.keys) == keys]
    if not joins:
        raise ValueError(
            f"evaluator must have one network, got a {type(evaluator).__name__} of {len(networks)}, and no "
            "MeanEnsembled or VoteEnsembled of its predictions in its postprocessing; attack one of them, with "
            "--attack#evaluator a SupervisedEvaluator of it."
        )
    join = joins[0]
    before = [t for t in steps[: steps.index(join)] if keys[0] in getattr(t, "keys", ())]
    activation = next((name for t in before for name in ("softmax", "sigmoid") if _any(getattr(t, name, None))), None)
    return EnsembleNetwork(
        networks,
        activation,
        weights=getattr(join.ensemble, "weights", None),
        output_key=str(join.output_key),
        votes=isinstance(join, VoteEnsembled),
    )


def of_every_network(twin: Victim, forward: Callable[[Tensor], Any], network_input: Tensor) -> Any:
    """What the networks of an ensemble predict, each over all its windows, together.

    Args:
        twin: whose networks they are.
        forward: of the twin, by the network that it has.
        network_input: what the networks see.
    """
    ensemble: Any = twin.network
    predictions = []
    try:
        for network in ensemble.networks:
            twin.network = network
            predictions.append(forward(network_input))
    finally:
        twin.network = ensemble
    return ensemble.together(predictions)


def _any(value: Any) -> bool:
    return any(value) if isinstance(value, (list, tuple)) else bool(value)
