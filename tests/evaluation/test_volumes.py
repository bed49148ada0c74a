"""Which adversarial images stay as files: the worst case of every attack, all of them, or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.test_resume import CLIP, quick
from evaluation.test_runner import write_case

from monai_smia.attacks import BIM
from monai_smia.evaluation import PlannedAttack
from monai_smia.evaluation.errors import FailedCasesError
from monai_smia.evaluation.volumes import which_volumes
from monai_smia.storage import NiftiStorage
from monai_smia.storage.stored import files_by_stem

FILES = tuple(f"{each}.nii.gz" for each in ("adversarial", "perturbation", "decision_clean", "decision_attacked"))


def brighter(by: float) -> Callable[[np.ndarray, np.ndarray], None]:
    def change(image: np.ndarray, label: np.ndarray) -> None:
        image += by

    return change


@pytest.fixture
def cases(tmp_path: Path) -> list[dict[str, str]]:
    """Of which another one is the worst after each."""
    return [write_case(tmp_path, f"c{i}", brighter(-15.0 * i)) for i in range(3)]


def worst(out: Path, cases: Any) -> dict[str, str]:
    """The worst case of BIM and SMIA, from the report's own document."""
    found = json.loads((out / "report.json").read_text())["extremes"]
    return {entry["slug"]: entry["worst"]["case"] for entry in found if entry["worst"]}


def names(out: Path) -> set[str]:
    return {path.name for path in (out / "volumes").iterdir()} if (out / "volumes").exists() else set()


def test_the_worst_case_of_every_attack_stays(tmp_path: Path, cases: Any, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "out"
    with caplog.at_level("INFO", logger="monai_smia"):
        summary = quick(cases, out).run()
    jaccard = {r["attack"]: r["jaccard"] for r in summary["rows"] if r["stage"] == "computed"}
    assert jaccard["BIM"] < jaccard["Noise"]
    ends = worst(out, cases)
    assert set(ends) >= {"bim_equal-radius_eps0.05", "smia_equal-radius_eps0.05"}
    assert names(out) == {f"{case}_{slug}_{file}" for slug, case in ends.items() for file in FILES}
    assert f"{len(ends)} adversarial images (the worst case of each attack): {out / 'volumes'}" in caplog.text
    assert quick(cases, out).run() == summary  # and nothing more goes
    assert len(names(out)) == len(FILES) * len(ends)


def test_all_and_none(tmp_path: Path, cases: Any) -> None:
    for keep, count in (("all", 9), (True, 9), ("none", 0), (False, 0)):
        out = tmp_path / str(keep)
        quick(cases, out, write_volumes=keep).run()
        assert len(names(out)) == len(FILES) * count
    for wrong in ("best", 1, 0, None, ["all"]):
        with pytest.raises(ValueError, match="write_volumes must be one of worst, all, none"):
            quick(cases, tmp_path / "wrong", write_volumes=wrong)
    assert [which_volumes(text) for text in ("True", "false", "ALL", "Worst")] == ["all", "none", "all", "worst"]


@pytest.mark.parametrize("later", ["worst", "none"])
def test_what_an_earlier_run_kept_on_purpose_stays(tmp_path: Path, cases: Any, later: str) -> None:
    out = tmp_path / "out"
    quick(cases[:2], out, write_volumes="all").run()
    before = names(out)
    assert len(before) == 2 * 3 * len(FILES)
    quick(cases[:2], out, write_volumes=later).run()
    assert names(out) == before
    quick(cases, out, write_volumes=later).run()  # a case more: what this run has made is chosen from
    added = names(out) - before
    assert names(out) >= before
    of_last = {slug for slug, case in worst(out, cases).items() if case == "c2"} if later == "worst" else set()
    assert added == {f"c2_{slug}_{file}" for slug in of_last for file in FILES}


def test_what_an_earlier_run_did_not_keep_is_said(tmp_path: Path, cases: Any, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "out"
    quick(cases, out, write_volumes="none").run()
    with caplog.at_level("INFO", logger="monai_smia"):
        quick(cases, out, write_volumes="all").run()
    assert (
        "no adversarial image (all); 9 more an earlier run did not keep: resume=False makes them again" in caplog.text
    )
    quick(cases, out, write_volumes="all", resume=False).run()
    assert len(names(out)) == 9 * len(FILES)


def test_nothing_else_in_the_folder_is_touched(tmp_path: Path, cases: Any) -> None:
    """A case that fails leaves nothing; files of other rows and of the user's own stay."""
    out = tmp_path / "out"
    others = ["notes.txt", "c0_bim_equal-radius_eps0.055_adversarial.nii.gz"]
    (out / "volumes").mkdir(parents=True)
    for name in others:
        (out / "volumes" / name).touch()
    Path(cases[2]["image"]).write_bytes(b"no volume")
    with pytest.raises(FailedCasesError):
        quick(cases, out).run()
    assert names(out) >= set(others)
    assert not [name for name in names(out) if name.startswith("c2_")]
    assert len(names(out)) == 2 + len(FILES) * len(worst(out, cases))


def test_a_radius_whose_name_begins_another_is_not_removed_with_it(tmp_path: Path, cases: Any) -> None:
    """Of eps 0.05 the first case is the worst, and its files must not take those of 0.055 along."""
    out = tmp_path / "out"
    attacks = [
        PlannedAttack(),
        *(PlannedAttack(BIM(eps=1400 * e, steps=2, clip=CLIP, progress=False), e, "x") for e in (0.055, 0.05)),
    ]
    quick(cases, out, attacks=attacks).run()
    ends = worst(out, cases)
    assert set(ends) == {"bim_x_eps0.05", "bim_x_eps0.055"}
    assert names(out) == {f"{case}_{slug}_{file}" for slug, case in ends.items() for file in FILES}


def test_files_are_told_by_the_longest_name(tmp_path: Path) -> None:
    for name in ("a_bim.png", "a_bim_eps1_adversarial", "a_bim_eps1.5_x", "a_bim_eps10_x", "a_bim_eps1e-05_x", "b"):
        (tmp_path / name).touch()
    found = files_by_stem(tmp_path, {"a_bim", "a_bim_eps1", "a_bim_eps10"})
    assert {stem: [path.name for path in paths] for stem, paths in found.items()} == {
        "a_bim": ["a_bim.png", "a_bim_eps1.5_x", "a_bim_eps1e-05_x"],
        "a_bim_eps1": ["a_bim_eps1_adversarial"],
        "a_bim_eps10": ["a_bim_eps10_x"],
    }
    assert files_by_stem(tmp_path / "nowhere", {"a"}) == {}


class Elsewhere:
    """A storage of the user's own that does not say where it writes."""

    def __init__(self, folder: Path) -> None:
        self._inner = NiftiStorage(folder)

    def write(self, *args: Any, **options: Any) -> Path:
        return self._inner.write(*args, **options)

    def read(self, path: Any) -> Any:
        return self._inner.read(path)


def test_a_storage_without_a_folder_keeps_what_was_the_worst_when_written(tmp_path: Path, cases: Any) -> None:
    out = tmp_path / "out"
    quick(cases, out, storage=Elsewhere(out / "volumes")).run()
    chosen = {f"{case}_{slug}_{file}" for slug, case in worst(out, cases).items() for file in FILES}
    assert chosen <= names(out)
    assert len(names(out)) < 9 * len(FILES)
