"""Finished evaluations side by side."""

from __future__ import annotations

import json
import re
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_smia.attacks import FGSM, Noise
from monai_smia.cli import main
from monai_smia.evaluation import AttackEvaluation, PlannedAttack
from monai_smia.metrics import SegmentationMetrics
from monai_smia.records import read_records, seal
from monai_smia.report.comparison import compare
from monai_smia.report.table import MOST_DECIMALS
from monai_smia.victims import SegmentationVictim

CASES = 7
RADII = (0.02, 0.05)


def image_of(case: str, shift: float = 0.0) -> torch.Tensor:
    return torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(int(case))) + shift


def run(
    folder: Path, *, bias: float = 0.0, radii: tuple[float, ...] = RADII, shift: float = 0.0, **options: Any
) -> Path:
    """An evaluation of a network that asks whether a pixel is above a threshold."""
    network = torch.nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([0.0, 10.0])[:, None, None, None])
        network.bias.copy_(torch.tensor([0.0, -5.0 + bias]))

    def load(item: dict[str, Any]) -> dict[str, Any]:
        image = image_of(item["case"], shift)
        return {"image": MetaTensor(image), "label": (image_of(item["case"]) > 0.5).long()}

    files = [folder.parent / f"data {shift}" / f"{i}.bin" for i in range(CASES)]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(image_of(file.stem, shift).numpy().tobytes())
    attacks = [attack for eps in radii for attack in (Noise(eps=eps), FGSM(eps=eps))]
    plan = [PlannedAttack(), *(PlannedAttack(attack, attack.eps, "equal radius") for attack in attacks)]
    AttackEvaluation(
        cases=[{"case": f.stem, "image": str(f), "label": str(f), "patient": f.stem} for f in files],
        loading=load,
        victim=SegmentationVictim(network),
        attacks=plan,
        metrics=SegmentationMetrics(2),
        output_dir=folder,
        progress=False,
        **options,
    ).run()
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return run(folder / "one"), run(folder / "other", bias=1.0)


def worst_by_hand(folder: Path, eps: float | None) -> dict[str, float]:
    """The lowest Jaccard of every case at a radius, or of the clean images."""
    found: dict[str, float] = {}
    for record in read_records(folder):
        if record.row.eps == eps:  # type: ignore[union-attr]
            value = float(record.metrics["jaccard"])  # type: ignore[union-attr, arg-type]
            found[record.case] = min(value, found.get(record.case, 2.0))
    return found


def test_differences_are_those_of_pairs(pair: tuple[Path, Path], tmp_path: Path) -> None:
    made = compare(pair, tmp_path / "page.html")
    lines = {line[1]: line for line in made.pairs.lines}
    assert list(lines) == ["clean", "worst case at 0.020", "worst case at 0.050"]
    for eps, line in zip((None, *RADII), lines.values(), strict=True):
        one, other = (worst_by_hand(folder, eps) for folder in pair)
        values = np.array([other[case] - one[case] for case in one])
        low, high = re.findall(r"-?\d\.\d+", line[3])
        assert float(low) <= values.mean() <= float(high)
        assert line[2] == f"{values.mean():+.{len(low.partition('.')[2])}f}"
        assert line[4:6] == [str(CASES), str(CASES)]


def test_a_figure_on_the_page_has_the_decimals_of_its_interval_and_files_have_all(pair: tuple[Path, Path]) -> None:
    headline = json.loads((pair[1] / "summary.json").read_text())["headline"]
    last = headline["radii"][-1]
    assert last["attacked"] == float(np.mean(list(worst_by_hand(pair[1], last["eps"]).values())))
    digits = 1 - Decimal(f"{last['interval'][1] - last['interval'][0]:.9g}").adjusted()
    low, high, attacked, clean = (f"{v:.{digits}f}" for v in (*last["interval"], last["attacked"], headline["clean"]))
    page = (pair[1] / "report.html").read_text()
    assert f'<p class="figure">{clean} → {attacked} ' in page
    assert f"jaccard: {clean} on clean images" in page
    assert f" {attacked} [{low}, {high}] under " in page
    told = re.findall(r"<td>([^<]*)<small> \[([^<]*), ([^<]*)\]</small>", page)
    assert (attacked, low, high) in told
    for cells in told:
        (decimals,) = {len(text.partition(".")[2]) for text in cells}
        width = round((float(cells[2]) - float(cells[1])) * 10**decimals)
        assert 9 <= width <= 100 or (decimals == MOST_DECIMALS and width < 10)


def test_every_run_has_its_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    made = compare(pair, tmp_path / "page.html")
    heads = ["run", "model", "weights", "cases", "clean", "0.020", "0.050", "critical radius", "gradients", "seconds"]
    assert list(made.runs.heads) == heads
    assert [line[0] for line in made.runs.lines] == ["one", "other"]
    assert len({line[2] for line in made.runs.lines}) == 2  # two networks
    for line, folder in zip(made.runs.lines, pair, strict=True):
        assert line[3] == str(CASES)
        interval = json.loads((folder / "summary.json").read_text())["headline"]["radii"][-1]["interval"]
        digits = 1 - Decimal(f"{interval[1] - interval[0]:.9g}").adjusted()
        assert line[4] == f"{np.mean(list(worst_by_hand(folder, None).values())):.{digits}f}"
        assert line[5].startswith(f"{np.mean(list(worst_by_hand(folder, 0.02).values())):.3f}")
        assert line[7:9] == ["not sought", "2"]  # a gradient each
    page = (tmp_path / "page.html").read_text()
    links = re.findall(r'<a href="([^"]*)">', page)
    assert [(tmp_path / link).resolve() for link in links] == [folder / "report.html" for folder in pair]
    assert made.warnings == []


