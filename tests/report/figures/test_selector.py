"""Of every attack the worst and the best case is drawn, whatever the order and the interruptions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.test_resume import quick
from evaluation.test_runner import write_case
from record_helpers import record

from monai_smia.evaluation.errors import FailedCasesError
from monai_smia.metrics import SegmentationMetrics
from monai_smia.records import Primary
from monai_smia.report.figures.selector import FigureSelector


def mark(path: Path, *args: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode())


def cases_of(folder: Path, shades: Sequence[int]) -> list[dict[str, str]]:
    """Cases whose lung is so many HU darker: attacks do less to it."""

    def darker(by: int) -> Any:
        def change(image: np.ndarray, label: np.ndarray) -> None:
            image[label > 0] -= by

        return change

    return [write_case(folder, f"c{i}", darker(shade)) for i, shade in enumerate(shades)]


def drawn(folder: Path) -> set[str]:
    return {path.name for path in (folder / "figures").glob("*.png")}


def test_the_worst_and_the_best_case_of_every_attack_are_drawn(tmp_path: Path) -> None:
    cases, options = cases_of(tmp_path, (24, 12, 60, 0, 36, 48)), {"figure": mark, "figures": 0}
    quick(cases, tmp_path / "whole", **options).run()
    records = [json.loads(line) for line in (tmp_path / "whole" / "records.jsonl").read_text().splitlines()]
    expected = set()
    for slug in ("noise", "bim", "smia"):
        slug += "_equal-radius_eps0.05"
        of_row = [r for r in records if r["key"].endswith(f"|{slug}") and r["stage"] == "computed"]
        most, least = (pick(of_row, key=lambda r: (r["added_damage"], -r["jaccard"])) for pick in (max, min))
        expected |= {f"{r['case']}_{slug}.png" for r in (most, least) if r is least or r["added_damage"] > 0}
    assert drawn(tmp_path / "whole") == expected
    quick(cases[3:], tmp_path / "parts", **options).run()
    quick(cases, tmp_path / "parts", **options).run()
    assert drawn(tmp_path / "parts") == expected
    quick(cases, tmp_path / "first", figure=mark, figures=1).run()
    assert drawn(tmp_path / "first") == expected | {n.replace(n[:2], "c0") for n in expected}
    page = (tmp_path / "whole" / "report.html").read_text()
    assert page.count("<figcaption>best case: ") == 3
    assert 2 <= page.count("<figcaption>worst case: ") == len(expected) - 3


def test_a_case_that_fails_on_its_way_takes_no_ones_place(tmp_path: Path) -> None:
    class Fragile(SegmentationMetrics):
        """Fails at its seventh call: on the second case, whose third row it is of four."""

        calls = 0

        def case(self, *args: Any) -> dict[str, Any]:
            self.calls += 1
            if self.calls == 7:
                raise ValueError("broken")
            return super().case(*args)

    cases = cases_of(tmp_path, (0, 60, 24))  # without the second one, the third is the best
    with pytest.raises(FailedCasesError, match="1 of 3 cases failed: c1"):
        quick(cases, tmp_path / "out", figure=mark, figures=0, metrics=Fragile(2), storage=None).run()
    assert {name[:2] for name in drawn(tmp_path / "out")} == {"c0", "c2"}
    assert len(drawn(tmp_path / "out")) == 6


def test_of_equals_the_first_is_drawn() -> None:
    selector = FigureSelector(Path(), ["a", "b", "c"], 0, Primary("accuracy", True))
    assert selector.should_draw(record("BIM", "b", accuracy=1.0))
    selector.note([record("BIM", "b", accuracy=1.0)])
    assert not selector.should_draw(record("BIM", "c", accuracy=1.0))
    assert selector.should_draw(record("BIM", "a", accuracy=1.0))
    assert selector.should_draw(record("BIM", "c", accuracy=0.0))
    assert selector.should_draw(record("PGD", "c", accuracy=1.0))
