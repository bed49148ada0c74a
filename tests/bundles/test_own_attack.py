"""An attack in a user's own file reaches a report by the command that the docs name."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from bundles.shipped import CT

from monai_smia.attacks import BIM
from monai_smia.evaluation.plan import PlannedAttack, plan_of
from monai_smia.targets.ct_lung import write_ct_phantoms

DOCS = Path(__file__).parents[2] / "docs" / "evaluation.md"


def documented() -> tuple[str, list[str]]:
    """The file of the section on plans of one's own, and its command."""
    section = DOCS.read_text().split("### A plan of your own")[1].split("\n## ")[0]
    file, command = re.findall(r"```(?:python)?\n(.*?)```", section, re.DOTALL)
    return file, shlex.split(command.replace("\\\n", " ").removeprefix("PYTHONPATH=. "))


def test_by_the_documented_command(tmp_path: Path) -> None:
    file, command = documented()
    (tmp_path / "my_attacks.py").write_text(file)
    phantoms = write_ct_phantoms(tmp_path / "ct", 1, size=(48, 48, 32), spacing=(7.0, 7.0, 7.0), seed=77)
    told = ["--dataset_dir", str(phantoms), "--split", "$None", "--output_dir", str(tmp_path / "out")]
    told += ["--preprocess#pixdim", "[8,8,8]", "--inferer#roi_size", "[32,32,32]"]
    paths = f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"
    environment = {**os.environ, "PYTHONPATH": paths}
    assert command[:2] == ["python", "-m"]
    done = subprocess.run(
        [sys.executable, *command[1:], *told], cwd=CT.root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    rows = {row["attack"]: row for row in summary["rows"] if row["stage"] == "computed"}
    assert list(rows) == ["Clean", "HalfSteps"]
    assert (rows["HalfSteps"]["eps_input"], rows["HalfSteps"]["gradients"]) == (70.0, 3.0)
    assert rows["HalfSteps"]["eps"] == pytest.approx(0.05)
    assert rows["HalfSteps"]["jaccard"] < rows["Clean"]["jaccard"]
    assert "HalfSteps" in (tmp_path / "out" / "report.html").read_text()


def test_attacks_by_themselves_and_rows_in_one_plan() -> None:
    row = PlannedAttack(BIM(eps=0.1), 0.1, "round 1")
    plan = plan_of([BIM(eps=0.2), row], 1.0)
    assert [(each.name, each.setting, each.eps) for each in plan] == [
        ("Clean", "", None),
        ("BIM", "equal radius", 0.2),
        ("BIM", "round 1", 0.1),
    ]
    assert plan_of([PlannedAttack(), row], 1.0)[0].attack is None
    assert len(plan_of([PlannedAttack(), row], 1.0)) == 2
    for wrong in ("BIM", BIM(eps=0.1), None, 3):
        with pytest.raises(ValueError, match="attacks must be a list of attacks or of rows of a plan, got "):
            plan_of(wrong, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="attacks must hold attacks or rows of a plan, got 'BIM'"):
        plan_of(["BIM"], 1.0)  # type: ignore[list-item]
