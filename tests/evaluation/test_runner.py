from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, Orientationd, ScaleIntensityRanged, Spacingd

from monai_smia.attacks import BIM
from monai_smia.degradations import Smooth
from monai_smia.evaluation import AttackEvaluation, PlannedAttack, paper_comparison
from monai_smia.evaluation.predictor import case_seed
from monai_smia.metrics import SegmentationMetrics
from monai_smia.records import Summary
from monai_smia.report import summary_table
from monai_smia.report.figures import segmentation_figure
from monai_smia.storage import NiftiStorage
from monai_smia.storage.nifti import stored_difference
from monai_smia.victims import SegmentationVictim

LOAD = Compose([LoadImaged(["image", "label"], image_only=True), EnsureChannelFirstd(["image", "label"])])
PREPROCESS = Compose(
    [
        Orientationd("image", "RAS", labels=None),
        Spacingd("image", (2.0, 2.0, 2.0), mode="bilinear"),
        ScaleIntensityRanged("image", -1000, 400, 0, 1, clip=True),
    ]
)


class Threshold(torch.nn.Module):
    """Air is lung, after a mean over neighbours that noise does not get through."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        score = 40 * (0.3 - torch.nn.functional.avg_pool3d(image, 3, 1, 1, count_include_pad=False))
        return torch.cat([-score, score], 1)


def write_case(
    folder: Path, name: str, change: Callable[[np.ndarray, np.ndarray], None] | None = None
) -> dict[str, str]:
    image, label = np.full((14, 14, 8), -520, np.float32), np.zeros((14, 14, 8), np.uint8)
    image[3:11, 3:11, 2:7], label[3:11, 3:11, 2:7] = -640, 1
    image += np.random.default_rng(0).integers(-5, 6, image.shape)
    if change is not None:
        change(image, label)
    item = {"case": name}
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    for key, values in (("image", image), ("label", label)):
        item[key] = str(folder / f"{name}_{key}.nii.gz")
        values = values if np.isnan(values).any() or key == "label" else values.astype(np.int16)
        nib.save(nib.Nifti1Image(values, affine), item[key])
    return item


def evaluation(cases: list[dict[str, str]], folder: Path, **options: Any) -> AttackEvaluation:
    victim = SegmentationVictim(Threshold(), preprocessing=PREPROCESS)
    attacks = paper_comparison(0.05, steps=2, unit_scale=victim.intensity_scale(), clip=(-1024.0, 3071.0))
    attacks = [row for row in attacks if row.name not in ("FGSM", "MIFGSM")]  # as any other row; saves time
    settings: dict[str, Any] = {
        "cases": cases,
        "loading": LOAD,
        "victim": victim,
        "attacks": attacks,
        "metrics": SegmentationMetrics(2),
        "output_dir": folder,
        "storage": NiftiStorage(folder / "volumes"),
        "unit": "HU",
        "data_range": 1400.0,
        "progress": False,
    }
    return AttackEvaluation(**{**settings, **options})


def test_files_rows_and_units(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    before = Path(case["image"]).read_bytes()
    summary = evaluation([case], tmp_path / "out", figure=segmentation_figure).run()
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    rows = {(r["attack"], r["setting"], r["loss"], r["stage"]): r for r in summary["rows"]}
    clean = rows["Clean", "", None, "computed"]["jaccard"]
    assert clean > 0.7
    assert rows["BIM", "equal radius", None, "computed"]["jaccard"] < 0.3 * clean
    assert rows["Noise", "equal radius", None, "computed"]["jaccard"] > 0.7 * clean
    for stage in ("computed", "stored"):
        row = rows["SMIA", "equal radius", None, stage]
        assert (row["eps"], row["eps_input"], row["unit"], row["gradients"]) == (0.05, 70.0, "HU", 3)
        assert row["linf"] <= 70.0 + 1e-3
    for volume in sorted((tmp_path / "out" / "volumes").glob("a_*_adversarial.nii.gz")):
        reach = 70 * (2 + ("_pgd_" in volume.name) if "_paper_" in volume.name else 1)  # PGD begins within eps
        assert 0 < stored_difference(volume, case["image"]) <= reach
        assert nib.load(volume).get_data_dtype() == np.int16
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:image/png;base64" in page
    assert 'src="http' not in page
    assert (tmp_path / "out" / "figures" / "a_bim_equal-radius_eps0.05.png").stat().st_size > 10_000
    assert Path(case["image"]).read_bytes() == before


def test_what_is_below_quantization_is_said(tmp_path: Path) -> None:
    """The radius is 0.7 HU, and the file holds whole ones: no failure, no file, the figures of the clean image."""
    attacks = paper_comparison(0.0005, steps=1, unit_scale=1 / 1400, clip=(-1024.0, 3071.0))
    attacks = [row for row in attacks if row.name in ("Clean", "BIM") and row.setting != "paper"]
    summary = evaluation([write_case(tmp_path, "a")], tmp_path / "out", attacks=attacks).run()
    clean, computed, stored = summary["rows"]
    assert (computed["eps_input"], computed["stage"], stored["stage"]) == (pytest.approx(0.7), "computed", "stored")
    below = "below_quantization"
    assert (below in clean, below in computed, stored[below]) == (False, False, 1)
    assert (computed["linf"], stored["linf"]) == (pytest.approx(0.7, abs=1e-3), None)  # nothing was changed
    assert (computed.get("unchanged", 0), stored["unchanged"]) == (0, 1)
    assert stored["jaccard"] == clean["jaccard"]
    assert list((tmp_path / "out" / "volumes").glob("*")) == []
    assert "stored, below quantization" in summary_table(Summary.from_json(summary).rows, "jaccard").text()
    assert "less than one unit that the file can hold" in (tmp_path / "out" / "report.html").read_text()


def test_stored_rows_are_predicted_from_the_file(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    summary = evaluation([case], tmp_path / "out").run()
    stored = next(
        r for r in summary["rows"] if (r["attack"], r["setting"], r["stage"]) == ("BIM", "equal radius", "stored")
    )
    path = tmp_path / "out" / "volumes" / "a_bim_equal-radius_eps0.05_adversarial.nii.gz"
    victim = SegmentationVictim(Threshold(), preprocessing=PREPROCESS)
    again = NiftiStorage(tmp_path).read(path)[None]
    label = LOAD({"image": case["image"], "label": case["label"]})["label"][None]
    scores = SegmentationMetrics(2)(victim.decide(victim.infer(again)), label, spacing=(2.0, 2.0, 2.0))
    assert scores["jaccard"].item() == pytest.approx(stored["jaccard"])


class Lossy(NiftiStorage):
    """A file that holds half of every change, which the image in memory does not show."""

    def write(self, image: Any, adversarial: Any, **options: Any) -> Path:
        return super().write(image, (image + adversarial) / 2, **options)


def test_a_stored_row_is_not_predicted_from_the_image_in_memory(tmp_path: Path) -> None:
    """What the file lost is lost: all figures of the stored row are those of the file, its sizes too."""
    case = write_case(tmp_path, "a")
    bim = BIM(eps=70.0, steps=2, clip=(-1024.0, 3071.0), progress=False)
    plan = [PlannedAttack(), PlannedAttack(bim, 0.05, "equal radius")]
    summary = evaluation([case], tmp_path / "out", attacks=plan, storage=Lossy(tmp_path / "volumes")).run()
    clean, computed, stored = summary["rows"]
    assert (computed["linf"], stored["linf"]) == (pytest.approx(70.0, abs=1e-3), pytest.approx(35.0, abs=1e-3))
    assert computed["jaccard"] < 0.3 * clean["jaccard"]
    victim = SegmentationVictim(Threshold(), preprocessing=PREPROCESS)
    (path,) = (tmp_path / "volumes").glob("*_adversarial.nii.gz")
    label = LOAD({"image": case["image"], "label": case["label"]})["label"][None]
    decision = victim.decide(victim.infer(NiftiStorage(tmp_path).read(path)[None]))
    expected = SegmentationMetrics(2)(decision, label, spacing=(2.0, 2.0, 2.0))["jaccard"].item()
    assert stored["jaccard"] == pytest.approx(expected)
    assert stored["jaccard"] > computed["jaccard"] + 0.05


def test_old_names(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="use num_probed_cases"):
        assert evaluation([write_case(tmp_path, "a")], tmp_path / "out", checks=1).num_probed_cases == 1


def test_what_runs_is_told_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """With `progress` the schedule, the table, the headline and where the report is; without, nothing is printed."""
    case = write_case(tmp_path, "a")
    evaluation([case], tmp_path / "quiet").run()
    assert capsys.readouterr().out == ""
    handlers = list(logging.getLogger().handlers), list(logging.getLogger("monai_smia").handlers)
    evaluation([case], tmp_path / "out", progress=True, survival={"smoothed": Smooth(1.0)}).run()
    shown = capsys.readouterr().out
    assert re.search(r"^1 case x \d+ rows, at most: \d+ gradients a case at ", shown)
    assert re.search(r"\nattack +setting +radius ", shown)
    assert "\nMean jaccard: 0." in shown
    assert f"\nReport: {tmp_path / 'out' / 'report.html'}\n" in shown
    assert "\nSurvival: jaccard" in shown
    assert (list(logging.getLogger().handlers), list(logging.getLogger("monai_smia").handlers)) == handlers


def test_the_paper_space(tmp_path: Path) -> None:
    case = write_case(tmp_path, "a")
    victim = SegmentationVictim(Threshold())
    both = Compose(
        [
            *LOAD.transforms,
            Spacingd(["image", "label"], (2.5, 2.5, 2.5), mode=["bilinear", "nearest"]),
            ScaleIntensityRanged("image", -1000, 400, 0, 1, clip=True),
        ]
    )
    attacks = paper_comparison(0.05, steps=2)
    run = evaluation(
        [case],
        tmp_path / "out",
        victim=victim,
        loading=both,
        attacks=attacks,
        storage=NiftiStorage(tmp_path / "out" / "volumes", like_source=False),
        unit="",
        data_range=1.0,
    )
    rows = {(r["attack"], r["setting"], r["stage"]): r for r in run.run()["rows"]}
    computed, stored = (rows["BIM", "equal radius", stage] for stage in ("computed", "stored"))
    assert computed["jaccard"] == pytest.approx(stored["jaccard"])  # float32 files lose nothing
    assert computed["linf"] == pytest.approx(0.05, rel=1e-5)


def test_bad_cases_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    def nan(image: np.ndarray, label: np.ndarray) -> None:
        image[0, 0, 0] = np.nan

    def empty(image: np.ndarray, label: np.ndarray) -> None:
        label[:] = 0

    cases = [write_case(tmp_path, "good"), write_case(tmp_path, "nan", nan), write_case(tmp_path, "empty", empty)]
    corrupt = write_case(tmp_path, "corrupt")
    Path(corrupt["image"]).write_bytes(Path(corrupt["image"]).read_bytes()[:200])
    shape = write_case(tmp_path, "shape")
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)), shape["label"])
    moved = write_case(tmp_path, "moved")
    nib.save(
        nib.Nifti1Image(np.asarray(nib.load(moved["label"]).dataobj), np.diag([-3.0, -2.0, 2.0, 1.0])), moved["label"]
    )
    cases += [corrupt, shape, moved, {"case": "gone", "image": "gone.nii.gz", "label": "gone.nii.gz"}]
    with pytest.raises(RuntimeError, match="6 of 7 cases failed"):
        evaluation(cases, tmp_path / "out").run()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    reasons = {failure["case"]: failure["reason"] for failure in summary["failures"]}
    for name, word in (("nan", "NaN"), ("empty", "foreground"), ("shape", "shape"), ("moved", "affine")):
        assert word in reasons[name], reasons[name]
    assert "corrupt" in reasons
    assert "gone.nii.gz" in reasons["gone"]
    assert {row["cases"] for row in summary["rows"]} == {1}
    assert "6 of 7 cases are excluded" in (tmp_path / "out" / "report.html").read_text()
    assert "1 of 7 cases evaluated" in (tmp_path / "out" / "report.html").read_text()


def test_a_faulty_first_case_ends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The others go on, and the schedule is told by the first whole one."""
    bad, good = write_case(tmp_path, "bad"), write_case(tmp_path, "good")
    Path(bad["image"]).write_bytes(b"no volume")
    with pytest.raises(RuntimeError, match="1 of 2 cases failed: bad"):
        evaluation([bad, good], tmp_path / "out", progress=True).run()
    assert re.search(r"2 cases x \d+ rows, at most: \d+ gradients a case at \S+ s, ", capsys.readouterr().out)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["evaluated"] == 1


