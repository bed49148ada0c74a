"""`run universal` of the bundles: one perturbation made on some patients, measured on others, as a command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles.shipped import CT, ENDOSCOPY, FUNDUS
from monai.bundle import run

from monai_smia.attacks import Universal
from monai_smia.evaluation.universal_plan import read_universal, universal_rows
from monai_smia.files import MARK
from monai_smia.targets.fundus import write_fundus_phantoms
from monai_smia.victims import ClassificationVictim

SIZE = 96
QUICK = {"evaluation#progress": False, "evaluation#figure": None, "evaluation#num_probed_cases": 0}


def universal(output: Path, **options: Any) -> dict[str, Any]:
    files = FUNDUS.configs("attack_eval", "universal")
    given = {"epochs": 2, "eps": [2 / 255, 8 / 255], "sizes": [32, 32], **QUICK, **options}
    run(run_id="universal", config_file=files, bundle_root=str(FUNDUS.root), output_dir=str(output), **given)
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four eyes, of which two are the split test."""
    folder = Path(write_fundus_phantoms(tmp_path_factory.mktemp("eyes"), 2, grades=[0, 3], size=SIZE, seed=5))
    lines = (folder / "labels.csv").read_text().splitlines()
    lines[2::2] = [line.replace("test", "train") for line in lines[2::2]]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def done(eyes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("universal")
    universal(folder, dataset_dir=str(eyes))
    return folder


def test_rows_name_how_many_patients_it_was_made_on(done: Path) -> None:
    rows = [row for row in json.loads((done / "summary.json").read_text())["rows"] if row["stage"] == "computed"]
    assert [(row["attack"], row["setting"]) for row in rows] == [
        ("Clean", ""),
        ("Noise", "equal radius"),
        ("Universal", "made on 2 patients"),
        ("Noise", "equal radius"),
        ("Universal", "made on 2 patients"),
    ]
    assert {row["cases"] for row in rows} == {2}
    assert {row["knowledge"] for row in rows if row["attack"] == "Universal"} == {"white box"}
    assert [row["eps_input"] for row in rows if row["attack"] == "Universal"] == [pytest.approx(2), pytest.approx(8)]
    # four steps, two of a quarter of the radius and two of half as much
    assert [row["linf"] for row in rows if row["attack"] == "Universal"] == [pytest.approx(1.5), pytest.approx(6)]
    page = (done / "report.html").read_text()
    assert "made on 2 patients" in page


def test_patterns_are_marked_and_taken_again(done: Path, eyes: Path, tmp_path: Path) -> None:
    files = sorted((done / "patterns").iterdir())
    assert [file.name for file in files] == [
        "universal_ADVERSARIAL_eps0.00784314.pt",
        "universal_ADVERSARIAL_eps0.0313725.pt",
    ]
    found = read_universal(files[1])
    assert found["mark"] == MARK
    assert (found["cases"], found["patients"], tuple(found["pattern"].shape)) == (2, 2, (3, 32, 32))
    assert float(found["pattern"].abs().max()) <= 8 + 1e-6
    assert not any(name in str(found) for name in ("healthy", str(eyes), ".png"))
    before = [file.stat().st_mtime_ns for file in files]
    shutil.copytree(done / "patterns", tmp_path / "patterns")
    same = universal(done, dataset_dir=str(eyes))
    assert [file.stat().st_mtime_ns for file in files] == before
    other = universal(tmp_path / "other", dataset_dir=str(eyes), patterns=str(tmp_path / "patterns"))
    names = ("attack", "setting", "eps", "accuracy", "linf")
    ours, theirs = ([[row.get(name) for name in names] for row in found["rows"]] for found in (same, other))
    assert ours == theirs
    universal(tmp_path, dataset_dir=str(eyes), epochs=1, eps=8 / 255)
    assert not torch.equal(read_universal(tmp_path / "patterns" / files[1].name)["pattern"], found["pattern"])


def test_a_patch(eyes: Path, tmp_path: Path) -> None:
    options = {
        "dataset_dir": str(eyes),
        "layout": "patch",
        "sizes": [20, 30],
        "place": [0.5, 1.0],
        "target": 0,
        "epochs": 1,
    }
    summary = universal(tmp_path, **options)
    row = next(row for row in summary["rows"] if row["attack"] == "Universal" and row["stage"] == "computed")
    assert row["setting"] == "patch of 20 x 30, made on 2 patients"
    assert (row["eps"], row["eps_input"]) == (1.0, 255.0)
    assert summary["headline"] is None or not summary["headline"]["radii"]
    assert (tmp_path / "patterns" / "universal_ADVERSARIAL_patch.pt").is_file()


def test_a_patient_in_both_parts_is_refused(eyes: Path) -> None:
    victim = ClassificationVictim(torch.nn.Linear(2, 2))
    items = [{"case": f"c{n}", "image": "i.png", "label": 0, "patient": "P1"} for n in range(2)]
    shared: dict[str, Any] = {"folder": "there", "eps": 0.1}
    with pytest.raises(ValueError, match=r"cases must be of other patients .* 1 are in both"):
        universal_rows(victim, items[:1], items[1:], dict, **shared)
    with pytest.raises(ValueError, match="cases must hold at least one case"):
        universal_rows(victim, [], items, dict, **shared)


@pytest.mark.parametrize("content", [None, b"no tensor", {"kind": "weights"}], ids=["missing", "bytes", "weights"])
def test_what_is_no_pattern_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "universal_ADVERSARIAL_eps0.1.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"universal_ADVERSARIAL_eps0\.1\.pt"):
        universal_rows(ClassificationVictim(torch.nn.Linear(2, 2)), [], [], dict, folder="", eps=0.1, patterns=tmp_path)


def test_of_another_network_it_is_a_transfer(tmp_path: Path) -> None:
    content = {"kind": "universal perturbation", "pattern": torch.zeros(1, 2, 2), "layout": "tiled", "place": []}
    torch.save({**content, "weights_sha256": "f00", "patients": 3}, tmp_path / "universal_ADVERSARIAL_eps0.1.pt")
    victim = ClassificationVictim(torch.nn.Linear(2, 2))
    rows = universal_rows(victim, [], [], dict, folder="", eps=0.1, patterns=tmp_path)
    attack = rows[-1].attack
    assert isinstance(attack, Universal)
    assert (attack.layout, attack.knowledge, rows[-1].setting) == ("tiled", "transfer", "made on 3 patients")


@pytest.mark.parametrize("bundle", [CT, ENDOSCOPY], ids=lambda bundle: bundle.name)
def test_the_other_bundles_name_all_that_it_takes(bundle: Any, tmp_path: Path) -> None:
    """Their commands run in tests/test_documented_commands.py."""
    parser = bundle.parser("attack_eval", "universal", output_dir=str(tmp_path))
    rows = parser["attacks" if bundle is CT else "plan"]
    assert rows["_target_"] == "monai_smia.evaluation.universal_rows"
    assert {"victim", "cases", "against", "loading", "folder", "eps", "patterns", "layout", "sizes"} <= set(rows)
    assert parser["universal"] == ["$end_unless_met(@evaluation.run())"]
