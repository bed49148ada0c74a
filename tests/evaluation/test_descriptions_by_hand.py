"""What a fingerprint tells apart, and what is said of configurations and plans."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from monai_smia.attacks import BIM, PGD, Noise
from monai_smia.evaluation import PlannedAttack
from monai_smia.evaluation.console import LOGGER
from monai_smia.evaluation.describe import describe
from monai_smia.evaluation.errors import (
    ConfigurationError,
)
from monai_smia.evaluation.facts import spec_of
from monai_smia.evaluation.plain import contents_of, draws, file_contents, globals_of, listed, plain_value, slots_of
from monai_smia.evaluation.progress import Progress, _first_difference
from monai_smia.metrics import ClassificationMetrics
from monai_smia.records import Journal
from monai_smia.victims import ClassificationVictim

CPU = torch.device("cpu")


NOISE = PlannedAttack(Noise(eps=0.1), 0.1, "x")
LONG = PlannedAttack(PGD(eps=0.1, steps=9), 0.1, "x")


class Linear(nn.Module):
    """Logits 0 and the sum of the voxels, plus how often it was asked, where it is told to count."""

    def __init__(self, drift: float = 0.0) -> None:
        super().__init__()
        self.drift, self.calls = drift, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        total = x.flatten(1).sum(1, keepdim=True) + self.drift * self.calls
        return torch.cat([torch.zeros_like(total), total], 1)


def test_values_that_are_told_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("content")
    told = plain_value(str(tmp_path / "a.txt"))
    assert told == plain_value(tmp_path / "a.txt")
    assert told.startswith("file ")
    assert plain_value(tmp_path / "gone") == "path"
    for name in ("word", "word.x"):
        (tmp_path / name).write_text("content")
    assert plain_value("word") == "word"  # though a file here is called so
    assert plain_value("word.x") == told
    assert plain_value("x/" * 5000) == "x/" * 5000
    assert plain_value("text") == "text"
    assert [plain_value(v) for v in (True, 3, 0.5, float("inf"), CPU, torch.float32, ..., 1j)] == [
        *(True, 3, 0.5, "inf", "device", "torch.float32", "Ellipsis", "1j")
    ]
    assert plain_value(np.dtype("int8")) == "int8"
    assert plain_value(logging.getLogger("x")) == "Logger"
    assert plain_value([1]) is plain_value(None) is None
    assert plain_value(b"a") == plain_value(bytearray(b"a")) != plain_value(b"b")
    assert plain_value(np) == "module numpy"
    (tmp_path / "b").write_text("x")
    assert file_contents(str(tmp_path / "b")) is not None
    assert file_contents(f"{tmp_path / 'b'}\n") is None  # no path has lines
    assert plain_value(str(tmp_path / "gone")).startswith("path ")


def test_what_functions_and_classes_hold() -> None:
    outer = 3

    def closing() -> int:
        return outer + len(LOGGER.name)

    assert closing.__closure__ is not None
    assert [contents_of(cell) for cell in closing.__closure__] == [3]
    assert globals_of(closing.__code__) == {"LOGGER", "len"}
    assert slots_of(type("S", (), {"__slots__": ("a", "__weakref__")})) == ["a"]
    assert slots_of(type("S", (), {"__slots__": "ab"})) == ["ab"]
    assert slots_of(Linear) == []
    assert listed(iter([1, 2])) == [1, 2]
    assert listed((1, 2)) == (1, 2)
    assert not draws(Linear())


def test_descriptions_that_must_differ() -> None:
    values = [
        torch.zeros(2),
        torch.zeros(2, dtype=torch.float64),
        torch.zeros(1, 2),
        torch.ones(2),
        MetaTensor(torch.zeros(2), affine=torch.eye(4)),
        MetaTensor(torch.zeros(2), affine=2 * torch.eye(4)),
        np.zeros(2),
        np.array([1, "a"], dtype=object),
        np.float32(0),
        {"a": 1},
        {1: 1},
        {2, 1},
        [1, 2],
        [2, 1],
        Linear(),
        Linear(drift=1.0),
        nn.Linear(2, 2),
    ]
    assert len({str(describe(value)) for value in values}) == len(values)
    assert describe({2, 1}) == describe({1, 2})
    assert describe(Linear()) == describe(Linear())


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b: 1 -> 2"),
        ({"a": 1}, {"a": 1, "c": 3}, "c: None -> 3"),
        ([1, [2, 3]], [1, [2, 4]], "[1][1]: 3 -> 4"),
        ([1], [1, 2], "[1] -> [1, 2]"),
        ("x" * 70, "y", f"{'x' * 60} -> y"),
    ],
)
def test_the_first_difference_of_two_configurations(before: Any, now: Any, told: str) -> None:
    assert _first_difference(before, now) == told


def test_records_of_another_configuration_are_refused_by_the_difference(tmp_path: Path) -> None:
    def progress(value: int, **options: Any) -> Progress:
        return Progress(tmp_path, [{"case": "a"}], [PlannedAttack(), NOISE], {"weights": "w", "x": value}, **options)

    first = progress(1)
    first.open()
    assert (first.run, first.rounds, first.round) == (1, [1], 1)
    assert first.missing({"case": "a"}) == [PlannedAttack(), NOISE]
    with Journal(first.folder / "rank0.jsonl") as journal:
        journal.add(first.line({"case": "a"}, NOISE, []))
    again = progress(1)
    again.open()
    assert again.run == 2
    assert again.missing({"case": "a"}) == [PlannedAttack()]
    with pytest.raises(ConfigurationError, match=r"another configuration.*x \(1 -> 2\)"):
        progress(2).open()
    anew = progress(2, resume=False)
    anew.open()
    assert (anew.run, len(anew.missing({"case": "a"}))) == (1, 2)


def test_the_facts_of_an_evaluation() -> None:
    victim = ClassificationVictim(nn.Linear(4, 2))
    rows = [PlannedAttack(), LONG, PlannedAttack(BIM(eps=0.1, step_size=0.02), 0.1, "y"), NOISE]
    options: dict[str, Any] = {"unit": "HU", "device": CPU, "about": {}}
    spec = spec_of(victim, rows, ClassificationMetrics(2), **options)
    assert (spec.network, spec.gradient_through, spec.unit) == ("Linear", ["Linear"], "HU")
    steps = [row.parameters.get("step_size") for row in spec.rows]
    assert steps == [None, pytest.approx(2.5 * 0.1 / 9), 0.02, pytest.approx(0.25)]
    assert (spec.sampled, spec.about) == ("case", {})
    for made, text in ((0, None), (1, "1 of 2 cases"), (2, "All cases")):
        items = [{"patient": "P", "synthetic": i < made} for i in range(2)]
        found = spec_of(victim, rows, ClassificationMetrics(2), cases=items, **options)
        assert found.sampled == "patient"
        assert found.about.get("data", "").startswith(text or "")
        assert ("data" in found.about) is (made > 0)
    some = spec_of(victim, rows, ClassificationMetrics(2), cases=[{"patient": "P"}, {}], **options)
    assert some.sampled == "case"
