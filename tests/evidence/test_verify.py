"""Evidence: untouched it verifies, and every kind of tampering is told."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation.test_resume import quick
from evaluation.test_runner import write_case
from evidence.tampering import AGAIN, HASHES, SEALED, resealed, rezipped

from monai_smia.cli import main
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evidence import EvidenceError, verify, write_evidence
from monai_smia.evidence.verify import DIFFERS, EQUAL, NOT_CHECKED
from monai_smia.records.manifest import ManifestError
from monai_smia.report import write_report
from monai_smia.report.charts import Chart, charts
from monai_smia.report.figures import segmentation_figure

PIXEL = (  # stands for every chart: drawing them takes longer than all else
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module", autouse=True)
def _plain_charts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monai_smia.report.html.charts", lambda *_: [Chart("A chart", "of", "values", PIXEL)])
        yield


class Made:
    """An evaluation of two cases, its folder, and the same evaluation built once more elsewhere."""

    def __init__(self, folder: Path) -> None:
        def vary(image: np.ndarray, label: np.ndarray) -> None:
            image += 20

        self.cases: list[Any] = [write_case(folder, "a"), write_case(folder, "b", vary)]
        self.folder = folder / "out"
        self.options: dict[str, Any] = {"figure": segmentation_figure, "figures": 1}
        quick(self.cases, self.folder, **self.options).run()

    def again(self, folder: Path, **options: Any) -> AttackEvaluation:
        return quick(self.cases, folder / "again", **self.options | options)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("evidence"))


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    return shutil.copytree(made.folder, tmp_path / "copy")


def test_untouched(made: Made, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}
    found = verify(made.folder, rows=99, evaluation=made.again(tmp_path))
    assert (found.differences, found.notes, found.unchecked) == ([], [], "")
    assert (len(found.rows), found.status) == (8, EQUAL)
    assert all(row.text.endswith("values to the last digit.") and row.compared > 20 for row in found.rows)
    assert {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()} == before


def test_untouched_with_its_charts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monai_smia.report.html.charts", charts)
    assert verify(Made(tmp_path).folder, rows=0).differences == []


def test_a_page_made_anew_is_still_evidence(copy: Path) -> None:
    write_report(copy)
    assert verify(copy, rows=0).differences == []


@pytest.mark.parametrize("kind", HASHES)
def test_a_file_that_is_another(kind: str, copy: Path) -> None:
    HASHES[kind](copy)
    found = verify(copy, rows=0)
    assert found.status == DIFFERS
    assert "The evidence differs." in found.text()
    with pytest.raises((EvidenceError, ValueError)):
        write_evidence(copy)


@pytest.mark.parametrize("kind", SEALED)
def test_what_does_not_follow_though_all_hashes_were_made_anew(kind: str, copy: Path) -> None:
    SEALED[kind](copy)
    assert verify(copy, rows=0).status == DIFFERS


@pytest.mark.parametrize("kind", AGAIN)
def test_what_comes_out_otherwise_though_all_was_made_anew(kind: str, copy: Path, made: Made, tmp_path: Path) -> None:
    AGAIN[kind](copy)
    found = verify(copy, rows=99, evaluation=made.again(tmp_path))
    assert found.status == DIFFERS


def test_what_only_a_row_computed_again_tells(copy: Path, made: Made, tmp_path: Path) -> None:
    AGAIN["an attack that did less"](copy)
    assert verify(copy, rows=0).status == EQUAL  # consistent throughout
    found = verify(copy, rows=99, evaluation=made.again(tmp_path))
    assert found.differences == []
    assert {row.row.partition(",")[0] for row in found.rows if row.differences} == {"BIM"}
    assert "computed jaccard" in found.text()


def test_another_evaluation_is_told(made: Made, tmp_path: Path) -> None:
    found = verify(made.folder, rows=1, evaluation=made.again(tmp_path, data_range=1000.0))
    assert any(text.startswith("the configuration is another: data_range") for text in found.differences)


def test_three_rows_are_drawn_and_the_seed_repeats_them(made: Made, tmp_path: Path) -> None:
    one, other = (verify(made.folder, seed=5, evaluation=made.again(tmp_path / name)) for name in "ab")
    assert len(one.rows) == 3
    assert [(row.case, row.row) for row in one.rows] == [(row.case, row.row) for row in other.rows]
    assert "seed 5" in one.text()


def test_without_a_command_that_can_be_run_again(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(made.folder)]) == NOT_CHECKED
    assert "takes the evaluation itself" in capsys.readouterr().out
    assert main(["verify", str(made.folder), "--rows", "0"]) == EQUAL
    assert "Every hash holds" in capsys.readouterr().out


def test_a_zip(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = tmp_path / "evidence.zip"
    (made.folder / "demo").mkdir(exist_ok=True)
    (made.folder / "demo" / "ct.nii.gz").write_bytes(b"an input")
    try:
        assert main(["evidence", str(made.folder), "--zip", str(packed)]) == 0
    finally:
        shutil.rmtree(made.folder / "demo")
    assert f"not signed (--key): {packed}" in capsys.readouterr().out
    assert not any("demo" in name or ".lock" in name for name in zipfile.ZipFile(packed).namelist())
    once = packed.read_bytes()
    write_evidence(made.folder, packed)
    assert packed.read_bytes() == once
    assert verify(packed, rows=2, evaluation=made.again(tmp_path)).status == EQUAL


def test_no_zip_lies_among_what_it_packs(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("volumes/evidence.zip", "figures/deep/a.zip", "report.html", "manifest.json"):
        assert main(["evidence", str(copy), "--zip", str(copy / name)]) == 1
        assert "zip must lie elsewhere than among the files of the evidence itself" in capsys.readouterr().err
    assert verify(copy, rows=0).differences == []
    assert main(["evidence", str(copy), "--zip", str(copy / "mine.zip")]) == 0
    assert verify(copy, rows=0).differences == []


ZIPS = {
    "a file more": lambda c: c.update({"volumes/x.nii.gz": b"x"}),
    "a file less": lambda c: c.pop("cases.csv"),
    "another file": lambda c: c.update({"cases.csv": c["cases.csv"] + b" "}),
    "other bytes": lambda c: c.update({"cases.csv": bytes(len(c["cases.csv"]))}),
    "a file outside": lambda c: c.update({"../outside.txt": b"x"}),
    "a file at the root": lambda c: c.update({"/outside.txt": b"x"}),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip_that_was_changed(kind: str, made: Made, tmp_path: Path) -> None:
    packed, _ = write_evidence(made.folder, tmp_path / "in" / "evidence.zip")
    rezipped(packed, ZIPS[kind])
    assert verify(packed, rows=0).status == DIFFERS
    assert not (tmp_path / "outside.txt").exists()
    assert not Path("/outside.txt").exists()


@pytest.mark.parametrize("size", [0, 100, 20000])
def test_a_zip_that_was_cut(size: int, made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed, _ = write_evidence(made.folder, tmp_path / "evidence.zip")
    packed.write_bytes(packed.read_bytes()[:size])
    assert main(["verify", str(packed)]) == NOT_CHECKED
    assert "evidence.zip is damaged or no zip" in capsys.readouterr().err


def test_what_is_no_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a.txt", "a")
    for name in ("absent", "other.zip", ""):
        assert main(["verify", str(tmp_path / name)]) == NOT_CHECKED
    said = capsys.readouterr().err
    assert "does not exist" in said
    assert said.count("holds no manifest.json") == 2
    assert main(["evidence", str(tmp_path)]) == 1


@pytest.mark.parametrize("text", ["", "{}", '{"format": "other", "files": {}}', '{"format": 1, "files": {"a": 2}}'])
def test_a_manifest_that_is_none(text: str, copy: Path) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        verify(copy)


def test_a_manifest_that_names_what_lies_elsewhere(copy: Path) -> None:
    (copy / "manifest.json").write_text(
        '{"format": "monai_smia manifest 1", "files": {"../a": {"sha256": "", "bytes": 1}}}'
    )
    with pytest.raises(ManifestError, match="outside"):
        verify(copy)


@pytest.mark.parametrize("rows", [-1, 1.5, True])
def test_rows_that_are_no_number(rows: Any, made: Made) -> None:
    with pytest.raises(ValueError, match="rows must be a whole number"):
        verify(made.folder, rows=rows)


def test_a_page_of_another_state_of_the_package_is_a_note(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "report.html").write_text((copy / "report.html").read_text().replace("Research use only", "Research", 1))
    resealed(copy)
    assert verify(copy, rows=0).status == DIFFERS
    monkeypatch.setattr("monai_smia.evidence.derived.source_commit", lambda: "another")
    found = verify(copy, rows=0)
    assert found.differences == []
    assert any("report.html is not what this monai_smia makes of the records" in note for note in found.notes)


def test_a_headline_of_another_state_of_the_package_is_a_note(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SEALED["the headline"](copy)
    assert verify(copy, rows=0).status == DIFFERS
    monkeypatch.setattr("monai_smia.evidence.derived.source_commit", lambda: "another")
    found = verify(copy, rows=0)
    assert found.differences == []
    assert any(note.startswith("the headline is not what this monai_smia makes") for note in found.notes)
