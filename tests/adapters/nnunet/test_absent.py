"""Without nnU-Net its command says so; this one runs everywhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from monai_smia.cli import main


def test_where_nnunet_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setitem(sys.modules, "nnunetv2", None)  # importing it fails
    (tmp_path / "fold_0").mkdir()
    for name in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth"):
        (tmp_path / name).write_text("{}")
    assert main(["nnunet", str(tmp_path), "--images", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "nnunetv2 is not installed: pip install 'monai_smia[nnunet]'.\n"
