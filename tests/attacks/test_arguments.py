"""Every number and every switch that an attack is made with is one, or is refused by its name."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from helpers import case
from torch import nn

import monai_smia.attacks as attacks
from monai_smia.attacks import APGDT, PGD, SMIA, Attack, IterativeAttack, SmoothedShift, TryAll
from monai_smia.attacks.composite.base import CompositeAttack
from monai_smia.shifts import HUOffset
from monai_smia.victims import ClassificationVictim

ATTACKS = [
    c for c in vars(attacks).values() if inspect.isclass(c) and issubclass(c, Attack) and not inspect.isabstract(c)
]
NUMBERS: tuple[Any, ...] = ("0.1", "nan", [0.1], {}, 1j, True, np.True_, float("nan"), float("inf"))
SWITCHES: tuple[Any, ...] = ("False", "no", 0, 1, None, [])


def parts_of(kind: type[Attack]) -> dict[str, Any]:
    victim = ClassificationVictim(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    names = {field.name for field in fields(kind)}
    parts: dict[str, Any] = {"attack": PGD(eps=0.1), "attacks": [PGD(eps=0.1), PGD(eps=0.1)], "surrogate": victim}
    parts |= {"shift": HUOffset(), "pattern": torch.zeros(1, 2, 2), "of": "0"}
    parts |= {} if issubclass(kind, CompositeAttack | TryAll | SmoothedShift) else {"eps": 0.1}
    return {name: part for name, part in parts.items() if name in names}


def wrong(kind: type[Attack]) -> dict[str, list[Any]]:
    """What each of its arguments must refuse."""
    found: dict[str, list[Any]] = {}
    for field in fields(kind):
        if field.type == "bool":
            found[field.name] = [*SWITCHES]
        elif field.type in ("int", "float", "int | None", "float | None"):
            found[field.name] = [*NUMBERS]
            # None as eps is the radius of attacks that minimize
            if "None" not in str(field.type) and not (issubclass(kind, CompositeAttack) and field.name == "eps"):
                found[field.name].append(None)
            found[field.name] += [1.5] if "int" in str(field.type) else []
    return found


def is_refused(kind: type[Attack], name: str, value: Any) -> bool:
    """Whether it is, by its name; another error is raised."""
    try:
        kind(**{**parts_of(kind), name: value})
    except ValueError as error:
        return bool(re.search(rf"\b{name}\b.*must|{name}=.*needs", str(error)))
    return False


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [(kind, name, values) for kind in ATTACKS for name, values in wrong(kind).items()],
    ids=lambda part: part.__name__ if inspect.isclass(part) else part if isinstance(part, str) else "",
)
def test_what_is_no_number_or_no_switch_is_refused_by_name(kind: type[Attack], name: str, values: list[Any]) -> None:
    assert len(values) >= len(SWITCHES)
    assert [repr(value) for value in values if not is_refused(kind, name, value)] == []


@pytest.mark.parametrize("steps", [3, 3.0, np.int64(3), np.float32(3)])
def test_whole_numbers_of_every_type_are_taken(steps: Any) -> None:
    attack = PGD(eps=np.float32(0.1), steps=steps, stop_at=np.float64(0.5), random_start=np.True_)
    assert (attack.steps, type(attack.steps)) == (3, int)


def test_arguments_of_an_attack_of_ones_own_are_checked_whatever_its_annotations() -> None:
    @dataclass(kw_only=True, eq=False)
    class Own(IterativeAttack):
        weight: float = 1.0
        pulses: int | None = None
        anything: Any = "text"

    Own.__dataclass_fields__["weight"].type = float  # as without `from __future__ import annotations`
    assert Own(eps=0.1, weight=2, pulses=3, anything=object()).weight == 2
    for name in ("weight", "pulses"):
        with pytest.raises(ValueError, match=f"{name} must be a .*number.* got 'much'"):
            Own(eps=0.1, **{name: "much"})


def test_a_deprecated_name_is_checked_as_the_new_one() -> None:
    with (
        pytest.warns(DeprecationWarning, match="identity_weight"),
        pytest.raises(ValueError, match="identity_weight must be a number, got 'x'"),
    ):
        attacks.SurvivalSMIA(eps=0.1, direct="x")  # type: ignore[arg-type]


@pytest.mark.parametrize("rank", [-1, -3])
def test_ranks_of_wrong_classes_begin_at_0(rank: int) -> None:
    with pytest.raises(ValueError, match=f"rank must be a whole number >= 0, got {rank}"):
        APGDT(eps=0.1, rank=rank)


@pytest.mark.parametrize("rank", [2, 7])
def test_a_rank_beyond_the_wrong_classes_is_refused(rank: int) -> None:
    """Rank 2 of 3 classes was the truth itself: an attack that does nothing."""
    c = case("classification", 2, batch=1)
    with pytest.raises(ValueError, match=rf"rank must be one of the 2 wrong classes, 0 to 1, got {rank}"):
        APGDT(eps=0.1, steps=2, rank=rank)(c.victim, c.image, c.label)
    assert torch.isfinite(APGDT(eps=0.1, steps=2, rank=1)(c.victim, c.image, c.label).damage).all()


def test_text_for_the_weight_of_stabilization() -> None:
    with pytest.raises(ValueError, match="alpha must be a number, got 'nan'"):
        SMIA(eps=0.1, alpha="nan")  # type: ignore[arg-type]


LEAST = [
    ("Square", "queries", 1),
    ("FMN", "steps", 1),
    ("PGD", "steps", 0),
    ("PGD", "restarts", 1),
    ("APGDT", "num_targets", 1),
]
LEAST += [("APGDT", "rank", 0), ("DeepFool", "candidates", 2), ("SMIA", "kernel_size", 1), ("DIFGSM", "probability", 0)]
LEAST += [
    ("SMIA", "alpha", 0),
    ("MIFGSM", "decay", 0),
    ("SurvivalSMIA", "identity_weight", 0),
    ("DeepFool", "overshoot", 0),
]


@pytest.mark.parametrize(("kind", "name", "least"), LEAST)
def test_the_least_value_is_taken_and_the_next_below_refused(kind: str, name: str, least: int) -> None:
    make = partial(getattr(attacks, kind), eps=0.1)
    assert getattr(make(**{name: least}), name) == least
    with pytest.raises(ValueError, match=rf"{name} must .*{least - 1}"):
        make(**{name: least - 1})


@pytest.mark.parametrize("kind", ATTACKS, ids=lambda kind: kind.__name__)
def test_two_attacks_with_the_same_arguments_are_two(kind: type[Attack]) -> None:
    one, other = (kind(**parts_of(kind)) for _ in range(2))
    assert one != other
    assert len({one, other}) == 2
