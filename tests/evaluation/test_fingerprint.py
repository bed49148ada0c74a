"""What a resumed evaluation must not mix: every single thing that decides a figure, changed on its own."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from evaluation.changes import CHANGES, KEYS, Body, Shifted, attack, global_shift, load, shift, victim
from evaluation.test_resume import quick
from evaluation.test_runner import write_case
from monai.networks.nets import BasicUNet
from monai.transforms import (
    CropForegroundd,
    EnsureTyped,
    KeepLargestConnectedComponentd,
    Lambdad,
    Orientationd,
    SavitzkyGolaySmoothd,
    ScaleIntensityRangePercentilesd,
    Spacingd,
)

from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.describe import UnknownObjectError, describe
from monai_smia.evaluation.errors import ConfigurationError
from monai_smia.storage import NiftiStorage

pytestmark = pytest.mark.usefixtures("no_charts")


def evaluation(case: dict[str, str], folder: Path, options: dict[str, Any]) -> AttackEvaluation:
    defaults = {**victim(), **attack(), "loading": load(), "storage": NiftiStorage(folder / "volumes")}
    return quick([case], folder, **{**defaults, **copy.deepcopy(options)})


def figures(summary: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in summary["rows"]]


def refused_or_anew(case: dict[str, str], before: Path, fresh: Path, options: dict[str, Any]) -> None:
    """Resumed where another evaluation was: refused, or the figures of one that begins anew."""
    try:
        found = figures(evaluation(case, before, options).run())
    except ConfigurationError:
        return
    assert found == figures(evaluation(case, fresh, options).run())


@pytest.mark.parametrize("name", CHANGES)
def test_one_thing_changed_is_never_mixed(tmp_path: Path, name: str) -> None:
    case = write_case(tmp_path, "a")
    first, second = CHANGES[name]
    before = figures(evaluation(case, tmp_path / "out", first).run())
    configuration = (tmp_path / "out" / "journal" / "configuration.json").read_bytes()
    again = evaluation(case, tmp_path / "out", first)  # unchanged: nothing is refused
    assert figures(again.run()) == before
    assert (tmp_path / "out" / "journal" / "configuration.json").read_bytes() == configuration
    made = [evaluation(case, tmp_path / part, o).make_progress() for part, o in (("x", first), ("y", second))]
    assert len({json.dumps([each.configuration, each.digests], sort_keys=True) for each in made}) == 2
    refused_or_anew(case, tmp_path / "out", tmp_path / "fresh", second)


def test_a_global_that_a_function_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = write_case(tmp_path, "a")
    evaluation(case, tmp_path / "out", shift(global_shift)).run()
    monkeypatch.setattr(sys.modules["evaluation.changes"], "SHIFT", 30.0)
    with pytest.raises(ConfigurationError, match="SHIFT"):
        evaluation(case, tmp_path / "out", shift(global_shift)).run()


@pytest.mark.parametrize("as_path", [True, False])
def test_a_file_that_a_transform_reads_counts_and_its_place_does_not(tmp_path: Path, as_path: bool) -> None:
    case, table = write_case(tmp_path, "a"), tmp_path / "table.txt"
    kind: Any = Path if as_path else str

    def options(path: Path) -> dict[str, Any]:
        return {"loading": load(Shifted(_table=kind(path)))}

    table.write_text("0")
    evaluation(case, tmp_path / "out", options(table)).run()
    moved = tmp_path / "moved.txt"
    shutil.copy(table, moved)
    evaluation(case, tmp_path / "out", options(moved)).run()
    moved.write_text("30")
    with pytest.raises(ConfigurationError, match="_table"):
        evaluation(case, tmp_path / "out", options(moved)).run()


@pytest.mark.parametrize("drawn", range(12))
def test_an_input_that_changes_in_one_voxel_is_done_anew(tmp_path: Path, drawn: int) -> None:
    """Whatever its time of change and its size say."""
    draw = random.Random(drawn)
    case = write_case(tmp_path, "a")
    evaluation(case, tmp_path / "out", {}).run()
    path = Path(case[draw.choice(KEYS)])
    volume, stat = nib.Nifti1Image.from_filename(path), path.stat()
    values = np.asarray(volume.dataobj).copy()
    values[3 : 3 + draw.randint(1, 5)] = values.max() if draw.random() < 0.5 else values.min()
    nib.save(nib.Nifti1Image(values, volume.affine), path)
    if draw.random() < 0.7:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    refused_or_anew(case, tmp_path / "out", tmp_path / "fresh", {})


def test_the_same_thing_is_described_alike_in_every_process(tmp_path: Path) -> None:
    code = """
