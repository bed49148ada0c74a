"""How a bundle's postprocessing decides: for the twin as logits whose sign or highest decides alike, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.apps.vista3d.transforms import VistaPostTransformd
from monai.transforms import Compose
from torch import Tensor

from monai_smia.adapters.monai_bundle.chain import leaves
from monai_smia.adapters.monai_bundle.instances import STEPS as OF_NUCLEI
from monai_smia.victims.preprocessing import as_plain

PRED = "pred"  # where MONAI's engines put a prediction
TINY = 1e-12


class ChannelsError(ValueError):
    """Postprocessing leaves neither a map of classes nor the network's channels."""


@dataclass(frozen=True)
class DecisionRule:
    """What a bundle decides from the channels of its network.

    Args:
        kind: ``"softmax"``: one class of all. ``"sigmoid"``: every channel by itself.
        channels: of the network; of a prompted one with its background.
        probabilities: the network itself ends in a softmax or sigmoid.
        threshold: of the probabilities (of the raw values where nothing activates them); None for the half.
        activated: postprocessing makes probabilities of the network's values.
        prompts: of a prompted network the class number of every channel, which is decided where it is the highest and
            above 0, as MONAI's `VistaPostTransformd` does; empty of any other.

    Example:
        >>> rule = DecisionRule("sigmoid", channels=1, probabilities=False, threshold=0.2, activated=True)
        >>> logits = torch.logit(torch.tensor([[0.19, 0.21]]))
        >>> (rule.logits(logits) > 0).tolist()
        [[False, True]]
    """

    kind: str
    channels: int
    probabilities: bool = False
    threshold: float | None = None
    activated: bool = True
    prompts: tuple[int, ...] = ()

    @property
    def by_channel(self) -> bool:
        """Whether exclusive classes are decided one by one: a softmax with a threshold, the background left out."""
        return self.kind == "softmax" and self.threshold is not None

    @property
    def activation(self) -> str:
        """Output layer of a victim that decides alike."""
        return "sigmoid" if self.by_channel else self.kind

    @property
    def classes(self) -> int:
        """Channels of `logits`."""
        return self.channels - 1 if self.by_channel else self.channels

    @property
    def takes_values_as_they_are(self) -> bool:
        """Whether `logits` are the very values of the network."""
        return not self.prompts and not self.probabilities and self.threshold is None

    @property
    def keeps_probabilities(self) -> bool:
        """Whether `logits` are of the network's own probabilities, which another threshold than the half moves."""
        return self.threshold in (None, 0.5 if self.activated or self.probabilities else 0.0)

    def logits(self, raw: Tensor) -> Tensor:
        """The network's values ``(B, K, ...)`` as logits that a victim of `activation` decides alike."""
        if self.prompts:
            return torch.cat([torch.zeros_like(raw[:, :1]), raw], 1)
        if self.kind == "sigmoid":
            return self._shifted(torch.logit(raw, eps=1e-7) if self.probabilities else raw)
        scores = raw.clamp_min(TINY).log() if self.probabilities else raw
        if not self.by_channel:
            return scores
        everything = scores.logsumexp(1, keepdim=True)
        share = scores - everything  # log of the probability
        rest = torch.log1p(-share.exp().clamp_max(1 - 1e-7))
        return self._shifted((share - rest)[:, 1:])

    def decided(self, prediction: Tensor, *, partly: bool = False) -> Tensor:
        """What postprocessing made of a case ``(K or 1, ...)`` as logits ``(1, classes, ...)`` that decide the same.

        A map of classes that was interpolated after it was decided counts as the nearest class, see `is_interpolated`.

        Args:
            prediction: of the case.
            partly: of a prompted network: what is decided by nobody (NaN, or a number for it) is background.

        Raises:
            ChannelsError: if it has another number of channels than the network and than a map of classes.
            ValueError: if the map holds other classes.
        """
        value = as_plain(prediction).detach().double()
        if self.is_map(value):
            value = one_hot(self._places(value.round(), others=0.0 if partly else None), self.channels)
        if len(value) != self.channels:
            raise ChannelsError(
                f"postprocessing must leave a map of classes or the network's {self.channels} channels, got "
                f"{len(value)}: no metric here is of these."
            )
        if self.kind == "softmax" and not self.by_channel:
            return value[None]
        value = value[1:] if self.by_channel else value
        decisive = bool(((value == 0) | (value == 1)).all())
        middle = 0.5 if decisive or self.activated or self.probabilities else 0.0
        return (value - middle)[None]

    def is_map(self, prediction: Tensor) -> bool:
        """Whether what postprocessing made of a case is a map of exclusive classes."""
        return self.kind == "softmax" and len(prediction) == 1 and self.channels > 1

    def is_interpolated(self, prediction: Any) -> bool:
        """Whether a map of classes was resampled after it was decided, as by Invertd without ``nearest_interp``."""
        value = as_plain(prediction).detach().nan_to_num()
        return self.is_map(value) and not torch.equal(value, value.round())

    def label(self, label: Any) -> Tensor:
        """A label map, class number or vector as a victim of `activation` takes it, without the batch.

        Raises:
            ValueError: if it has another number of channels.
        """
        value = as_plain(torch.as_tensor(label)).detach()
        if self.prompts and len(value) == 1:
            return self._places(value, others=0.0)
        if self.kind == "softmax" and value.ndim and len(value) == self.channels > 1:
            value = value.argmax(0, keepdim=True)
        if not self.by_channel:
            return value
        return one_hot(value, self.channels)[1:].to(torch.uint8)

    def _places(self, classes: Tensor, others: float | None = None) -> Tensor:
        """A map of the numbers of prompted classes as one of channels, `others` where it holds none of them."""
        if not self.prompts:
            return classes
        known = torch.isin(classes, torch.tensor([0, *self.prompts], device=classes.device))
        if others is None and not bool(known.all()):
            raise ValueError(
                f"postprocessing must leave 0 and the numbers of the prompted classes, {list(self.prompts)}, got "
                f"{classes[~known].unique()[:5].tolist()}, too."
            )
        places = torch.full_like(classes, others or 0.0)
        for place, number in reversed(list(enumerate((0, *self.prompts)))):
            places[classes == number] = place
        return places

    def _shifted(self, logits: Tensor) -> Tensor:
        if self.threshold is None:
            return logits
        if not self.activated and not self.probabilities:
            return logits - self.threshold
        least = min(max(self.threshold, 1e-7), 1 - 1e-7)
        return logits - float(torch.logit(torch.tensor(least, dtype=torch.float64)))


