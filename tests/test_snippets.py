"""The Python of the documents runs as it stands there, on small data in the places that it names."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from auto3dseg_models import write_algorithm
from auto3dseg_models import write_case as write_auto3dseg_case
from dicom_files import phantom_series
from model_files import Dark, script
from product_helpers import cases
from torch import nn

from monai_smia.victims import SegmentationVictim

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("bundles/*/docs/*.md")]
)
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = {  # pages whose snippets another test runs, or that are parts of a class that they do not show
    "README.md": "tests/test_readme.py",
    "CONTRIBUTING.md": "tests/test_readme.py",
    "docs/python.md": "tests/test_readme.py",
    "docs/monai_deploy.md": "tests/adapters/monai_deploy/test_operators.py",
    "docs/nnunet.md": "tests/adapters/nnunet/test_verified.py",
}


def snippets(page: str) -> list[str]:
    return FENCE.findall((ROOT / page).read_text(encoding="utf-8"))


def _bundles(folder: Path) -> dict[str, Any]:
    (folder / "bundles").symlink_to(ROOT / "bundles")
    os.rename(phantom_series(folder / "made")[0], folder / "ct")
    return {}


def _auto3dseg(folder: Path) -> dict[str, Any]:
    os.rename(write_auto3dseg_case(folder)["image"], folder / "case.nii.gz")
    write_algorithm(folder / "work_dir" / "segresnet_0")
    return {}


def _file(folder: Path) -> dict[str, Any]:
    os.rename(cases(folder)[0], folder / "imagesTs")
    script(Dark(), folder / "model.ts")
    return {}


def _prompted(folder: Path) -> dict[str, Any]:
    class Prompted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image_encoder, self.decoder = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.decoder(self.image_encoder(image).tanh())

    torch.manual_seed(0)
    image = torch.rand(1, 1, 8, 8)
    return {"victim": SegmentationVictim(Prompted()), "image": image, "label": (image > 0.5).long()}


def _asked(folder: Path) -> dict[str, Any]:
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 4), np.int16), np.eye(4)), folder / "ct.nii.gz")
    return {}


def _nothing(folder: Path) -> dict[str, Any]:
    return {}


PLACES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "docs/auto3dseg.md": _auto3dseg,
    "docs/blackbox.md": _asked,
    "docs/evaluation.md": _nothing,
    "docs/hospital.md": _bundles,
    "docs/landmarks.md": _nothing,
    "docs/model_file.md": _file,
    "docs/prompts.md": _prompted,
    "docs/shifts.md": _nothing,
}


def test_every_page_with_python_is_here() -> None:
    names = [page.relative_to(ROOT).as_posix() for page in PAGES]
    assert {name for name in names if snippets(name)} == PLACES.keys() | ELSEWHERE.keys()
    assert all((ROOT / file).is_file() for file in ELSEWHERE.values())


@pytest.mark.parametrize("page", PLACES)
def test_it_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = PLACES[page](tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    names["__name__"] = "snippet"
    monkeypatch.setitem(sys.modules, "snippet", type(sys)("snippet"))  # where dataclasses look their module up
    for block in snippets(page):
        exec(compile(block, page, "exec"), names)
    if page == "docs/hospital.md":  # what is stored keeps to its radius, and does harm
        assert 0 < (names["storage"].read(names["folder"]) - names["image"]).abs().max() <= 20
        assert (names["clean"] & names["attacked"]).sum() < names["clean"].sum()
    elif "result" in names:
        eps = {"docs/landmarks.md": 0.05, "docs/prompts.md": 0.03, "docs/shifts.md": None}.get(page, 20.0)
        change = names["result"].perturbation.abs().max()
        assert change > 0
        assert eps is None or change <= eps * (1 + 1e-5)
    elif page == "docs/model_file.md":
        assert (tmp_path / "model_attack_eval" / "report.html").is_file()
    elif page == "docs/evaluation.md":
        assert names["HalfSteps"](eps=0.5).default_step_size(0.5) == 0.25
