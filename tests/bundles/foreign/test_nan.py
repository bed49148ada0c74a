"""A network that is NaN at one of its predictions never gives a figure through the overlay (fault 2)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from bundles.foreign.build import Foreign, build
from bundles.foreign.test_foreign import overlay, said_by

pytestmark = pytest.mark.usefixtures("no_charts")


def spoilt_at(calls: list[int], number: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the calls of the network; the one of this number gives NaN."""
    calls.clear()
    forward = forward_of_conv

    def counted(module: torch.nn.Conv3d, image: torch.Tensor) -> torch.Tensor:
        calls.append(len(calls))
        output = forward(module, image)
        return output * torch.nan if calls[-1] == number else output

    monkeypatch.setattr(torch.nn.Conv3d, "forward", counted)


forward_of_conv = torch.nn.Conv3d.forward


def test_nan_at_any_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    options = {"attack#only": ["BIM"], "steps": 2}
    spoilt_at(calls, None, monkeypatch)
    right, _ = overlay(build(tmp_path / "right", Foreign(), cases=1), options)
    total = len(calls)
    assert total > 20
    for number in range(0, total, 3):
        bundle = build(tmp_path / str(number), Foreign(), cases=1)
        spoilt_at(calls, number, monkeypatch)
        with pytest.raises((RuntimeError, ValueError)) as caught:
            overlay(bundle, options)
        said = said_by(caught.value)
        assert any(re.search("NaN or infinite|finite|make it deterministic", text) for text in said), (number, said)
        records = bundle / "eval" / "attack_eval" / "records.jsonl"
        found = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
        for record in (r for r in found if r["status"] == "ok"):  # what was done before is as it was
            row = right[record["attack"], record["stage"]]
            assert record["dice"] == pytest.approx(row["dice"])
