"""Attacks as typed dataclasses: signatures, repr, replace, and a state that is the attack's own."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import pytest
import torch
from helpers import ATTACKS, case
from torch import Tensor

import monai_smia.attacks as attacks
from monai_smia.attacks import DAG, FGSM, MIFGSM, PGD, SMIA, Attack, AttackProblem, DeepFool, IterativeAttack, State

CLASSES = [c for c in vars(attacks).values() if inspect.isclass(c) and issubclass(c, Attack)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_every_argument_stands_in_the_signature(kind: type[Attack]) -> None:
    assert is_dataclass(kind)
    parameters = inspect.signature(kind).parameters.values()
    assert {"eps", "norm", "clip", "seed", "keep"} <= {p.name for p in parameters}
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
    positional = {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert positional <= {"attack", "attacks", "shift"}
    undocumented = [
        f.name
        for f in fields(kind)
        if f.init and f.name not in "\n".join(inspect.getdoc(c) or "" for c in kind.__mro__)
    ]
    assert not undocumented


@pytest.mark.parametrize("name", ATTACKS)
def test_replace_changes_one_argument_alone(name: str) -> None:
    attack = ATTACKS[name](seed=3)
    other = replace(attack, seed=5)
    assert (attack.seed, other.seed) == (3, 5)
    before, after = ({f.name: getattr(a, f.name) for f in fields(a)} for a in (attack, other))
    assert before | {"seed": 5} == after
    with pytest.raises(ValueError, match="keep must be one of"):
        replace(attack, keep="first")


def test_repr_says_how_to_make_it_again() -> None:
    attack = SMIA(eps=0.1, alpha=0.5, steps=3)
    assert "alpha=0.5" in repr(attack)
    assert "steps=3" in repr(attack)
    again = eval(repr(attack), {"SMIA": SMIA})
    assert repr(again) == repr(attack)


@pytest.mark.parametrize("kind", [PGD, FGSM, SMIA, DeepFool, DAG])
def test_a_misspelt_argument_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="epsilon"):
        kind(eps=0.1, epsilon=0.1)


@dataclass
class OwnStep(State):
    """Names that the loop might use, too."""

    step: Tensor
    previous: Tensor
    steps_taken: int = 0


@dataclass(kw_only=True, eq=False)
class OwnMomentum(IterativeAttack):
    """MIFGSM whose momentum is called "step"."""

    def initial_state(self, problem: AttackProblem) -> OwnStep:
        return OwnStep(step=torch.zeros_like(problem.image), previous=torch.zeros_like(problem.image))

    def direction(self, gradient: Tensor, state: OwnStep) -> Tensor:
        assert torch.equal(state.step, state.previous)  # nobody else has written to it
        state.steps_taken += 1
        state.step = gradient / gradient.abs().mean((1, 2, 3), keepdim=True) + state.step
        state.previous = state.step
        return state.step


@pytest.mark.parametrize("stop_at", [None, 0.3])
def test_the_state_of_an_attack_is_its_own(stop_at: float | None) -> None:
    """Whatever its fields are called, and also when samples leave the batch."""
    c = case("segmentation", 2, dtype=torch.float64)
    options: dict[str, Any] = {"eps": 0.3, "steps": 20, "step_size": 0.02, "stop_at": stop_at}
    ours, theirs = (attack(**options)(c.victim, c.image, c.label) for attack in (OwnMomentum, MIFGSM))
    assert torch.equal(ours.adversarial, theirs.adversarial)
    assert torch.equal(ours.gradients, theirs.gradients)


def test_state_of_some_samples() -> None:
    @dataclass
    class Nested(State):
        tensor: Tensor
        by_name: dict[str, Tensor]
        count: int

    state = Nested(torch.arange(3), {"a": torch.arange(3) * 2}, 7)
    part = state.select(torch.tensor([True, False, True]))
    assert (part.tensor.tolist(), part.by_name["a"].tolist(), part.count) == ([0, 2], [0, 4], 7)
    assert state.tensor.tolist() == [0, 1, 2]


@pytest.mark.parametrize("old", ["ascent", "prepare", "second_point", "predict"])
def test_a_hook_that_would_never_be_called_is_refused(old: str) -> None:
    with pytest.raises(TypeError, match=rf"Mine.{old} must be called"):
        type("Mine", (IterativeAttack,), {old: lambda *_: None})