import json, sys
sys.path.insert(0, sys.argv[1])
from evaluation.changes import CHANGES
from monai_smia.evaluation.describe import describe
print(json.dumps([describe(options) for pair in CHANGES.values() for options in pair]))
"""
    tests = str(Path(__file__).parents[1])
    said = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, tests],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        said.append(json.loads(done.stdout.splitlines()[-1]))
    assert said[0] == said[1]
    assert len({json.dumps(each, sort_keys=True) for each in said[0]}) > len(CHANGES)


def test_what_cannot_be_taken_apart_is_refused_by_name(tmp_path: Path) -> None:
    with (tmp_path / "open.txt").open("w") as stream:
        loading = load(Shifted(_table=None, handle=stream))
        with pytest.raises(UnknownObjectError, match=r"handle is of _io\.TextIOWrapper, of which it cannot be said"):
            quick([write_case(tmp_path, "a")], tmp_path / "out", loading=loading).run()


def test_what_decides_nothing_is_not_described(tmp_path: Path) -> None:
    class Lazy:
        lock = threading.Lock()

        def __init__(self, folder: Path) -> None:
            self.folder, self.lock, self.device = folder, threading.Lock(), torch.device("cpu")

        @cached_property
        def computed(self) -> object:
            return object()

    first, second = Lazy(tmp_path), Lazy(tmp_path / "other")
    second.device = torch.device("meta")
    assert second.computed is not None
    assert describe(first) == describe(second)
    body = Body()
    before = describe(body)
    body.train().requires_grad_(False)
    assert describe(body) != describe(Body(bias=1.0))
    assert describe(body) == before


def test_objects_that_hold_each_other_end() -> None:
    first: dict[str, Any] = {}
    first["second"] = {"first": first, "list": [first]}
    assert describe(first) == {"second": {"first": "that 2 above", "list": ["that 3 above"]}}


TRANSFORMS = {
    "Orientationd": lambda: Orientationd(KEYS, "LPS", labels=None),
    "Spacingd": lambda: Spacingd(KEYS, (2.0, 2.0, 2.0), mode=["bilinear", "nearest"]),
    "CropForegroundd": lambda: CropForegroundd(KEYS, source_key="image"),
    "ScaleIntensityRangePercentilesd": lambda: ScaleIntensityRangePercentilesd("image", 1, 99, 0, 1),
    "SavitzkyGolaySmoothd": lambda: SavitzkyGolaySmoothd("image", 5, 1),
    "KeepLargestConnectedComponentd": lambda: KeepLargestConnectedComponentd("label", applied_labels=[1]),
    "Lambdad": lambda: Lambdad("image", lambda x: x + 1),
    "EnsureTyped": lambda: EnsureTyped(KEYS),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_use_leaves_a_description_as_it_was(tmp_path: Path, name: str) -> None:
    case = write_case(tmp_path, "a")
    loading = load(TRANSFORMS[name]())
    before = describe(loading)
    loading(dict(case))
    assert describe(loading) == before == describe(load(TRANSFORMS[name]()))


@pytest.mark.parametrize("kind", ["plain", "scripted", "traced"])
def test_a_networks_description_is_of_its_weights_and_code(kind: str) -> None:
    def made(seed: int) -> Any:
        torch.manual_seed(seed)
        network = BasicUNet(2, 1, 2, (4, 4, 8, 8, 8, 4)).eval()
        image = torch.rand(1, 1, 32, 32)
        if kind == "plain":
            return network
        return torch.jit.script(network) if kind == "scripted" else torch.jit.trace(network, image)

    first, same, other = made(0), made(0), made(1)
    before = describe(first)
    with torch.no_grad():
        first(torch.rand(1, 1, 32, 32))
    assert describe(first) == before == describe(same)
    assert describe(other) != before
