"""What composites share: they take the settings of their parts."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from typing_extensions import Self

from monai_smia.attacks.base import Attack


class _OfParts:
    """Stands for "as the parts have it" where None is a value of its own."""

    def __repr__(self) -> str:
        return "<as its parts>"


OF_PARTS: Any = _OfParts()


@dataclass(kw_only=True, eq=False)
class CompositeAttack(Attack):
    """An attack made of attacks, which hands its problem on to them.

    Args:
        eps: radius of the composite and of all its parts; left out, that of the parts, which then must agree.
        norm: left out, as the parts have it; it cannot be another.
        clip: the same.
        targeted: the same.

    Raises:
        ValueError: if there are no parts, or they disagree.
    """

    needs_gradient: ClassVar[bool] = False  # the parts are asked

    eps: float | None = OF_PARTS
    norm: str = OF_PARTS
    clip: tuple[float, float] | None = OF_PARTS
    targeted: bool = OF_PARTS

    def __post_init__(self) -> None:
        self._take_settings(("eps", "norm", "clip", "targeted"))
        super().__post_init__()

    @property
    @abstractmethod
    def parts(self) -> Sequence[Attack]:
        """The attacks that it is made of."""

    @abstractmethod
    def with_parts(self, parts: Sequence[Attack]) -> Self:
        """This attack made of others."""

    @property
    def name(self) -> str:
        """The class with the names of the parts."""
        return f"{type(self).__name__}({', '.join(part.name for part in self.parts)})"

    @property
    def knowledge(self) -> str:
        """The most that a part knows."""
        order = ("none", "transfer", "black box", "white box")
        return max((part.knowledge for part in self.parts), key=order.index)

    @property
    def planned_gradients(self) -> int:
        """Of all parts."""
        return sum(part.planned_gradients for part in self.parts)

    @property
    def low_precision(self) -> str | None:
        """Its own, or that of its parts where none of those that take gradients runs in full precision."""
        asked = [part.low_precision for part in self.parts if part.planned_gradients]
        low = [precision for precision in asked if precision is not None]
        return super().low_precision or (min(low) if low and len(low) == len(asked) else None)

    def reseeded(self, derive: Callable[[int | Sequence[int]], int | Sequence[int]]) -> Self:
        """This attack and its parts with other seeds."""
        return super().reseeded(derive).with_parts([part.reseeded(derive) for part in self.parts])

    def scaled(self, factor: float) -> Self:
        """The parts scaled."""
        return self.with_parts([part.scaled(factor) for part in self.parts])

    def _take_settings(self, names: Sequence[str]) -> None:
        """Take what was left out from the parts, which must agree with each other and with what was not."""
        for name in names:
            own, values = getattr(self, name), [getattr(part, name) for part in self.parts]
            given = own is not OF_PARTS
            if any(value != values[0] for value in values) and not (name == "eps" and given):
                raise ValueError(f"attacks must agree on {name}, got {values}.")
            if not given:
                setattr(self, name, values[0])
            elif name != "eps" and own != values[0]:
                raise ValueError(f"{name} must be that of the attacks, {values[0]}, got {own}.")


def within_range(attack: Attack, clip: tuple[float, float]) -> Attack:
    """The attack, with all of its parts, within a valid range: that of one case.

    Args:
        attack: as planned.
        clip: lowest and highest value of the image.
    """
    other = copy.copy(attack)
    if not isinstance(other, CompositeAttack):
        other.clip = clip
        return other
    other.clip = OF_PARTS
    return other.with_parts([within_range(part, clip) for part in other.parts])


@dataclass(kw_only=True, eq=False)
class ListOfAttacks(CompositeAttack):
    """A composite whose parts are a list.

    Args:
        attacks: the parts, in their order.

    The other arguments are those of `CompositeAttack`.
    """

    attacks: Sequence[Attack] = field(kw_only=False)

    @property
    def parts(self) -> Sequence[Attack]:
        """The attacks, in their order."""
        return self.attacks

    def with_parts(self, parts: Sequence[Attack]) -> Self:
        """The same with other attacks."""
        return replace(self, attacks=parts)
