"""The command line."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor

import monai_smia
from monai_smia.adapters.monai_bundle import overlay_path
from monai_smia.attacks import FGSM
from monai_smia.cli import main
from monai_smia.evaluation import AttackEvaluation, PlannedAttack
from monai_smia.metrics import SegmentationMetrics
from monai_smia.victims import SegmentationVictim


def test_the_overlay_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["overlay"]) == 0
    assert Path(capsys.readouterr().out.strip()) == overlay_path()
    assert overlay_path().is_file()


def test_as_a_module() -> None:
    """The exit code is handed on, and nothing is printed twice."""
    command = [sys.executable, "-m", "monai_smia"]
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
    assert said == f"monai_smia {monai_smia.__version__}\n"
    wrong = subprocess.run([*command, "overlays"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "invalid choice: 'overlays'" in wrong.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation of one small case."""
    torch.manual_seed(0)
    image = torch.rand(1, 8, 8, 8)
    folder = tmp_path_factory.mktemp("finished")
    AttackEvaluation(
        cases=[{"case": "a", "image": "a", "label": "a"}],
        loading=lambda item: {"image": MetaTensor(image), "label": (image > 0.5).long()},
        victim=SegmentationVictim(torch.nn.Conv3d(1, 2, 3, padding=1)),
        attacks=[PlannedAttack(), PlannedAttack(FGSM(eps=0.1), 0.1)],
        metrics=SegmentationMetrics(2),
        output_dir=folder,
        progress=False,
    ).run()
    return folder


def undated(page: Path) -> str:
    """A page without when it was made."""
    text, found = re.subn(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "", page.read_text())
    assert found == 1
    return text


def test_report_is_made_anew(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = finished / "report.html"
    before = undated(page)
    page.unlink()
    assert main(["report", str(finished)]) == 0
    assert undated(page) == before
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"Report: {page.resolve()}"
    assert said[0].startswith("Mean jaccard: ")


def test_report_of_no_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize("name", ["absent", "file"])
def test_report_of_what_is_no_folder(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("text")
    assert main(["report", str(tmp_path / name)]) == 1
    assert f"folder {tmp_path / name} does not exist or is a file" in capsys.readouterr().err


def test_report_of_a_changed_folder(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(finished, tmp_path / "changed")
    (folder / "summary.json").write_text((folder / "summary.json").read_text().replace("0.", "0.1", 1))
    assert main(["report", str(folder)]) == 1
    assert "summary.json of" in capsys.readouterr().err
