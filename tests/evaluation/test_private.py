from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation.test_resume import plan, quick
from evaluation.test_runner import write_case

from monai_smia.evaluation.errors import FailedCasesError
from monai_smia.evaluation.private import without_private
from monai_smia.evaluation.recipe import without_folders


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no such file: '/data/ward7/ct.nii.gz'", "no such file: 'ct.nii.gz'"),
        ("/data/ward7/ct and ~/doe/a.png", "ct and a.png"),
        (r"C:\patients\doe\a.nii", "a.nii"),
        (r"\\server\share\doe\a.nii", "a.nii"),
        ("['/a/b.yaml', '/c/d.yaml']", "['b.yaml', 'd.yaml']"),
        ("file:///data/doe/a.nii", "a.nii"),
        ("eps 8/255, lines 3/4, either/or, a ratio of 1.5/2", "eps 8/255, lines 3/4, either/or, a ratio of 1.5/2"),
        ("configs/attack_eval.yaml", "configs/attack_eval.yaml"),
        ("series 1.2.840.113619.2.55.3.604688119 twice", "series (a UID) twice"),
        ("position 12.5, version 2.13.0, 1.2.3 mm", "position 12.5, version 2.13.0, 1.2.3 mm"),
    ],
)
def test_folders_and_uids_go_and_other_text_stays(text: str, expected: str) -> None:
    assert without_private(text) == expected


@pytest.mark.parametrize("part", ["/data/John Doe/x.yaml", "--dataset_dir=/data/John Doe", "--eps", "0.05"])
def test_of_a_command_line(part: str) -> None:
    assert "John Doe/" not in without_folders(part)
    assert without_folders(part) in ("x.yaml", "--dataset_dir=John Doe", "--eps", "0.05")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:90])


@pytest.mark.parametrize("spoil", [cut, Path.unlink, lambda path: path.write_bytes(b"no image")])
@pytest.mark.parametrize("key", ["image", "label"])
def test_no_folder_is_in_what_is_written_of_a_bad_file(spoil: Any, key: str, tmp_path: Path) -> None:
    """Folders are named after patients: in no record, journal, table or page."""
    folder = tmp_path / "Doe John 1.2.840.113619.2.55.3"
    folder.mkdir()
    cases = [write_case(folder, name) for name in ("good", "bad")]
    spoil(Path(cases[1][key]))
    out = tmp_path / "out"
    with pytest.raises(FailedCasesError) as caught:
        quick(cases, out, attacks=plan()[:2]).run()
    texts = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    texts["what is said"] = str(caught.value).encode()
    for name, text in texts.items():
        for private in (b"Doe John", b"1.2.840.113619", str(tmp_path).encode()):
            assert private not in text, (name, private)
    (failure,) = json.loads(texts["summary.json"])["failures"]
    assert f"bad_{key}.nii.gz" in failure["reason"]


@pytest.mark.parametrize("name", ["../../x", "a/b", "a\\b", "..", ".hidden", "", "a\nb", 7, "a" * 220])
def test_a_case_is_called_by_what_files_can_be_called_by(name: Any, tmp_path: Path) -> None:
    """Before anything is computed, and a name that is too long with all that stands beside it, too."""
    case = write_case(tmp_path, "a")
    with pytest.raises(
        ValueError, match=r"case must name a file: at most 1\d\d bytes, no folder in it, no dot in front"
    ):
        quick([{**case, "case": name}], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_of_the_longest_that_there_may_be(tmp_path: Path) -> None:
    case = {**write_case(tmp_path, "a"), "case": "ö" * 60}
    summary = quick([case], tmp_path / "out", write_volumes="all", figure=None).run()
    assert not summary["failures"]
