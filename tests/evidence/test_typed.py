"""Commands of this package that are run again: models and images of this machine, nothing of the evidence."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from auto3dseg_models import write_algorithm
from auto3dseg_models import write_case as write_auto3dseg_case
from evidence.tampering import edit_journal, edit_lines, remade, resealed
from model_files import Dark, script
from product_helpers import cases, command

from monai_smia.analysis import summary_of
from monai_smia.cli import main
from monai_smia.evidence import verify
from monai_smia.evidence.errors import NotAgainError
from monai_smia.evidence.typed import typed_evaluation
from monai_smia.evidence.verify import DIFFERS, EQUAL, NOT_CHECKED
from monai_smia.metrics import SegmentationMetrics
from monai_smia.records import Record, Summary, read_records

RUN = ["--task", "segmentation", "--roi", "8", "8", "8", "--window", "-1000", "400", "--eps", "60", "--steps", "2"]
RUN += ["--preset", "paper", "--attacks", "Noise", "PGD", "--write_volumes", "all"]


@pytest.fixture(autouse=True)
def _own_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which the commands set


def typed(*words: str) -> None:
    """Run a command as a process of its own would see it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "excepthook", sys.excepthook)
        patch.setattr(sys, "argv", ["/usr/lib/python3/monai_smia/__main__.py", *words])
        assert main(words) == 0


