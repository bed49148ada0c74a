"""What a fingerprint takes by its version, that of libraries and ours, and what by its text, that of users."""

from __future__ import annotations

import importlib.util
import json
import types
from pathlib import Path

import pytest
import torch

import monai_smia
from monai_smia.evaluation.describe import describe
from monai_smia.evaluation.plain import is_users
from monai_smia.nearest import nearest

PACKAGE = Path(monai_smia.__file__).parent
CODE = "def scaled(x):\n    return x * {factor}\n"


def function_of(file: Path, factor: int = 2) -> types.FunctionType:
    """A function of a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(CODE.format(factor=factor))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.scaled  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "function", [torch.nn.functional.relu, json.dumps, nearest, Path.glob, importlib.import_module]
)
def test_libraries_and_this_package_have_versions(function: types.FunctionType) -> None:
    assert not is_users(function)


@pytest.mark.parametrize("folder", ["env/lib/python3.11/site-packages/models", "lib/python3/dist-packages"])
def test_a_library_of_another_environment_is_one(folder: str, tmp_path: Path) -> None:
    """As below a virtual environment that stands on top of another, or of a user's own packages."""
    assert not is_users(function_of(tmp_path / folder / "library_of_others.py"))


@pytest.mark.parametrize("folder", [".", "monai_smia_plugins", "site-packages-of-mine"])
def test_code_of_users_is_told_by_its_text(folder: str, tmp_path: Path) -> None:
    file = tmp_path / folder / "my_own_code.py"
    two, three = (describe(function_of(file, factor)) for factor in (2, 3))
    assert is_users(function_of(file))
    assert two != three


def test_a_folder_whose_name_begins_as_the_packages_is_not_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """`monai_smia_plugins` beside `monai_smia` would begin with its path."""
    function = types.FunctionType((lambda x: x).__code__.replace(co_filename=f"{PACKAGE}_plugins/attack.py"), {})
    function.__module__ = "no_module_of_this_name"
    assert is_users(function)