def one_hot(classes: Tensor, channels: int) -> Tensor:
    """A map of class numbers ``(1, ...)`` as 0/1 channels ``(K, ...)``, float64.

    Raises:
        ValueError: if it holds other numbers.
    """
    numbers = classes.round().long()
    if not bool(((numbers >= 0) & (numbers < channels)).all()) or not torch.equal(numbers.double(), classes.double()):
        low, high = float(classes.min()), float(classes.max())
        raise ValueError(
            f"classes must be whole numbers from 0 to {channels - 1}, got values from {low:g} to {high:g}."
        )
    return torch.cat([(numbers == k).double() for k in range(channels)])


def rule_of(
    postprocessing: Sequence[Any], raw: Tensor, activation: str | None = None, prompts: Sequence[int] = ()
) -> DecisionRule:
    """The rule of a bundle.

    Args:
        postprocessing: what is applied to predictions.
        raw: a prediction of the network ``(1, K, ...)``.
        activation: ``"softmax"`` or ``"sigmoid"``, where the owner says it; None to tell it from `postprocessing`.
        prompts: class numbers that a network is prompted with, one for each of its channels; empty where it is not.

    Raises:
        ValueError: if it cannot be told.
    """
    steps = [t for part in postprocessing for t in leaves(_compose(part))]
    if prompts and any(isinstance(t, VistaPostTransformd) for t in steps):
        return DecisionRule("softmax", raw.shape[1] + 1, prompts=tuple(prompts))
    kind = activation or activation_of(postprocessing)
    activated = any(_of_pred(t, name) for t in steps for name in ("softmax", "sigmoid"))
    thresholds = [float(value) for t in steps if (value := _of_pred(t, "threshold")) is not None]
    argmax = any(_of_pred(t, "argmax") for t in steps)
    return DecisionRule(
        kind,
        raw.shape[1],
        probabilities=not activated and are_probabilities(raw, kind),
        threshold=thresholds[0] if thresholds and not argmax else None,
        activated=activated,
    )


def are_probabilities(raw: Tensor, kind: str) -> bool:
    """Whether what a network returned ``(B, K, ...)`` is what a softmax or a sigmoid returns.

    Example:
        >>> are_probabilities(torch.tensor([[0.25, 0.75]]), "softmax"), are_probabilities(torch.ones(1, 2), "softmax")
        (True, False)
    """
    values = as_plain(raw).detach()
    inside = bool(((values >= 0) & (values <= 1)).all())
    return inside and (kind != "softmax" or torch.allclose(values.sum(1), torch.ones_like(values[:, 0]), atol=1e-3))


def activation_of(postprocessing: Any) -> str:
    """The activation of a bundle's postprocessing, ``"softmax"`` or ``"sigmoid"``.

    Raises:
        ValueError: if it does not tell.
    """
    steps = list(leaves(_compose(postprocessing or [])))
    for t in steps:
        for name in ("softmax", "sigmoid"):
            if _of_pred(t, name):
                return name
    for t in steps:
        if isinstance(t, VistaPostTransformd):  # what is above 0 is of an object
            return "sigmoid"
        if _of_pred(t, "argmax") or isinstance(t, OF_NUCLEI):
            return "softmax"
        if _of_pred(t, "threshold") is not None:
            return "sigmoid"
    names = ", ".join(type(t).__name__ for t in steps) or "no transforms"
    raise ValueError(
        f"postprocessing does not tell softmax from sigmoid ({names}): say it with --attack#activation softmax (or "
        "sigmoid)."
    )


def later_steps(postprocessing: Any) -> list[str]:
    """Transforms of postprocessing that change a decision once it is made, which the twin does not know."""
    later = ("KeepLargest", "RemoveSmall", "FillHoles", "LabelFilter", "HoVerNet")
    return [name for t in leaves(_compose(postprocessing or [])) if (name := type(t).__name__).startswith(later)]


def deciding_steps(postprocessing: Any) -> list[str]:
    """`later_steps`, or where there are none, all steps of postprocessing by their names."""
    return later_steps(postprocessing) or [type(t).__name__ for t in leaves(_compose(postprocessing or []))]


def decides(transform: Any) -> bool:
    """Whether a transform makes probabilities or a decision of the prediction."""
    return any(_of_pred(transform, name) for name in ("softmax", "sigmoid", "argmax")) or (
        _of_pred(transform, "threshold") is not None
    )


def _of_pred(transform: Any, name: str) -> Any:
    """A setting of Activations or AsDiscrete, or that of the prediction in their dictionary forms."""
    value = getattr(transform, name, None)
    if not isinstance(value, (list, tuple)):
        return value
    keys = list(getattr(transform, "keys", ()))
    number = keys.index(PRED) if PRED in keys else None
    return value[number] if number is not None and number < len(value) else None


def _compose(transforms: Any) -> Compose:
    return transforms if isinstance(transforms, Compose) else Compose(transforms)
