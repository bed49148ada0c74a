"""Documents hold what their results files say, and a document, sentence or weight that does not is found."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/**/*.md", "benchmarks/README.md", "bundles/*/docs/README.md")
SCRIPT = """
import argparse
from measured import Table, add_save, save

def claims(noise, pgd):
    yield f"PGD leaves {pgd:.2f}, less than noise.", pgd < noise

TABLES = {
    "table": Table(
        {"attack": "{attack}", "Jaccard": "{jaccard:.3f}"},
        claims=lambda rows: claims(*(row["jaccard"] for row in rows)),
    ),
    "noise": Table({"attack": "{attack}", "Var": "{var:.2f}"}, where=lambda row: row["attack"] == "Noise"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights")
    add_save(parser)
    arguments = parser.parse_args()
    rows = [{"attack": "Noise", "jaccard": 0.95012, "var": None}, {"attack": "PGD", "jaccard": 0.3}]
    save(arguments.save, rows, seeds=[0], weights=[arguments.weights])
"""
PAGE = """# Page

<!-- results: tried -->
old
<!-- end -->

Between.

<!-- results: tried noise -->
<!-- end -->
"""


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def documents(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(root, sys.executable, "benchmarks/documents.py", *options)


@pytest.fixture
def tree(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "tree")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a script that was run, and a page that was printed."""
    tmp_path = tmp_path_factory.mktemp("made")
    for folder in ("benchmarks", "docs", "models"):
        (tmp_path / folder).mkdir()
    for name in ("measured.py", "documents.py"):
        shutil.copy(ROOT / "benchmarks" / name, tmp_path / "benchmarks")
    (tmp_path / "benchmarks" / "tried.py").write_text(SCRIPT)
    (tmp_path / "docs" / "page.md").write_text(PAGE)
    (tmp_path / "models" / "model.pt").write_bytes(b"weights")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        assert run(tmp_path, *git, *command).returncode == 0
    done = run(tmp_path, sys.executable, "benchmarks/tried.py", "--weights", "models/model.pt", "--save", "tried")
    assert done.returncode == 0, done.stderr
    done = documents(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path


def test_every_document_of_the_project_is_what_its_results_files_say() -> None:
    done = documents(ROOT, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


PRINTED = r"<!-- results: .*?<!-- end -->|<!-- shifts -->.*?<!-- end of shifts -->|```.*?```|`[^`]*`"


def test_no_table_of_figures_is_written_by_hand() -> None:
    """Outside of the marks and of code no table has a figure of two decimals, and no commit is named.

    The table of shifts is printed from their classes, and compared with them in `tests/shifts/test_page.py`.
    """
    files = [path for pattern in PAGES for path in ROOT.glob(pattern)]
    assert len(files) > 8
    for path in files:
        text = re.sub(PRINTED, "", path.read_text(), flags=re.DOTALL)
        written = re.findall(r"^\|.*\d\.\d\d.*$|^.*\bcommit [0-9a-f]{7}\b.*$", text, re.MULTILINE)
        assert not written, f"{path.relative_to(ROOT)}: {written}"


def test_table_sentence_and_source_are_printed(tree: Path) -> None:
    text = (tree / "docs" / "page.md").read_text()
    assert (
        "| attack | Jaccard |\n|---|---|\n| Noise | 0.950 |\n| PGD | 0.300 |\n\n- PGD leaves 0.30, less than noise.\n"
        in text
    )
    assert "| Noise | - |" in text
    assert text.count("`python benchmarks/tried.py --weights models/model.pt --save tried`") == 1
    result = json.loads((tree / "benchmarks" / "results" / "tried.json").read_text())
    assert result["commit"] == run(tree, "git", "rev-parse", "HEAD").stdout.strip()
    assert result["seeds"] == [0]
    assert "thread" in result["processor"]
    assert len(result["weights"]["models/model.pt"]) == 64
    assert documents(tree, "--check").returncode == 0


def test_what_has_changed_since_the_commit_is_said(tree: Path) -> None:
    """Of the package, and of the configs and weights of a bundle."""
    files = [tree / name for name in ("bundles/a/configs/train.yaml", "bundles/a/models/model.pt", "monai_smia/a.py")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text("1")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    for command in (["add", "."], ["commit", "-qm", "more"]):
        assert run(tree, *git, *command).returncode == 0
    for file in files:
        file.write_text("2")
    done = run(tree, sys.executable, "benchmarks/tried.py", "--weights", "models/model.pt", "--save", "tried")
    assert done.returncode == 0, done.stderr
    result = json.loads((tree / "benchmarks" / "results" / "tried.json").read_text())
    assert result["changed"] == [str(file.relative_to(tree)) for file in files]
    assert documents(tree).returncode == 0
    assert "with a change of bundles/a/configs/train.yaml" in (tree / "docs" / "page.md").read_text()


def test_what_was_renamed_since_is_said(tree: Path) -> None:
    file = tree / "benchmarks" / "results" / "tried.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "renamed": {"old.pt": "new.pt"}}))
    assert documents(tree).returncode == 0
    assert ", since when files were renamed, " in (tree / "docs" / "page.md").read_text()


def test_networks_of_other_people_are_compared_where_they_are(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where nobody says where they lie."""
    file = tree / "benchmarks" / "results" / "tried.json"
    result = json.loads(file.read_text())
    file.write_text(json.dumps({**result, "weights": {"$THEIRS/model.pt": "0" * 64}}))
    monkeypatch.delenv("THEIRS", raising=False)
    assert documents(tree, "--check").returncode == 0
    monkeypatch.setenv("THEIRS", str(tree / "models"))
    done = documents(tree, "--check")
    assert done.returncode == 1
    assert "was measured with another $THEIRS/model.pt" in done.stdout


def test_a_figure_written_by_hand_is_found_and_printed_anew(tree: Path) -> None:
    page = tree / "docs" / "page.md"
    text = page.read_text()
    page.write_text(text.replace("0.950", "0.960"))
    done = documents(tree, "--check")
    assert done.returncode == 1
    assert "docs/page.md is not what its results files say" in done.stdout
    assert documents(tree).returncode == 0
    assert page.read_text() == text


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("benchmarks/results/tried.json", '"jaccard": 0.3', '"jaccard": 0.97', "PGD leaves 0.97, less than noise."),
        ("docs/page.md", "results: tried noise", "results: tried other", "has no table 'other'"),
        ("benchmarks/results/tried.json", '"var": null', '"variance": 0.5', "no 'var' in a row"),
        ("docs/page.md", "results: tried", "results: missing", "missing.json does not exist"),
        ("docs/page.md", "<!-- end -->", "", "has no `<!-- end -->`"),
        ("models/model.pt", "weights", "others", "was measured with another models/model.pt"),
    ],
)
def test_what_does_not_hold_is_named(tree: Path, file: str, old: str, new: str, said: str) -> None:
    text = (tree / file).read_text()
    assert old in text
    (tree / file).write_text(text.replace(old, new))
    done = documents(tree, "--check")
    assert done.returncode == 1
    assert said in done.stdout


def test_a_results_file_that_no_document_shows_is_named(tree: Path) -> None:
    (tree / "docs" / "page.md").write_text("# Page\n")
    done = documents(tree, "--check")
    assert done.returncode == 1
    assert "tried.json is in no document" in done.stdout


def test_a_command_that_nobody_else_can_run_is_refused_before_it_runs(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = str(tmp_path_factory.mktemp("elsewhere") / "model.pt")
    done = run(tree, sys.executable, "benchmarks/tried.py", "--weights", elsewhere, "--save", "tried")
    assert done.returncode == 2
    assert "nobody else can run this command" in done.stderr
