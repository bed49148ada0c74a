"""A loss or a divergence as an argument of a victim and, on the victim, as its method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, overload

from torch import Tensor
from torch.nn.modules.loss import _Loss

from monai_smia.nearest import nearest
from monai_smia.victims.loss_modules import module_loss
from monai_smia.victims.slabs import in_full


class OutputLoss(ABC):
    """A loss with arguments of its own that is given what a named one is given."""

    @abstractmethod
    def __call__(self, output: Any, prediction: Any, target: Any) -> Tensor:
        """One value per sample ``(B,)``.

        Args:
            output: the victim's output layer.
            prediction: raw prediction.
            target: the label as that layer takes it.
        """


class GoalLoss(OutputLoss):
    """A loss of an attacker who wants something else than what the victim counts as damage.

    While an attack with such a loss runs, the victim's `damage` is that of the loss.
    """

    @abstractmethod
    def damage(self, output: Any, prediction: Any, target: Any) -> Tensor:
        """How far the goal is reached ``(B,)``, in [0, 1]; arguments as for the call."""


PerSample = Callable[[Any, Any], Tensor] | OutputLoss
KNOWN = {"loss": "losses", "divergence": "divergences"}  # the victim's attribute that holds the named functions


@dataclass(frozen=True)
class Chosen:
    """The loss or the divergence of one victim: called like a method, shown like the argument that it was given as.

    Args:
        victim: the victim; named functions are given its output layer.
        kind: ``"loss"`` or ``"divergence"``.
        spec: a name, an `OutputLoss` or a callable ``(prediction, reference) -> (B,)``.

    Example:
        >>> import torch
        >>> from monai_smia.victims import ClassificationVictim
        >>> victim = ClassificationVictim(torch.nn.Identity(), loss="margin")
        >>> victim.loss, victim.loss(torch.tensor([[2.0, 0.5]]), torch.tensor([0])).tolist()
        ('margin', [-1.5])
    """

    victim: Any
    kind: str
    spec: str | PerSample

    def __call__(self, prediction: Any, reference: Any) -> Tensor:
        """One value per sample ``(B,)``.

        Args:
            prediction: raw prediction.
            reference: the label of a loss, the reference prediction of a divergence.
        """
        function = self.function
        if not getattr(function, "in_slabs", False):
            prediction, reference = in_full(prediction), in_full(reference)
        if isinstance(self.spec, str | OutputLoss):
            target = self.victim.target(reference) if self.kind == "loss" else reference
            return function(self.victim.output, prediction, target)
        if isinstance(self.spec, _Loss):
            return module_loss(self.victim, self.spec, prediction, reference)
        return function(prediction, reference)

    @property
    def function(self) -> Callable[..., Tensor]:
        """What is called: the named function, or what was given in its place."""
        return getattr(self.victim, KNOWN[self.kind])[self.spec] if isinstance(self.spec, str) else self.spec

    def __repr__(self) -> str:
        return repr(self.spec)


class Choice:
    """A field of a victim, `loss` or `divergence`: set to a name or a callable, read as a method of the victim.

    (A descriptor-typed field, as Python's documentation of `dataclasses` has them.) What is read is made anew for the
    victim that it is read from, so that a copy with another output layer takes its losses of that.

    Args:
        default: a name.

    Raises:
        ValueError: on setting a name that the victim does not know.

    Example:
        >>> from torch import nn
        >>> from monai_smia.victims import ClassificationVictim
        >>> victim = ClassificationVictim(nn.Identity(), loss="margin")
        >>> ClassificationVictim.loss, victim.loss
        ('cross_entropy', 'margin')
    """

    def __init__(self, default: str) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, victim: None, owner: type) -> str: ...

    @overload
    def __get__(self, victim: object, owner: type) -> Chosen: ...

    def __get__(self, victim: Any, owner: type) -> str | Chosen:
        return self.default if victim is None else Chosen(victim, self.name, vars(victim)[self.name])

    def __set__(self, victim: Any, choice: str | PerSample) -> None:
        spec = choice.spec if isinstance(choice, Chosen) else choice
        vars(victim)[self.name] = _checked(self.name, spec, getattr(victim, KNOWN[self.name]))


def _checked(kind: str, spec: str | PerSample, known: Mapping[str, Callable[..., Tensor]]) -> str | PerSample:
    """A known name or a callable; a named function by its name."""
    if isinstance(spec, str):
        if spec in known:
            return spec
    elif callable(spec):
        return next((name for name, function in known.items() if function is spec), spec)
    raise ValueError(f"{kind} must be one of {sorted(known)} or a callable, got {spec!r}{nearest(spec, known)}")