class Made:
    """An evaluation by the command ``run``, with its model and its images."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        self.images, self.labels = cases(folder)
        self.model = script(Dark(), folder / "model.ts")
        self.given: dict[str, Any] = {
            "model": str(self.model),
            "images": str(self.images),
            "labels": str(self.labels),
        }
        words = [word for name, value in self.given.items() for word in (f"--{name}", value)]
        typed("run", *words, "--output_dir", str(self.out), *RUN)

    @property
    def words(self) -> list[str]:
        found: list[str] = json.loads((self.out / "spec.json").read_text())["again"]["words"]
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("typed"))


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    return shutil.copytree(made.out, tmp_path / "copy")


def rows(folder: Path) -> set[tuple[str, str]]:
    """Cases and rows of an evaluation."""
    return {(outcome.case, outcome.row.slug) for outcome in read_records(folder) if isinstance(outcome, Record)}


def rewritten(folder: Path, words: Sequence[str]) -> None:
    """Evidence whose recorded command is another, with seals that hold."""
    path = folder / "spec.json"
    spec = json.loads(path.read_text())
    spec["again"]["words"] = list(words)
    path.write_text(json.dumps(spec))
    resealed(folder)


def test_a_network_in_a_file_on_the_command_line(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(made.out), "--rows", "99"]) == NOT_CHECKED
    assert "is not recorded: give --model ... --images ... --labels ...." in capsys.readouterr().out
    words = [word for name, value in made.given.items() for word in (f"--{name}", value)]
    assert main(["verify", str(made.out), "--rows", "99", *words]) == EQUAL
    said = capsys.readouterr().out
    assert said.count("values to the last digit.") == len(rows(made.out)) >= 3
    assert "Nothing differs." in said


def test_relative_paths_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cases(tmp_path, count=2)
    script(Dark(), tmp_path / "model.ts")
    typed("run", "--model", "model.ts", "--images", "images", "--output_dir", "out", *RUN)
    found = verify("out")
    assert (found.status, len(found.rows), found.unchecked) == (EQUAL, 3, "")
    one = verify("out", given={"images": ["images/case0.nii.gz", "images/case1.nii.gz"]})  # as several words
    assert one.status == EQUAL
    other = verify("out", given={"images": "images/case0.nii.gz"})
    assert any("the cases are others: case1" in text for text in other.differences)


def test_another_model_is_told(made: Made, tmp_path: Path) -> None:
    network = Dark()
    with torch.no_grad():
        network.convolution.bias += 0.01
    found = verify(made.out, given={**made.given, "model": str(script(network, tmp_path / "model.ts"))})
    assert found.status == DIFFERS
    assert any(text.startswith("the configuration is another: ") for text in found.differences)


def test_another_radius_is_told(made: Made) -> None:
    found = verify(made.out, given={**made.given, "eps": 50})
    assert found.status == DIFFERS
    assert any("the plan is another" in text for text in found.differences)


def test_a_forged_row_is_told(made: Made, copy: Path) -> None:
    def safer(record: dict[str, Any]) -> None:
        if record.get("attack") == "PGD":
            record["jaccard"] = min(1.0, record["jaccard"] + 0.1)

    edit_lines(copy / "records.jsonl", safer)
    edit_journal(copy, safer)
    before = Summary.read(copy)
    summary_of(read_records(copy), SegmentationMetrics(2), cases=before.cases, unit=before.unit).write(copy)
    remade(copy)
    found = verify(copy, rows=99, given=made.given)
    assert found.status == DIFFERS
    assert {row.row.partition(",")[0] for row in found.rows if not row.differences} == {"Clean", "Noise"}
    assert {row.row[:3] for row in found.rows if row.differences} == {"PGD"}
    assert "computed jaccard" in found.text()


def test_nothing_that_lies_in_the_evidence_is_a_model(made: Made, copy: Path, tmp_path: Path) -> None:
    model = copy / "model.ts"
    shutil.copy(made.model, model)
    words = [str(model) if word == "model.ts" else word for word in made.words]
    rewritten(copy, words)
    given = {name: value for name, value in made.given.items() if name != "model"}
    found = verify(copy, given=given)
    assert "lies in the evidence itself, of which nothing is run: give --model ..." in found.unchecked
    assert typed_evaluation(words, tmp_path / "new", given).names == ["case0"]  # elsewhere it is a file like another


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"modle": "x"}, "--modle is nothing that the recorded command takes; did you mean model?"),
        ({"output_dir": "x"}, "--output_dir is nothing that the recorded command takes"),
        ({"roi": "eight"}, "argument --roi: invalid int value: 'eight'"),
        ({"model": "absent.ts"}, "the evaluation cannot be built here: model absent.ts does not exist"),
        ({"preset": "hard"}, "cannot be built here: .*hard"),
    ],
)
def test_what_is_given_wrongly_is_said(given: dict[str, Any], message: str, made: Made) -> None:
    found = verify(made.out, given=made.given | given)
    assert found.status == NOT_CHECKED
    with pytest.raises(NotAgainError, match=message):
        raise NotAgainError(found.unchecked)


@pytest.mark.parametrize("words", [[], ["report", "out"], ["evaluate"], ["run"], ["run", "--roi"]])
def test_words_that_are_no_evaluation(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(NotAgainError, match="recorded command"):
        typed_evaluation(words, tmp_path, {})


@pytest.fixture
def asked(tmp_path: Path) -> tuple[Path, dict[str, Any], Path]:
    """The folder of a test of a product, what is given to run it again, and a file that its program leaves."""
    images, labels = cases(tmp_path)
    program, mark = command(tmp_path / "script"), tmp_path / "mark"
    source = Path(program[1])
    source.write_text(f"open({str(mark)!r}, 'w').close()\n" + source.read_text())
    line = " ".join(program)
    words = [
        "--images",
        str(images),
        "--labels",
        str(labels),
        "--eps",
        "60",
        "--queries",
        "4",
        "--write_volumes",
        "all",
    ]
    typed("blackbox", "--command", line, "--output_dir", str(tmp_path / "out"), *words)
    mark.unlink()
    return tmp_path / "out", {"images": str(images), "labels": str(labels), "command": line}, mark


def test_a_product_is_asked_again_where_its_command_is_given(asked: tuple[Path, dict[str, Any], Path]) -> None:
    out, given, mark = asked
    found = verify(out, rows=99, given={name: value for name, value in given.items() if name != "command"})
    assert "would be run here: read it in spec.json, and give --command ..." in found.unchecked
    assert not mark.exists()
    found = verify(out, rows=99, given=given)
    assert mark.exists()
    assert (found.status, found.differences, found.unchecked) == (EQUAL, [], "")
    assert [row.row.partition(" ")[0] for row in found.rows].count("Square") == 1
    assert all(row.text.endswith("values to the last digit.") for row in found.rows)


def test_a_product_that_answers_otherwise_is_told(asked: tuple[Path, dict[str, Any], Path]) -> None:
    out, given, _ = asked
    source = Path(given["command"].split()[1])
    source.write_text(source.read_text().replace("< -620", "< -640"))
    found = verify(out, rows=99, given=given)
    assert found.status == DIFFERS


def test_a_node_is_not_asked_again(made: Made, copy: Path) -> None:
    rewritten(copy, ["node", "--send-to", "AE@127.0.0.1:104"])
    found = verify(copy)
    assert found.status == NOT_CHECKED
    assert found.unchecked.startswith("the product was asked by DICOM (the command node), and asking it again would")


def test_configs_that_would_run_have_to_be_given(made: Made, tmp_path: Path) -> None:
    config = tmp_path / "steps.yaml"
    config.write_text("preprocessing: $__import__('os').mkdir('mark')\n")
    with pytest.raises(NotAgainError, match=r"the recorded --preprocessing .* would be run here"):
        typed_evaluation([*made.words, "--preprocessing", str(config)], tmp_path / "new", made.given)
    words = ["blackbox", "--command", "x {input} {output}", "--images", "images", "--transfer", str(tmp_path)]
    with pytest.raises(NotAgainError, match=r"the recorded --transfer .* would be run here"):
        typed_evaluation(words, tmp_path / "new", {"command": "x {input} {output}"})


def test_an_algorithm_of_auto3dseg_needs_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_auto3dseg_case(tmp_path)
    write_algorithm(tmp_path / "segresnet_0")
    words = ["segresnet_0", "--images", "images", "--labels", "labels", "--eps", "30", "--steps", "2"]
    words += ["--preset", "paper", "--attacks", "Noise", "PGD", "--trusted"]
    typed("auto3dseg", *words, "--output_dir", "out")
    found = verify("out")
    assert found.status == NOT_CHECKED
    assert "say so with --trusted" in found.unchecked
    found = verify("out", rows=99, trusted=True)
    assert (found.status, len(found.rows), found.unchecked) == (EQUAL, len(rows(Path("out"))), "")
    Path("elsewhere").mkdir()
    Path("segresnet_0").rename("elsewhere/segresnet_0")
    assert "give --folder ..." in verify("out", trusted=True).unchecked
    assert verify("out", trusted=True, given={"folder": "elsewhere/segresnet_0"}).status == EQUAL