def test_on_the_command_line(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "deep" / "page.html"
    assert main(["compare", *map(str, pair), "--page", str(page)]) == 0
    said = capsys.readouterr().out
    assert "worst case at 0.050" in said
    assert said.splitlines()[-1] == f"Page: {page}"
    assert page.is_file()


def test_radii_of_one_run_alone_are_not_paired(pair: tuple[Path, Path], tmp_path: Path) -> None:
    third = run(tmp_path / "third", radii=(0.05, 0.1))
    made = compare([pair[0], third], tmp_path / "page.html")
    assert [line[1] for line in made.pairs.lines] == ["clean", "worst case at 0.050"]
    assert list(made.runs.heads)[5:8] == ["0.020", "0.050", "0.100"]
    assert [line[5:8].count("-") for line in made.runs.lines] == [1, 1]


def test_other_cases_are_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Two cases less in one, and one that the other alone has."""
    folder = tmp_path / "fewer"
    shutil.copytree(pair[1], folder)
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    names = sorted({line["case"] for line in lines})
    kept = [line for line in lines if line["case"] not in names[:2]]
    for line in kept:
        if line["case"] == names[2]:
            line["case"] = "new"
    (folder / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    seal(folder)
    made = compare([pair[0], folder], tmp_path / "page.html")
    assert made.warnings == [
        "one has 3 cases that fewer has not, fewer 1 that one has not: their means are not of the same cases, and "
        f"differences are of the {CASES - 3} that both have."
    ]
    assert made.warnings[0] in (tmp_path / "page.html").read_text()
    assert {line[4] for line in made.pairs.lines} == {str(CASES - 3)}


def test_no_page_is_written_over_evidence(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(pair[1], tmp_path / "copy")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for name in ("report.html", "manifest.json", "figures/page.html"):
        assert main(["compare", str(pair[0]), str(out), "--page", str(out / name)]) == 1
        assert main(["index", str(out), "--page", str(out / name)]) == 1
        assert capsys.readouterr().err.count("page must be another file than those of the evaluations") == 2
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert main(["index", str(out), "--page", str(out / "index.html")]) == 0


def test_runs_of_unequal_effort_are_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "more"
    shutil.copytree(pair[1], folder)
    text = (folder / "records.jsonl").read_text()
    assert text.count('"gradients": 1') >= CASES
    (folder / "records.jsonl").write_text(text.replace('"gradients": 1', '"gradients": 4'))
    seal(folder)
    made = compare([pair[0], folder], tmp_path / "page.html")
    assert made.warnings[0] == (
        "At 0.02 one was attacked with 1 gradients a case, more with 4: "
        "the one with fewer may read as safer than it is."
    )
    assert made.warnings[0] in (tmp_path / "page.html").read_text()


def test_another_image_of_the_same_name_is_no_pair(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = run(tmp_path / "shifted", shift=0.01)
    with pytest.raises(ValueError, match="is another image or label in shifted than in one: no pair"):
        compare([pair[0], other], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_what_cannot_be_compared_is_refused(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hu = run(tmp_path / "hu", unit="HU")
    for folders, said in (
        ([pair[0]], "at least two evaluations"),
        ([pair[0], pair[0]], "at least two evaluations, each once"),
        ([pair[0], tmp_path / "gone"], "gone does not exist or is a file"),
        ([pair[0], tmp_path], "holds no spec.json"),
        ([pair[0], hu], "one and hu have another unit of the images: '' and 'HU'."),
    ):
        assert main(["compare", *map(str, folders), "--page", str(tmp_path / "page.html")]) == 1
        assert said in capsys.readouterr().err
        assert not (tmp_path / "page.html").exists()


def test_a_damaged_run_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(pair[1], folder)
    data = json.loads((folder / "summary.json").read_text())
    data["seconds"] += 1
    (folder / "summary.json").write_text(json.dumps(data))
    assert main(["compare", str(pair[0]), str(folder), "--page", str(tmp_path / "page.html")]) == 1


def test_small_radii_are_told_apart(tmp_path: Path) -> None:
    """Three decimals would make none of the one and as much of the others."""
    folders = [run(tmp_path / name, radii=(0.0002, 0.0008, 0.001)) for name in ("one", "other")]
    made = compare(folders, tmp_path / "page.html")
    assert {f"worst case at {eps}" for eps in ("0.0002", "0.0008", "0.001")} <= {line[1] for line in made.pairs.lines}
    page = (folders[0] / "report.html").read_text()
    assert all(f">{eps}<" in page for eps in ("0.0002", "0.0008", "0.001"))
    assert ">0.000<" not in page.partition("Every attack")[2].partition("</table>")[0]
