"""The README's Python snippets run as written, in order, in one namespace."""

from __future__ import annotations

import re
from pathlib import Path

import torch

README = Path(__file__).resolve().parent.parent / "README.md"


def test_snippets_run_as_written() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    evaluator, image, item = names["evaluator"], names["image"], names["item"]
    seen = evaluator.state.attack_result.perturbation  # type: ignore[attr-defined]
    assert 0 < seen.abs().max() <= 0.03 + 1e-6
    assert 0 < (item["image"] - image[0]).abs().max() <= 0.03 + 1e-6  # type: ignore[index]
