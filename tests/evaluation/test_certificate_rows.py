"""Certificates and proofs as rows: certified, attacked and average from one run, which never cross."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import jsonschema
import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from monai_smia.analysis.certificates import certificate_flags, certificates_of
from monai_smia.analysis.summary import Group
from monai_smia.attacks import SmoothedShift
from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.certificate_facts import certificate_facts
from monai_smia.evaluation.shift_plan import shift_rows
from monai_smia.metrics import ClassificationMetrics, SegmentationMetrics
from monai_smia.records import COMPUTED, Primary, Record, RowKey, Summary, read_records
from monai_smia.records.certificate import BOUND, BROKEN, CENTER, FARTHEST, RANGE, REACH
from monai_smia.report.certificate_table import TITLE, bracket_chart, certificate_text
from monai_smia.report.document import SCHEMA
from monai_smia.report.html import write_report
from monai_smia.shifts import HUOffset
from monai_smia.victims import ClassificationVictim, SegmentationVictim

AFFINE = torch.diag(torch.tensor([4.0, 4.0, 6.0, 1.0]))


class Threshold(nn.Module):
    """Foreground above -500 HU."""

    def forward(self, image: Tensor) -> Tensor:
        score = (image + 500) / 100
        return torch.cat([-score, score], 1)


class Bright(nn.Module):
    """Decides 1 where the mean lies above 0 HU."""

    def forward(self, image: Tensor) -> Tensor:
        score = image.flatten(1).mean(1)
        return torch.stack([-score, score], 1)


def volume(item: dict[str, Any]) -> dict[str, Tensor]:
    image = torch.full((1, 8, 8, 6), -1000.0)
    image[:, 1:7, 1:7, 1:5] = 2 * torch.arange(6 * 6 * 4).view(1, 6, 6, 4) - 640.0 + item["offset"]
    return {"image": MetaTensor(image, affine=AFFINE), "label": MetaTensor((image > -500).long(), affine=AFFINE)}


def scan(item: dict[str, Any]) -> dict[str, Any]:
    """Decided as 1 down to an offset of `margin`."""
    return {"image": MetaTensor(torch.full((1, 4, 4, 4), item["margin"]), affine=AFFINE), "label": 1}


def evaluation(folder: Path, **options: Any) -> AttackEvaluation:
    rows = shift_rows(
        modality="ct",
        only=["HUCalibration"],
        severity=3,
        draws=8,
        gradients=4,
        proofs=["HUOffset", "SlicePhase", "Flip"],
        certify="all",
        clip=None,
    )
    return AttackEvaluation(
        **{
            "cases": [{"case": f"case{n}", "image": f"file{n}", "label": None, "offset": 9 * n} for n in range(2)],
            "loading": volume,
            "victim": SegmentationVictim(Threshold()),
            "attacks": rows,
            "metrics": SegmentationMetrics(2),
            "output_dir": folder,
            "unit": "HU",
            "data_range": 1400.0,
            "progress": False,
            **options,
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("certificates")
    evaluation(place).run()
    return place


def certified(folder: Path) -> list[Record]:
    found = [r for r in read_records(folder) if isinstance(r, Record) and r.row.setting.startswith("certified")]
    assert found
    return found


def test_what_is_certified_and_what_attacks_break_never_cross(folder: Path) -> None:
    for record in certified(folder):
        numbers = record.metrics
        assert numbers[BROKEN] is None or numbers[BROKEN] >= numbers[RANGE]
        assert numbers[BOUND] <= numbers[FARTHEST] <= numbers[CENTER]
        drawn = numbers["draw_values"]
        assert len(drawn) == 60 + 2 * 20
        assert numbers[BOUND] in drawn[:60]
        assert numbers[CENTER] == pytest.approx(median(drawn[:60]))
        assert numbers[FARTHEST] == pytest.approx(min(median(drawn[:60]), median(drawn[60:80])))
    (found,) = Summary.read(folder).certificates
    assert (found.shift, found.severity, found.cases, found.draws, found.crossed) == ("HUCalibration", 3, 2, 60, 0)
    assert found.lowest == min(record.metrics[BOUND] for record in certified(folder))
    assert found.bound is not None
    assert found.attacked is not None
    assert found.center is not None
    assert found.bound <= found.attacked <= found.center
    assert not [flag for flag in Summary.read(folder).flags if "certified" in flag.name]


def test_a_crossing_is_flagged() -> None:
    """What no run should show: draws inside of the certified range that say that the median is broken."""
    attack = SmoothedShift(HUOffset(severity=3), draws=60, probes=20, distances=(0.5,))
    facts = certificate_facts(attack, [0.9] * 60 + [0.1] * 20, 0.9, higher_is_better=True, dims=3)
    assert facts[RANGE] > 0.5
    assert facts[BROKEN] == 0.5
    row = RowKey("HUOffset", "certified, severity 3")
    records = [Record(row, COMPUTED, "a", metrics={"jaccard": 0.9, "severity": 3, **facts})]
    found = certificates_of([Group(row, COMPUTED, records)], Primary("jaccard", True))
    assert found[0].crossed == 1
    assert [flag.name for flag in certificate_flags(found)] == ["broken inside the certified range"]
    fine = certificate_facts(attack, [0.9] * 80, 0.9, higher_is_better=True, dims=3)
    records = [Record(row, COMPUTED, "a", metrics={"jaccard": 0.9, "severity": 3, **fine})]
    assert fine[BROKEN] is None
    assert certificate_flags(certificates_of([Group(row, COMPUTED, records)], Primary("jaccard", True))) == []


def test_of_a_threshold_the_range_is_the_closed_form(tmp_path: Path) -> None:
    """A decision that turns at an offset of 2 HU, of a box of 10: certified below it, and seen broken at the box."""
    rows = [
        row
        for row in shift_rows(modality="ct", only=["HUCalibration"], certify="all", certificate_draws=400, clip=None)
        if row.setting.startswith("certified")
    ]
    attack = rows[0].attack
    assert isinstance(attack, SmoothedShift)
    attack = dataclasses.replace(attack, shift=HUOffset(severity=3), probes=60)
    evaluation(
        tmp_path,
        attacks=[attack],
        cases=[{"case": f"m{m}", "image": f"f{m}", "label": 1, "margin": float(m)} for m in (2, 18, 45)],
        loading=scan,
        victim=ClassificationVictim(Bright()),
        metrics=ClassificationMetrics(2),
    ).run()
    for record, margin in zip(certified(tmp_path), (0.2, 1.8, 4.5), strict=True):
        assert record.metrics[RANGE] <= margin  # the truth, in boxes
        right = [value == 1 for value in record.metrics["draw_values"][:400]]
        assert sum(right) / 400 == pytest.approx(NormalDist().cdf(margin), abs=0.05)
        assert record.metrics[BROKEN] == {0.2: 1.0, 1.8: None, 4.5: None}[margin]
        assert record.metrics[BOUND] == {0.2: 0.0, 1.8: 1.0, 4.5: 1.0}[margin]
        offset = float(record.metrics[REACH].split()[1])
        assert offset == pytest.approx(min(10 * record.metrics[RANGE], 40), rel=0.01)
    assert certified(tmp_path)[0].metrics[RANGE] > 0.02
    (found,) = Summary.read(tmp_path).certificates
    assert (found.metric, found.higher_is_better, found.case) == ("accuracy", True, "m2")
    assert "accuracy at least 0 in every one of these 3 cases" in certificate_text(found)


def test_the_page_says_and_shows_it(folder: Path) -> None:
    summary = Summary.read(folder)
    page = (folder / "report.html").read_text()
    (found,) = summary.certificates
    assert certificate_text(found) in page
    assert "Certified with 95 % confidence for each case" in page
    assert TITLE in page
    assert "Proof by trying all 21 whole values: no HUOffset in the box of severity 3" in page
    assert "Proof by trying all 16 whole values: no SlicePhase" in page
    assert "Proof by trying all 8 values: no Flip" in page
    chart = bracket_chart(summary.certificates, summary.shifts)
    assert chart is not None
    assert "HUCalibration, severity 3, smoothed: certified" in chart.values
    assert "HUOffset, severity 3, all values: certified" in chart.values
    jsonschema.validate(json.loads((folder / "report.json").read_text()), json.loads(SCHEMA.read_text()))
    before = summary.to_json()
    write_report(folder)
    assert Summary.read(folder).to_json()["certificates"] == before["certificates"]


def test_a_run_that_was_ended_goes_on(folder: Path, tmp_path: Path) -> None:
    whole = evaluation(tmp_path)
    half = evaluation(tmp_path, attacks=[row for row in whole.plan if not row.setting.startswith("certified")])
    half.run()
    assert Summary.read(tmp_path).certificates == []
    before = (tmp_path / "journal" / "rank0.jsonl").read_text().count("\n")
    whole.run()
    added = (tmp_path / "journal" / "rank0.jsonl").read_text().count("\n") - before
    assert added == 2  # of two cases, and of nothing that was there
    assert Summary.read(tmp_path).certificates == Summary.read(folder).certificates


def test_undefined_values_count_as_the_worst() -> None:
    attack = SmoothedShift(HUOffset(), draws=60, probes=5)
    for up in (True, False):
        facts = certificate_facts(attack, [None] * 70, 0.9, higher_is_better=up, dims=3)
        assert (facts[BOUND], facts[CENTER], facts[FARTHEST], facts[RANGE]) == (None, None, None, 0.0)
        assert facts[BROKEN] == 1.0
    found = certificate_facts(attack, [0.9] * 70, None, higher_is_better=True, dims=3)
    assert found[RANGE] > 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"proofs": ["HUOfset"]}, r"proofs must be of .* got 'HUOfset'; did you mean HUOffset\?"),
        ({"modality": "mri", "proofs": "HUOffset"}, "proofs must be of .* for mri in 3-D"),
        ({"dims": 2, "proofs": "SlicePhase"}, "proofs must be of .* in 2-D, got 'SlicePhase'"),
        ({"geometric": False, "proofs": "Flip"}, "proofs must be of"),
        ({"certify": ["Dosis"]}, r"certify must name shifts of .* got 'Dosis'; did you mean Dose\?"),
        ({"certify": "all", "certificate_draws": 0}, "draws must be"),
        ({"proofs": "WindowSetting", "window": (0, 10)}, "window must be"),
        ({"lattices": {"HUOffset": [0.0]}}, "lattice must hold numbers > 0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        shift_rows(**{"modality": "ct", **arguments})
