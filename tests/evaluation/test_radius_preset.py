"""The preset that asks how large a change has to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation.test_runner import LOAD, PREPROCESS, Threshold, evaluation, write_case
from helpers import case

from monai_smia.attacks import APGD, CriticalRadius
from monai_smia.evaluation import AttackEvaluation, PlannedAttack, preset_plan
from monai_smia.report import write_report
from monai_smia.victims import SegmentationVictim

CLIP = (-1024.0, 3071.0)


def of_one_case(folder: Path, **options: Any) -> AttackEvaluation:
    return evaluation([write_case(folder, "first")], folder / "out", storage=None, **options)


def plan(eps: float | list[float], **options: Any) -> list[PlannedAttack]:
    return preset_plan("radius", "segmentation", eps, unit_scale=1 / 1400, clip=CLIP, gradients=6, **options)


def test_six_radii_up_to_the_largest_and_a_search() -> None:
    rows = plan(0.16)
    assert [row.eps for row in rows if row.name == "APGD"] == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16]
    (search,) = (row for row in rows if row.setting == "critical radius")
    assert isinstance(search.attack, CriticalRadius)
    assert (search.eps, search.attack.eps) == (0.16, 224.0)
    levels = preset_plan("radius", "classification", 4 / 255, unit_scale=1 / 255, clip=(0, 255))
    assert [row.attack.eps for row in levels if row.name == "Noise"] == pytest.approx(
        [4 / 2**k for k in range(5, -1, -1)], rel=1e-11
    )  # type: ignore[union-attr]
    own = plan([0.01 * k for k in range(1, 8)])
    assert len([row for row in own if row.name == "APGD"]) == 7
    assert plan([0.1, 0.16])[1].eps == 0.005  # too few for a curve: the largest counts


def test_the_bisection_agrees_with_a_fine_grid_of_radii(tmp_path: Path) -> None:
    summary = of_one_case(tmp_path, attacks=plan(0.16)).run()
    (found,) = summary["critical_radii"]
    (case,) = found["cases"]
    assert case["by"] == "CriticalRadius, critical radius, eps 0.16"
    item = LOAD({"image": str(tmp_path / "first_image.nii.gz"), "label": str(tmp_path / "first_label.nii.gz")})
    victim, image, label = SegmentationVictim(Threshold(), preprocessing=PREPROCESS), item["image"], item["label"]
    with torch.no_grad():
        clean = float(victim.damage(victim.infer(image[None]), label[None].long()))
    grid = torch.arange(1, 41) * 224 / 40
    broken = []
    for radius in grid.tolist():
        result = APGD(eps=radius, steps=6, loss="soft_jaccard", clip=CLIP)(victim, image[None], label[None].long())
        broken.append(float(result.damage) >= 1 - 0.5 * (1 - clean))
    first = float(grid[broken.index(True)])
    assert case["eps_input"] <= first * 1.01
    assert case["eps_input"] >= first - 2 * 224 / 40
    assert case["eps"] == pytest.approx(case["eps_input"] / 1400)
    text = write_report(tmp_path / "out").headline
    assert (
        f"at most {case['eps_input']:.3g} HU (eps {case['eps']:.3g}) (median of 1 case); 0 of 1 cases hold at" in text
    )
    page = (tmp_path / "out" / "report.html").read_text()
    for told in ("Cases that hold", "Critical radius: of every case", "Over the radius"):
        assert told in page
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["critical_radii"] == summary["critical_radii"]


def test_the_search_on_a_classifier() -> None:
    c = case("classification", 2)
    *_, search = preset_plan("radius", "classification", 0.3, gradients=4, clip=None)
    assert search.attack is not None
    result = search.attack(c.victim, c.image, c.label)
    size = result.perturbation.flatten(1).abs().amax(1)
    broken = result.damage >= 0.5
    assert bool(broken.any())
    assert bool((size[broken] < 0.3).all())


def test_a_case_that_holds_is_said(tmp_path: Path) -> None:
    summary = of_one_case(tmp_path, attacks=plan(0.001)).run()
    (found,) = summary["critical_radii"]
    assert (found["holding"], found["median"], found["cases"][0]["eps"]) == (1, None, None)
    assert "none found up to 1.4 HU (eps 0.001), the largest tried" in write_report(tmp_path / "out").headline


def test_the_search_is_in_no_worst_case_and_no_flag(tmp_path: Path) -> None:
    summary = of_one_case(tmp_path, attacks=plan(0.16)).run()
    assert all("CriticalRadius" not in label for radius in summary["headline"]["radii"] for label in radius["attacks"])
    assert not [flag for flag in summary["flags"] if "CriticalRadius" in flag["text"]]


@pytest.mark.parametrize("eps", [0, [0.0], "0"])
def test_no_radius_to_search_below_is_refused(eps: Any) -> None:
    with pytest.raises(ValueError, match=r"^eps must hold a radius > 0 for the preset 'radius', .* got "):
        plan(eps)


def test_a_case_with_a_valid_range_of_its_own(tmp_path: Path) -> None:
    """Its parts, however deep, are within it, too: DICOM, pictures and files of whole numbers have one."""
    planned = preset_plan("radius", "segmentation", 0.16, unit_scale=1 / 1400, clip=None, gradients=6)
    one = of_one_case(tmp_path, attacks=planned, loading=lambda item: {**LOAD(item), "clip": CLIP})
    (found,) = one.run()["critical_radii"]
    assert found["cases"][0]["eps_input"] is not None
    (tmp_path / "given").mkdir()
    given = of_one_case(tmp_path / "given", attacks=plan(0.16)).run()["critical_radii"]
    assert given[0]["cases"][0]["eps_input"] == found["cases"][0]["eps_input"]
