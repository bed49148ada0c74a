"""Products that say something of the whole image: findings in JSON, and figures as in process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from product_helpers import cases

from monai_smia.adapters.product import (
    AnswerError,
    Asked,
    Asking,
    Command,
    Finding,
    FindingVictim,
    product_evaluation,
)
from monai_smia.adapters.product.queries import Query
from monai_smia.attacks import Square

# ---- JSON


@pytest.mark.parametrize(
    ("text", "finding", "answer", "decided"),
    [
        ('{"findings": [{"p": 0.75}]}', Finding("findings.0.p", threshold=0.5), [0.75], 1),
        ('{"p": 0.5}', Finding("p", threshold=0.5), [0.5], 1),  # it reaches the threshold
        ('{"p": 0.4999999}', Finding("p", threshold=0.5), [0.4999999], 0),
        ('{"ml": 12}', Finding("ml", threshold=20.0, below=True), [12.0], 1),
        ('{"ml": 20}', Finding("ml", threshold=20.0, below=True), [20.0], 0),
        ('{"class": "bad"}', Finding("class", names=("good", "bad")), [1.0], 1),
        ("1", Finding(), [1.0], 1),
        ('{"p": [0.3, 0.7]}', Finding("p"), [0.3, 0.7], 1),
        ('{"p": {"bad": 0.2, "good": 0.8}}', Finding("p", names=("good", "bad")), [0.8, 0.2], 0),
    ],
)
def test_findings_of_json(text: str, finding: Finding, answer: list[float], decided: int, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(text)
    found = finding.of_file(tmp_path / "answer.json", None, 2)  # type: ignore[arg-type]  # JSON says nothing of a series
    assert found.tolist() == answer
    assert int(torch.from_numpy(finding.scores(found).astype(np.float32)).argmax()) == decided


@pytest.mark.parametrize(
    ("text", "finding", "reason"),
    [
        ("", Finding("p", threshold=0.5), "is empty"),
        ('{"p": 0.', Finding("p", threshold=0.5), "cannot be read"),
        ('{"p": 0.1, "p": 0.9}', Finding("p", threshold=0.5), "a key stands in it twice"),
        ('{"q": 0.1}', Finding("p", threshold=0.5), "must hold 'p', and has no 'p': there is q"),
        ('{"p": NaN}', Finding("p", threshold=0.5), "NaN is no number of JSON"),
        ('{"p": "0.7"}', Finding("p", threshold=0.5), "must be a finite number, got '0.7'"),
        ('{"p": true}', Finding("p", threshold=0.5), "must be a finite number, got True"),
        (
            '{"p": 0.7}',
            Finding("p"),
            "must be a class of whole numbers from 0 to 1, got 0.7; of a number give a threshold",
        ),
        ('{"p": 2}', Finding("p"), "must be a class of whole numbers from 0 to 1, got 2"),
        ('{"p": "ugly"}', Finding("p", names=("good", "bad")), r"must be a class of \['good', 'bad'\], got 'ugly'"),
        ('{"p": [0.7, 0.7]}', Finding("p"), "must be 2 probabilities that sum to 1"),
        ('{"p": {"good": 0.7}}', Finding("p", names=("good", "bad")), "must have a probability of each"),
    ],
)
def test_json_that_does_not_fit_is_refused(text: str, finding: Finding, reason: str, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(text)
    with pytest.raises(AnswerError, match=reason):
        finding.of_file(tmp_path / "answer.json", None, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "classes", "text"),
    [
        ({"threshold": float("nan")}, 2, "threshold must be a finite number"),
        ({"below": True}, 2, "give the threshold"),
        ({"names": ("a", "a")}, 2, "must differ"),
        ({"threshold": 0.5}, 3, "classes must be 2 with a threshold"),
        ({"names": ("a", "b")}, 3, "class_names must be 3"),
    ],
)
def test_findings_that_cannot_be_are_refused(arguments: dict[str, Any], classes: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Finding("p", **arguments).check(classes)


# ---- a product that rates


class Rating:
    """Rates an image by the share of it that is dark, without a process."""

    answers = Finding("dark", threshold=0.05)

    def fingerprint_parts(self) -> dict[str, str]:
        return {"product": "rates"}

    def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
        share = float((nib.load(query.path).get_fdata() < -620).mean())  # type: ignore[attr-defined]
        return self.answers.of_value(share, classes)


SCRIPT = """
import json, sys
import nibabel as nib
share = float((nib.load(sys.argv[1]).get_fdata() < -620).mean())
json.dump({"dark": share}, open(sys.argv[2], "w"))
"""


def test_a_command_that_writes_json_gives_the_figures_in_process(tmp_path: Path) -> None:
    images, _ = cases(tmp_path, 2)
    (tmp_path / "labels.csv").write_text("image,label\ncase0,1\ncase1,0\n")
    (tmp_path / "rate.py").write_text(SCRIPT)
    command = Command((sys.executable, str(tmp_path / "rate.py"), "{input}", "{output}"), answers=Rating.answers)
    shared: dict[str, Any] = {"images": images, "labels": tmp_path / "labels.csv", "eps": 60.0, "queries": 2}
    shared |= {"figures": False, "progress": False, "only": ["Noise", "Square"]}
    found = []
    for name, product in (("there", command), ("here", Rating())):
        product_evaluation(product, output_dir=tmp_path / name, **shared).run()
        lines = [json.loads(line) for line in (tmp_path / name / "records.jsonl").read_text().splitlines()]
        vary = ("seconds", "config_sha256", "versions", "input_sha256")
        found.append([{key: value for key, value in line.items() if key not in vary} for line in lines])
    assert found[0] == found[1]
    clean = next(r for r in found[0] if (r["attack"], r["case"]) == ("Clean", "case0"))
    dark = 6 * 6 * 4 / (12 * 10 * 8)
    assert (clean["grade"], clean["decided"], clean["accuracy"]) == (1, 1, 1.0)
    assert clean["answer"] == pytest.approx(dark)
    for record in found[0]:
        if record["attack"] == "Square":
            before = next(r for r in found[0] if (r["attack"], r["case"]) == ("Clean", record["case"]))
            assert record["answer_change"] == pytest.approx(record["answer"] - before["answer"])
    page = (tmp_path / "there" / "report.html").read_text()
    assert "score-based: the number that the product answers with" in page
    assert "answer_change" in page
    summary = json.loads((tmp_path / "there" / "summary.json").read_text())
    row = next(row for row in summary["rows"] if row["attack"] == "Clean")
    assert row["accuracy"] == 0.5  # the second is labeled otherwise than it is rated
    assert row["answer"] == pytest.approx(dark, rel=0.2)


def test_a_rating_is_a_victim_of_a_black_box_attack(tmp_path: Path) -> None:
    images, _ = cases(tmp_path)
    victim = FindingVictim(Asked(Asking(Rating(), 2, tmp_path / "asked")))
    victim.open(images / "case0.nii.gz")
    image = torch.from_numpy(nib.load(images / "case0.nii.gz").get_fdata()[None, None]).float()  # type: ignore[attr-defined]
    result = Square(eps=150.0, queries=30, clip=None, loss="margin", seed=0)(victim, image, torch.tensor([1]))
    losses = result.loss_history[:, 0]
    assert float(losses[0]) == pytest.approx(0.05 - 144 / 960)  # how far its number is from the threshold
    assert float(losses[2:].max()) > float(losses[1])  # it goes by the number, though the decision stands
    assert 1 < victim.asking.asked <= 31


NAMED = """
import json, sys
import nibabel as nib
share = float((nib.load(sys.argv[1]).get_fdata() < -620).mean())
json.dump({"class": "dark" if share > 0.05 else "bright"}, open(sys.argv[2], "w"))
"""


def test_a_product_that_names_a_class_alone_is_asked_for_decisions(tmp_path: Path) -> None:
    images, _ = cases(tmp_path)
    (tmp_path / "labels.csv").write_text("image;label\ncase0;1\n")  # as spreadsheets of many countries write it
    (tmp_path / "name.py").write_text(NAMED)
    answers = Finding("class", names=("bright", "dark"))
    product_evaluation(
        Command((sys.executable, str(tmp_path / "name.py"), "{input}", "{output}"), answers=answers),
        images=images,
        labels=tmp_path / "labels.csv",
        eps=200.0,
        queries=12,
        figures=False,
        progress=False,
        output_dir=tmp_path / "out",
    ).run()
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    accuracy = {record["attack"]: record["accuracy"] for record in records}
    assert accuracy == {"Clean": 1.0, "Noise": 1.0, "Square": 1.0, "RayS": 0.0}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "decision-based: the decided class, no scores and no weights" in page
