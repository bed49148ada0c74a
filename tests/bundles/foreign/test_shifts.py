"""`--preset shifts` and `--preset frequency` on a bundle of somebody else's, by its own evaluator's figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bundles.foreign.build import Foreign, build
from bundles.foreign.detection import RAS, with_boxes
from bundles.foreign.test_detection import scripts_of_its_own
from bundles.foreign.test_foreign import overlay, own_dice

from monai_smia.records import Record, Summary, read_records

__all__ = ["scripts_of_its_own"]

SHIFTS = {"modality": "ct", "severity": 2, "draws": 6, "gradients": 4}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = build(tmp_path_factory.mktemp("foreign") / "bundle", Foreign())
    overlay(place, {"preset": "shifts", "attack#only": None, "attack#figures": True, "attack#shifts": SHIFTS})
    return place


def records(bundle: Path, attack: str) -> list[Record]:
    found = [record for record in read_records(bundle / "eval" / "attack_eval") if isinstance(record, Record)]
    return [record for record in found if record.row.attack == attack]


def test_every_shift_of_the_modality_that_moves_nothing_has_its_row(bundle: Path) -> None:
    summary = Summary.read(bundle / "eval" / "attack_eval")
    names = ["HUCalibration", "Dose", "ReconstructionKernel", "MetalInsert", "HUOffset"]
    assert [gap.shift for gap in summary.shifts] == names
    assert not summary.failures
    for gap in summary.shifts:
        assert gap.clean is not None
        assert gap.average is not None
        assert gap.worst is not None
        assert gap.worst <= gap.average
        assert (gap.severity, gap.cases) == (2, 2)
        assert gap.draws == (15 if gap.every_value else 6)
        for record in records(bundle, gap.shift):
            assert record.number("damage") >= record.number("worst_draw")
    assert any((gap.gap or 0) > 0.01 for gap in summary.shifts)
    page = (bundle / "eval" / "attack_eval" / "report.html").read_text()
    assert "Acquisition shifts of severity 2 (4 of them)" in page
    assert "Proof by trying all 15 whole values: no HUOffset in the box of severity 2" in page


@pytest.mark.parametrize("name", ["HUOffset", "HUCalibration"])
def test_the_worst_is_what_the_bundles_evaluator_says_of_such_a_scan(bundle: Path, name: str, tmp_path: Path) -> None:
    """The files as that scanner would have written them, through the bundle's own evaluator."""
    other = build(tmp_path / "bundle", Foreign())
    rounding = 0.0
    for number, record in enumerate(records(bundle, name)):
        path = other / "data" / "i" / f"ct_{number}.nii.gz"
        image: Any = nib.load(path)
        values, found = np.asarray(image.dataobj, dtype=np.float64), record.number("parameters")
        shifted = values + values * found.get("slope", 0.0) / 100 + found["offset"]
        rounding = max(rounding, float(np.abs(shifted - shifted.round()).max()))
        nib.save(nib.Nifti1Image(shifted.astype(np.float32), image.affine), path)
    worst = [record.number("dice") for record in records(bundle, name)]
    assert own_dice(other, False) == pytest.approx(np.mean(worst), abs=1e-5)
    assert (rounding == 0) is (name == "HUOffset")  # a proof is of what a file can hold


def test_the_preset_frequency_through_the_pipeline(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign())
    rows, _ = overlay(bundle, {"preset": "frequency", "attack#only": None, "gradients": 6})
    names = {"Clean", "Noise", "APGD", "LowFrequency(APGD, dct)", "LowFrequency(APGD, spline)", "SurvivalSMIA", "VAFA"}
    assert {name for name, stage in rows if stage == "computed"} == names
    clean = rows["Clean", "computed"]["dice"]
    for name in names - {"Clean", "Noise"}:
        assert rows[name, "computed"]["dice"] < clean
        assert rows[name, "computed"]["gradients"] == 6
        assert rows[name, "stored"]["dice"] == pytest.approx(rows[name, "computed"]["dice"], abs=0.02)
    assert rows["APGD", "computed"]["dice"] < rows["LowFrequency(APGD, spline)", "computed"]["dice"]


def test_the_preset_frequency_of_a_detector(tmp_path: Path) -> None:
    bundle = with_boxes(tmp_path / "bundle", RAS)
    rows, _ = overlay(bundle, {"preset": "frequency", "attack#only": None, "gradients": 3})
    names = {"Clean", "Noise", "APGD", "LowFrequency(APGD, dct)", "LowFrequency(APGD, spline)", "SurvivalSMIA", "VAFA"}
    assert {name for name, stage in rows if stage == "computed"} == names
    for name in names - {"Clean", "Noise"}:
        assert rows[name, "computed"]["gradients"] == 3
        assert rows[name, "computed"]["linf"] > 0
