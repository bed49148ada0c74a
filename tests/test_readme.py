"""The Python snippets of README and docs/python.md run as written, those of a page in order, in one namespace."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from monai_smia.victims import ClassificationVictim

ROOT = Path(__file__).resolve().parent.parent


def run(page: Path, least: int) -> dict[str, object]:
    """Run the snippets of a page; what they have named."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= least
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
    return names


def test_the_readme() -> None:
    names = run(ROOT / "README.md", 1)
    assert 0 < names["result"].perturbation.abs().max() <= 0.03 + 1e-6  # type: ignore[attr-defined]


def test_the_readme_is_one_screen() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    assert sum(line.startswith("![") for line in lines) == 1


def test_snippets_run_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(ROOT / "docs" / "python.md", 5)
    assert (tmp_path / "robustness" / "report.html").is_file()
    rows = {row["attack"]: row for row in names["summary"]["rows"] if row["stage"] == "stored"}  # type: ignore[index]
    assert rows["PGD"]["linf"] <= 42
    assert rows["PGD"]["jaccard"] < rows["Noise"]["jaccard"]
    evaluator, image, item = names["evaluator"], names["image"], names["item"]
    seen = evaluator.state.attack_result.perturbation  # type: ignore[attr-defined]
    assert 0 < seen.abs().max() <= 0.03 + 1e-6
    assert 0 < (item["image"] - image[0]).abs().max() <= 0.03 + 1e-6  # type: ignore[index]


def test_the_attack_of_ten_lines_passes_style_and_attacks(tmp_path: Path) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    file = ["--stdin-filename", str(ROOT / text.partition("\n")[0].removeprefix("# "))]
    for words in (["check", *file, "-"], ["format", "--check", *file, "-"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout
    (tmp_path / "half_steps.py").write_text(text)
    attack = runpy.run_path(str(tmp_path / "half_steps.py"))["HalfSteps"](eps=0.5, steps=1, clip=None)
    victim = ClassificationVictim(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)))
    change = attack(victim, torch.rand(1, 1, 2, 2), torch.tensor([0])).perturbation
    assert torch.allclose(change.abs(), torch.full_like(change, 0.25))  # one step of half the radius
