"""What is installed is what was tested, and what is loaded runs no code."""

from __future__ import annotations

import ast
import json
import pickle
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles.foreign.build import LOAD, Foreign, build
from bundles.shipped import CT, ENDOSCOPY, FUNDUS, Shipped
from packaging.requirements import Requirement
from shell import shell

from monai_smia.adapters import OVERLAY
from monai_smia.adapters.monai_bundle import check_bundle as imported_before_the_fork

ROOT = Path(__file__).parents[1]
LEAST = {"torch": "2.6", "monai": "1.5.1"}  # below them a checkpoint runs code, whatever its reader says


def pinned(name: str) -> dict[str, tuple[str, list[str]]]:
    """Versions and hashes of a lock file."""
    text = (ROOT / name).read_text()
    found = re.findall(r"^([a-z0-9.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M)
    assert len(found) == len(re.findall(r"^[a-z]\S*==", text, re.M)) > 0
    return {package: (number, re.findall("[0-9a-f]{64}", hashes)) for package, number, hashes in found}


def requirements() -> list[Requirement]:
    """Of the package, its tests and the libraries that these compare with."""
    call = next(
        node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text())) if getattr(node, "func", None) is not None
        and getattr(node.func, "id", "") == "setup"
    )  # fmt: skip
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    extras = ast.literal_eval(values["extras_require"])
    return [Requirement(r) for r in (*ast.literal_eval(values["install_requires"]), *extras["test"], *extras["peers"])]


def test_the_lock_has_all_that_is_required_and_nothing_out_of_range() -> None:
    locked = pinned("requirements.lock")
    for requirement in requirements():
        name = requirement.name.lower()
        if name != "torch":  # whose build is the machine's
            assert requirement.specifier.contains(locked[name][0]), requirement
    assert "torch" not in locked
    assert len(locked) > 60


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-peers.lock"])
def test_every_package_has_a_hash_and_is_what_runs_here(name: str) -> None:
    """The tests run with it: another version in this environment is a lock that nobody has tested."""
    for package, (number, hashes) in pinned(name).items():
        assert hashes
        if package != "setuptools":
            assert version(package) == number, package


def test_make_asks_for_the_hashes() -> None:
    text = (ROOT / "Makefile").read_text()
    assert "--require-hashes --no-deps --requirement" in text
    assert "LOCK ?= requirements.lock" in text


def test_lower_bounds_leave_known_holes_out() -> None:
    bounds = {r.name: r.specifier for r in requirements()}
    for name, least in LEAST.items():
        assert str(bounds[name]) == f">={least}"
    constraints = (ROOT / "constraints.txt").read_text()
    assert re.search(r"^torch==2\.13\.0$", constraints, re.M)


class Evil:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def test_the_pickle_of_these_tests_would_be_noticed(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "run")))
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize("bundle", [CT, FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)
@pytest.mark.parametrize("kind", ["torch", "legacy", "pickle"])
def test_a_pickle_in_the_weights_is_not_run(kind: str, bundle: Shipped, tmp_path: Path) -> None:
    weights, mark = tmp_path / "model.pt", tmp_path / "run"
    if kind == "pickle":
        weights.write_bytes(pickle.dumps({"a": Evil(mark)}))
    else:
        torch.save({"a": Evil(mark)}, weights, _use_new_zipfile_serialization=kind == "torch")
    config = bundle.configs("attack_eval")[0]
    run = ["attack_eval", "--config_file", config, "--bundle_root", bundle.root, "--output_dir", tmp_path / "out"]
    done = shell([*run, "--weights", weights], tmp_path)
    assert done.status == 1
    assert "weights" in done.last.lower()
    assert not mark.exists()


@pytest.mark.parametrize("where", ["weights", "image .npy", "image .npz", "label"])
def test_nor_in_what_a_bundle_loads(where: str, tmp_path: Path) -> None:
    """Through the overlay, by a bundle's own loader; a case that holds one fails."""
    suffix = ".npy" if where != "weights" else ".nii.gz"
    bundle = build(tmp_path / "bundle", Foreign(suffix=suffix, load=list(LOAD), steps=[]), cases=1)
    path, mark = bundle / "configs" / "inference.json", tmp_path / "run"
    config = json.loads(path.read_text())
    item = config["datalist"][0]
    evil = np.array([Evil(mark)], dtype=object)
    if where == "weights":
        torch.save({"weight": Evil(mark)}, bundle / "models" / "model.pt")
    elif where == "image .npz":
        item["image"] = item["image"].replace(".npy", ".npz")
        np.savez(item["image"], a=evil)
    else:
        np.save(item["label" if where == "label" else "image"], evil, allow_pickle=True)
    path.write_text(json.dumps(config))
    files = json.dumps([str(path), str(OVERLAY)])
    quick = ["--steps", "1", "--attack#only", "['FGSM']"]
    done = shell(["attack_eval", "--config_file", files, "--bundle_root", bundle, *quick], tmp_path)
    assert done.status == 1
    assert not mark.exists()
    assert re.search("pickle|weights_only|Weights only", done.last), done.last
    assert callable(imported_before_the_fork)
    assert sys.modules["monai_smia"]
