"""Rows of acquisition shifts: on average and at their worst through one pipeline, records, summary and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from monai_smia.attacks import ShiftAttack, TryAll
from monai_smia.evaluation import AttackEvaluation, preset_plan
from monai_smia.evaluation.plan import PlannedAttack
from monai_smia.evaluation.shift_plan import USUAL, shift_rows
from monai_smia.metrics import SegmentationMetrics
from monai_smia.records import Record, Summary, read_records
from monai_smia.report.document import SCHEMA
from monai_smia.report.figures import segmentation_figure
from monai_smia.report.html import write_report
from monai_smia.shifts import MODALITIES, HUOffset, RigidMotion, moved_label
from monai_smia.victims import SegmentationVictim


class Threshold(nn.Module):
    """Foreground above -500 HU."""

    def forward(self, image: Tensor) -> Tensor:
        score = (image + 500) / 100
        return torch.cat([-score, score], 1)


def volume(item: dict[str, Any]) -> dict[str, Tensor]:
    """A ramp in a box: whole HU, the border of the decision where an offset moves it."""
    image = torch.full((1, 12, 12, 8), -1000.0)
    image[:, 2:10, 2:10, 1:7] = torch.arange(8 * 8 * 6).view(1, 8, 8, 6) - 700.0 + item["offset"]
    affine = torch.diag(torch.tensor([4.0, 4.0, 6.0, 1.0]))
    return {"image": MetaTensor(image, affine=affine), "label": MetaTensor((image > -500).long(), affine=affine)}


def evaluation(folder: Path, rows: Any, **options: Any) -> AttackEvaluation:
    return AttackEvaluation(
        cases=[{"case": f"case{n}", "image": f"file{n}", "label": None, "offset": 10 * n} for n in range(2)],
        loading=volume,
        victim=SegmentationVictim(Threshold()),
        attacks=rows,
        metrics=SegmentationMetrics(2),
        output_dir=folder,
        unit="HU",
        data_range=1400.0,
        progress=False,
        **options,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shifts")
    options = {"modality": "ct", "only": ["HUCalibration"], "severity": 3, "draws": 59, "gradients": 4}
    moves = shift_rows(modality="ct", only="RigidMotion", draws=6, gradients=4, clip=None)
    rows = preset_plan("shifts", "segmentation", 0.01, unit_scale=1 / 1400, clip=None, shifts=options)
    rows = [row for row in rows if row.name != "APGD"] + moves
    rows.append(PlannedAttack(TryAll(HUOffset(severity=2), clip=None), None, "every value, severity 2"))
    evaluation(place, rows, figure=segmentation_figure).run()
    return place


def records(folder: Path, attack: str) -> list[Record]:
    return [r for r in read_records(folder) if isinstance(r, Record) and r.row.attack == attack]


def test_the_worst_is_never_less_bad_than_the_worst_draw_in_any_row(folder: Path) -> None:
    found = [r for r in read_records(folder) if isinstance(r, Record) and r.row.is_shift]
    assert len(found) == 6
    for record in found:
        assert record.number("damage") >= record.number("worst_draw")
        assert record.number("jaccard") <= min(record.number("draw_values")) + 1e-6
        assert record.number("average_damage") <= record.number("damage")
        assert (record.costs.gradients or 0) <= len(record.number("draw_values"))


def test_a_record_tells_the_parameters_and_they_make_the_figure_again(folder: Path) -> None:
    (record, _) = records(folder, "HUCalibration")
    values = record.number("parameters")
    assert record.number("told").startswith("offset ")
    assert abs(values["offset"]) <= 10
    case = volume({"offset": 0})
    image = case["image"].as_tensor()
    shifted = image + image * values["slope"] / 100 + values["offset"]
    decided = shifted > -500
    label = case["label"].as_tensor() > 0
    jaccard = float((decided & label).sum()) / float((decided | label).sum())
    assert record.number("jaccard") == pytest.approx(jaccard, abs=1e-6)


def test_a_shift_that_moves_anatomy_is_judged_by_the_moved_label(folder: Path) -> None:
    """What it loses at the parameters that were found is what the label loses that moved by them."""
    for number, record in enumerate(records(folder, "RigidMotion")):
        case = volume({"offset": 10 * number})
        values = torch.tensor([list(record.number("parameters").values())])
        decided = RigidMotion()(case["image"][None], values).as_tensor() > -500
        grid = RigidMotion().grid(case["image"][None])
        label = case["label"][None].as_tensor()
        jaccard = []
        for truth in (label > 0, moved_label(RigidMotion(), label, values, grid) > 0):
            jaccard.append(float((decided & truth).sum() / (decided | truth).sum()))
        assert record.number("jaccard") == pytest.approx(jaccard[1], abs=1e-6)
        assert abs(jaccard[0] - jaccard[1]) > 0.01


def test_all_whole_offsets_are_a_plain_loop(folder: Path) -> None:
    for number, record in enumerate(records(folder, "HUOffset")):
        case = volume({"offset": 10 * number})
        image, label = case["image"].as_tensor(), case["label"].as_tensor() > 0
        expected = []
        for offset in range(-7, 8):
            decided = image + offset > -500
            expected.append(float((decided & label).sum()) / float((decided | label).sum()))
        assert record.number("draw_values") == pytest.approx(expected, abs=1e-6)
        assert record.number("jaccard") == pytest.approx(min(expected), abs=1e-6)


def test_summary_and_page_say_average_and_worst_side_by_side(folder: Path) -> None:
    summary = Summary.read(folder)
    gaps = {gap.shift: gap for gap in summary.shifts}
    assert list(gaps) == ["HUCalibration", "RigidMotion", "HUOffset"]
    assert not any(row.row.is_shift for row in summary.rows)
    assert summary.headline is not None
    for gap in gaps.values():
        assert gap.worst is not None
        assert gap.average is not None
        assert gap.clean == 1.0
        assert gap.worst <= gap.average
    assert gaps["HUCalibration"].kept_share == 0.95
    page = (folder / "report.html").read_text()
    assert "Acquisition shifts: on average and at their worst" in page
    assert gaps["HUCalibration"].told in page
    assert "Acquisition shifts of severity 3 (2 of them): jaccard" in page
    assert "Proof by trying all 15 whole values: no HUOffset in the box of severity 2" in page
    assert page.count("the image before and after the shift") == 3
    jsonschema.validate(json.loads((folder / "report.json").read_text()), json.loads(SCHEMA.read_text()))


def test_the_page_is_made_anew_from_the_files(folder: Path) -> None:
    before = Summary.read(folder).to_json()["shifts"]
    write_report(folder)
    assert Summary.read(folder).to_json()["shifts"] == before


def test_a_shift_alone_may_stand_in_a_plan(tmp_path: Path) -> None:
    evaluation(tmp_path, [ShiftAttack(HUOffset(severity=1), clip=None, draws=3, steps=1)]).run()
    (gap,) = Summary.read(tmp_path).shifts
    assert (gap.shift, gap.severity, gap.draws) == ("HUOffset", 1, 3)
    assert Summary.read(tmp_path).headline is None
    assert "HUOffset" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("modality", MODALITIES)
def test_plans_of_every_modality(modality: str) -> None:
    dims = 2 if modality in ("endoscopy", "fundus") else 3
    usual = shift_rows(modality=modality, dims=dims)
    assert [row.name for row in usual if row.setting == "shift, severity 3"] == list(USUAL[modality])
    every = shift_rows(modality=modality, dims=dims, only="all", severity=[1, 5])
    kinds = [kind for kind in MODALITIES[modality] if dims in kind.dimensions]
    assert len([row for row in every if row.setting.startswith("shift")]) == 2 * len(kinds)
    assert any(row.name == "HUOffset" for row in usual) == (modality == "ct")
    still = shift_rows(modality=modality, dims=dims, geometric=False)
    assert not any(row.attack.shift.geometric for row in still)  # type: ignore[union-attr]
    for row in usual:
        if isinstance(row.attack, ShiftAttack):
            assert row.attack.draws >= row.attack.planned_gradients


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"modality": "xray"}, "modality must be one of"),
        ({"only": ["Dose", "Dosis"], "modality": "ct"}, r"shifts must be of .* got 'Dosis'; did you mean Dose\?"),
        ({"only": []}, "shifts must hold at least one"),
        ({"severity": 6}, "severity must be a whole number from 1 to 5"),
        ({"severity": []}, "severity must be"),
        ({"severity": "3"}, "severity must be"),
        ({"draws": 5, "gradients": 8}, "draws must be at least"),
        ({"draws": 2.5}, "draws must be"),
        ({"gradients": 0}, "gradients must be"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        shift_rows(**arguments)
