"""Tables of acquisition shifts and of their certificates, from rows by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

SHIFT: dict[str, Any] = {
    "kind": "shift",
    "weights": "a.pt",
    "shift": "Dose",
    "metric": "jaccard",
    "clean": 0.9,
    "average": 0.8,
    "worst": 0.5,
    "draws": 20,
    "gradients": 8.0,
    "cases": 1,
    "average_interval": [0.75, 0.85],
    "worst_interval": None,
    "average_over": "20 draws of these cases",
    "kept": 0.6,
    "kept_share": 0.861,
    "told": "dose 50 %",
    "beats_draws": True,
    "higher_is_better": True,
    "corruption_error": 1.0,
}
CERTIFICATE: dict[str, Any] = {
    **{name: SHIFT[name] for name in ("weights", "shift", "metric", "clean", "average", "worst", "higher_is_better")},
    "kind": "certificate",
    "attacked": 0.7,
    "certified": 0.65,
    "least_range": 1.4,
    "reach": "dose 40 %",
    "broken": None,
    "crossed": 0,
    "cases": 1,
    "draws": 60,
    "sigma": 1.0,
    "confidence": 0.95,
}


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    known = "measured" in sys.modules
    spec = importlib.util.spec_from_file_location("benchmark_of_shifts", BENCHMARKS / "shifts.py")  # not tests/shifts
    assert spec is not None
    assert spec.loader is not None
    shifts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shifts)
    yield shifts.TABLES
    if not known:
        sys.modules.pop("measured", None)


def test_average_worst_and_what_draws_keep(tables: Any) -> None:
    other = {**SHIFT, "weights": "b.pt", "average": 0.85, "corruption_error": 0.5}
    text = tables["table"].markdown([SHIFT, other, CERTIFICATE])
    line = "| a.pt | Dose | jaccard 0.900 | 0.800 [0.750, 0.850] | 0.600 (86%) | 0.500 | 1 | dose 50 % |"
    assert line in text.splitlines()
    assert "over the 20 draws of these cases" in text
    means = "a.pt 0.8000 on average, 0.5000 at its worst; b.pt 0.8500 on average, 0.5000 at its worst"
    assert f"Means over shifts: {means}." in text
    assert "Relative corruption error of b.pt, over all shifts: 0.50 of that of a.pt." in text
    with pytest.raises(ValueError, match="not true of the rows"):
        tables["table"].markdown([{**SHIFT, "beats_draws": False}])


def test_certified_attacked_average_and_worst_stand_in_one_line(tables: Any) -> None:
    text = tables["certificates"].markdown([SHIFT, CERTIFICATE])
    line = "| Dose | jaccard 0.900 | 0.800 | 0.700 | 0.650 | 0.500 | dose 40 % (1.40 boxes) | - | 1 |"
    assert line in text.splitlines()
    assert "Of 1 certified ranges 0 were broken" in text
    assert "In 1 of 1 rows the attacked median is at least as good" in text
    damage = {**CERTIFICATE, "higher_is_better": False, "attacked": 0.3, "certified": 0.25}
    assert "In 0 of 1 rows" in tables["certificates"].markdown([damage])  # of damage more is worse
    with pytest.raises(ValueError, match="not true of the rows"):
        tables["certificates"].markdown([{**CERTIFICATE, "crossed": 2}])


def test_vafa_stands_beside_its_authors_code_and_pgd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import vafa

    left = {vafa.AUTHORS: (0.5, 0.9), vafa.LAST: (0.45, 0.8), vafa.WORST: (0.4, 0.8), "PGD, 8 gray levels": (0.2, 0.85)}
    rows = [
        {"made on": "a.pt", "to": "b.pt", "attack": name, "jaccard": [own], "transfer": [other], "largest": [9.0]}
        for name, (own, other) in left.items()
    ]
    text = vafa.TABLES["table"].markdown([{**row, "rms": [2.0]} for row in rows])
    assert "| a.pt | VAFA, worst step | 0.400 | 0.800 | 9.0 | 2.00 | 1 |" in text.splitlines()
    assert "the authors' code leaves 0.500, the worst step of ours 0.400, their level or more damage" in text
    assert "Carried over from a.pt to b.pt it leaves 0.800, less than PGD of 8 gray levels, 0.850." in text
    for name in ("vafa", "survival_study", "measured"):
        sys.modules.pop(name, None)