def test_padding_outside_the_valid_range_is_left_alone(tmp_path: Path) -> None:
    def pad(image: np.ndarray, label: np.ndarray) -> None:
        image[:2] = -2048

    case = write_case(tmp_path, "padded", pad)
    evaluation([case], tmp_path / "out").run()
    for volume in (tmp_path / "out" / "volumes").glob("*_adversarial.nii.gz"):
        assert (np.asarray(nib.load(volume).dataobj)[:2] == -2048).all()


def test_seeds_follow_the_case_and_not_the_order(tmp_path: Path) -> None:
    a, b = write_case(tmp_path, "a"), write_case(tmp_path, "b")
    together = evaluation([a, b], tmp_path / "both").run()
    alone = evaluation([b], tmp_path / "one").run()
    assert together["cases"] == 2
    of_b = [json.loads(line) for line in (tmp_path / "both" / "records.jsonl").read_text().splitlines()]
    of_b = [{**r, "seconds": None} for r in of_b if r["case"] == "b"]
    only = [json.loads(line) for line in (tmp_path / "one" / "records.jsonl").read_text().splitlines()]
    assert of_b == [{**r, "seconds": None} for r in only]
    assert alone["cases"] == 1
    assert case_seed(0, "a") != case_seed(0, "b") != case_seed(1, "b")


def test_no_cases() -> None:
    with pytest.raises(ValueError, match="cases"):
        evaluation([], Path())


def test_no_attacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^attacks must hold at least one row, got \[\]\.$"):
        evaluation([write_case(tmp_path, "a")], tmp_path / "out", attacks=[])


def test_settings_that_are_changed_before_a_run_are_those_that_run(tmp_path: Path) -> None:
    run = evaluation([write_case(tmp_path, "a")], tmp_path / "out", storage=None)
    run.attacks = [PlannedAttack(), *(row for row in run.plan if row.name == "BIM")]
    run.cases = [*run.cases, write_case(tmp_path, "b")]
    run.accept = "jaccard >= 0.1 at 70 HU"
    summary = run.run()
    assert {row["attack"] for row in summary["rows"]} == {"Clean", "BIM"}
    assert (summary["cases"], len(summary["criteria"])) == (2, 1)
    run.attacks = []
    with pytest.raises(ValueError, match="attacks must hold at least one row"):
        run.run()
