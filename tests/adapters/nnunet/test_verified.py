"""Evidence of an nnU-Net is computed again, and the Python of docs/nnunet.md runs as it stands there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nnunetv2", reason="needs nnunetv2: pip install 'monai_smia[nnunet]'")

from nnunet_models import CT, write_image, write_label, write_model

from monai_smia.cli import main
from monai_smia.evidence import verify
from monai_smia.evidence.verify import EQUAL

DOCUMENT = Path(__file__).parents[3] / "docs" / "nnunet.md"
SHAPE = (14, 13, 9)


def test_rows_are_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "images" / "case0_0000.nii.gz", SHAPE, seed=0)
    write_label(tmp_path / "labels" / "case0.nii.gz", tmp_path / "images" / "case0_0000.nii.gz")
    model = write_model(tmp_path / "models")
    words = ["--images", "images", "--labels", "labels", "--eps", "24", "--steps", "2", "--preset", "paper"]
    words = ["nnunet", str(model), *words, "--attacks", "Noise", "PGD", "--output_dir", "out"]
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", ["/usr/lib/python3/monai_smia/__main__.py", *words])
    assert main(words) == 0
    found = verify("out", rows=99, given={"model_folder": str(model)})
    assert (found.status, found.unchecked) == (EQUAL, "")
    assert {row.row[:3] for row in found.rows} == {"Cle", "Noi", "PGD"}


def test_the_documents_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.rename(write_model(tmp_path / "made", schemes=(CT, CT)), "nnUNetTrainer__nnUNetPlans__3d_fullres")
    for channel in (0, 1):
        write_image(tmp_path / f"case_{channel:04d}.nii.gz", SHAPE, seed=channel)
    write_label(tmp_path / "case.nii.gz", tmp_path / "case_0000.nii.gz")
    (text,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(text, str(DOCUMENT), "exec"), names)
    assert 0 < names["result"].perturbation.abs().max() <= 20 * (1 + 1e-6)
