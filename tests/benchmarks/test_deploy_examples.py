"""Examples of the MONAI Deploy App SDK take the attack step in: their text, and a checkout that is run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
APPLICATION = """import logging
from pathlib import Path

from monai.deploy.core import Application


class App(Application):
    def compose(self):
        self.add_flow(load, volume, {("study_selected_series_list", "study_selected_series_list")})
        self.add_flow(volume, segment, {("image", "image")})
        self.add_flow(segment, write, {("pred", "seg_image")})
"""


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("deploy_examples", BENCHMARKS / "deploy_examples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_import_and_two_flows_are_all_that_changes(examples: Any) -> None:
    changed = examples.taken_in(APPLICATION, 70.0)
    assert examples.changed_lines(APPLICATION, changed) == (1, 3)
    compile(changed, "app.py", "exec")
    lines = changed.splitlines()
    assert lines[3] == "from monai_smia.adapters.monai_deploy import AttackOperator"
    assert lines[10].startswith(
        "        self.add_flow(volume, attack := AttackOperator(self, inference=segment, input_"
    )
    assert lines[10].endswith('eps=70.0, name="attack"), {("image", "image")})')
    assert lines[11] == '        self.add_flow(attack, segment, {("image", "image")})'
    for text in (APPLICATION.replace('"image"', '"seg"'), APPLICATION + APPLICATION):
        with pytest.raises(ValueError, match=r"must have one flow of an image to an operator, got [02]"):
            examples.taken_in(text, 70.0)


@pytest.mark.slow
def test_the_examples_of_a_checkout_run_with_it() -> None:
    pytest.importorskip("monai.deploy.core", reason="needs monai-deploy-app-sdk: pip install 'monai_smia[deploy]'")
    if "MONAI_SMIA_DEPLOY_SDK" not in os.environ:
        pytest.skip("MONAI_SMIA_DEPLOY_SDK must be a checkout of Project-MONAI/monai-deploy-app-sdk")
    done = subprocess.run([sys.executable, "deploy_examples.py"], cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # a claim that is not true of the rows is an error
    assert done.stdout.count("one line of `add_flow` becomes two") == 2
