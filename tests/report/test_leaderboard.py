"""Many evaluations on one page."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from report.test_comparison import RADII, run

from monai_smia.analysis.runs import Run
from monai_smia.cli import main
from monai_smia.records import Primary, Summary
from monai_smia.report.comparison import run_of
from monai_smia.report.leaderboard import HEADS, leaderboard
from monai_smia.report.table import cell


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on the same cases, and one of them on others."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "deep").mkdir()
    run(folder / "deep" / "weak", bias=1.0)
    run(folder / "sound")
    run(folder / "elsewhere", shift=0.01)
    return folder


def test_a_table_of_every_radius_and_data_set(runs: Path, tmp_path: Path) -> None:
    boards, page = leaderboard([runs], tmp_path / "index.html")
    assert len(boards) == 2 * len(RADII)
    assert [len(board.table.lines) for board in boards].count(2) == len(RADII)
    for board in boards:
        figures = [line[HEADS.index("attacked")] for line in board.table.lines]
        assert figures == sorted(figures, reverse=True)
        if len(figures) == 2:
            assert [line[0].split("/")[-1] for line in board.table.lines] == ["sound", "weak"]
    text = page.read_text()
    for folder in ("sound", "deep/weak", "elsewhere"):
        radii = Summary.read(runs / folder).headline.radii  # type: ignore[union-attr]
        assert all(cell(radius.attacked) in text for radius in radii)
    assert 'href="../' in text
    assert "http" not in text.replace("http-equiv", "")


def test_the_order_is_that_of_the_figure_where_single_cases_have_another(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mAP is of all cases and higher is better; single frames have their damage, of which less is."""

    def of_all_cases(path: Path, name: str) -> Run:
        read = run_of(path, name)
        return replace(read, spec=replace(read.spec, primary=Primary("map50", True)))

    expected, _ = leaderboard([runs], tmp_path / "index.html")
    monkeypatch.setattr("monai_smia.report.leaderboard.run_of", of_all_cases)
    assert not of_all_cases(runs / "sound", "sound").primary.higher_is_better
    assert leaderboard([runs], tmp_path / "index.html")[0] == expected


def test_radii_stand_in_their_order_as_numbers(tmp_path: Path) -> None:
    run(tmp_path / "one", radii=(0.02, 1e-5))
    boards, _ = leaderboard([tmp_path / "one"], tmp_path / "index.html")
    sizes = [float(board.title.split(" at ")[1].split(",")[0]) for board in boards]
    assert sizes == sorted(sizes)
    assert [board.title for board in boards] != sorted(board.title for board in boards)


def test_on_the_command_line(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(runs / "sound"), "--page", str(tmp_path / "p.html")]) == 0
    said = capsys.readouterr().out
    assert said.count("jaccard at ") == len(RADII)
    assert said.strip().endswith(f"Page: {tmp_path / 'p.html'}")


def test_what_holds_none(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = shutil.copytree(runs / "sound", tmp_path / "changed")
    (changed / "summary.json").write_text((changed / "summary.json").read_text() + " ")
    (tmp_path / "empty").mkdir()
    for name, text in (("absent", "does not exist"), ("empty", "holds no finished"), ("changed", "summary.json of")):
        assert main(["index", str(tmp_path / name)]) == 1
        assert text in capsys.readouterr().err
    assert not (tmp_path / "index.html").exists()
