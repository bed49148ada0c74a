"""`run universal` of the bundles: one perturbation made on some patients, measured on others, as a command."""

from __future__ import annotations

import json
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


def test_patterns_are_marked(done: Path, eyes: Path) -> None:
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


class Bright(torch.nn.Module):
    """Decides 1 where the mean is above .5."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        score = 20 * (image.flatten(1).mean(1) - 0.5)
        return torch.stack([-score, score], 1)


def test_a_pattern_is_made_again_where_anything_has_changed_that_it_hangs_on(tmp_path: Path) -> None:
    def loading(item: dict[str, Any]) -> dict[str, Any]:
        loaded.append(item["case"])
        return {"image": torch.full((1, 4, 4), item["value"]), "label": item["label"]}

    loaded: list[str] = []
    victim = ClassificationVictim(Bright())
    items: list[Any] = [{"case": f"c{n}", "image": n, "label": 1, "value": 0.6} for n in range(3)]
    given: dict[str, Any] = {"folder": tmp_path, "eps": [0.05, 0.1], "epochs": 2, "progress": False}

    def patterns(**options: Any) -> list[torch.Tensor]:
        rows = universal_rows(victim, items[:2], items[2:], loading, **{**given, **options})
        return [row.attack.pattern for row in rows if isinstance(row.attack, Universal)]

    first = patterns()
    assert loaded == ["c0", "c1"] * 4  # two epochs, two radii
    assert all(torch.equal(a, b) for a, b in zip(first, patterns(), strict=True))
    assert len(loaded) == 8
    assert not torch.equal(patterns(epochs=3, eps=0.1)[0], first[1])
    assert len(loaded) == 14
    items[0]["value"] = 0.45
    patterns(eps=0.05)
    assert len(loaded) == 18
    taken = patterns(patterns=tmp_path, eps=0.05)
    assert len(loaded) == 18
    assert torch.equal(taken[0], patterns(eps=0.05)[0])


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
