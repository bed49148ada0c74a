from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, ScaleIntensityRange

from monai_smia.attacks import BIM
from monai_smia.degradations import Resample, Smooth
from monai_smia.evaluation import AttackEvaluation, PlannedAttack
from monai_smia.evaluation.survival import degraded_image, named_degradations
from monai_smia.metrics import SegmentationMetrics
from monai_smia.records import Summary
from monai_smia.report import survival_table
from monai_smia.storage import NiftiStorage
from monai_smia.victims import SegmentationVictim

KEYS = ["image", "label"]
SURVIVAL = {"smoothed": Smooth(1.0), "resampled": Resample(2.0)}


class Sharp(torch.nn.Module):
    """Dark is lung, with an edge filter that fine patterns mislead and smoothing blinds."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        mean = torch.nn.functional.avg_pool3d(image, 3, 1, 1, count_include_pad=False)
        score = 40 * (0.3 - mean + 1.5 * (image - mean))
        return torch.cat([-score, score], 1)


def run(folder: Path, **options: Any) -> dict[tuple[str, str], dict[str, float]]:
    image, label = np.full((14, 14, 8), -520, np.int16), np.zeros((14, 14, 8), np.uint8)
    image[3:11, 3:11, 2:7], label[3:11, 3:11, 2:7] = -640, 1
    item = {"case": "a"}
    for key, values in (("image", image), ("label", label)):
        item[key] = str(folder / f"{key}.nii.gz")
        nib.save(nib.Nifti1Image(values, np.eye(4)), item[key])
    settings: dict[str, Any] = {
        "cases": [item],
        "loading": Compose([LoadImaged(KEYS, image_only=True), EnsureChannelFirstd(KEYS)]),
        "victim": SegmentationVictim(
            Sharp(), preprocessing=Compose([ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
        ),
        "attacks": [PlannedAttack(), PlannedAttack(BIM(eps=40.0, steps=4, clip=(-1024.0, 3071.0)), 40 / 1400)],
        "metrics": SegmentationMetrics(2),
        "output_dir": folder / "out",
        "storage": NiftiStorage(folder / "out" / "volumes"),
        "survival": SURVIVAL,
        "progress": False,
    }
    summary = AttackEvaluation(**{**settings, **options}).run()
    assert json.loads((folder / "out" / "summary.json").read_text())["rows"] == summary["rows"]
    return {(row["attack"], row["stage"]): row for row in summary["rows"]}


def test_rows_and_the_recovered_share(tmp_path: Path) -> None:
    rows = run(tmp_path)
    for name, degradation in SURVIVAL.items():
        clean, attacked, oracle = (
            rows[key]["jaccard"]
            for key in (("Clean", f"after {name}"), ("BIM", f"after {name}"), ("BIM", f"oracle {name}"))
        )
        share = rows["BIM", f"after {name}"]["recovered"]
        assert share == pytest.approx((clean - attacked) / (clean - oracle))
        assert share < 1  # the oracle knows the degradation
        victim = SegmentationVictim(Sharp(), preprocessing=Compose([ScaleIntensityRange(-1000, 400, 0, 1, clip=True)]))
        volume = NiftiStorage(tmp_path).read(next((tmp_path / "out" / "volumes").glob("a_bim*_adversarial.nii.gz")))
        label = torch.from_numpy(np.asarray(nib.load(tmp_path / "label.nii.gz").dataobj))[None, None]
        decided = victim.decide(victim.infer(degradation(volume[None].as_tensor())))
        again = SegmentationMetrics(2)(decided, label, spacing=(1.0, 1.0, 1.0))["jaccard"].item()
        assert again == pytest.approx(attacked)  # of the stored file
    table = survival_table(Summary.read(tmp_path / "out").rows, "jaccard").splitlines()
    assert table[1].split() == ["attack", "eps", "computed", "stored", "smoothed", "resampled"]
    assert f"{rows['BIM', 'after smoothed']['recovered']:.3f}" in table[2]


def test_without_a_degradation_there_are_no_rows(tmp_path: Path) -> None:
    assert {stage for _, stage in run(tmp_path, survival=None)} == {"computed", "stored"}


def test_a_degraded_image_keeps_its_affine() -> None:
    image = MetaTensor(torch.rand(1, 1, 6, 6, 6), affine=torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0])))
    assert torch.equal(degraded_image(image, Smooth(1.0)).affine, image.affine)


@pytest.mark.parametrize(
    "survival", ["x", ["smooth"], Smooth(1.0), {"a": "x"}, {"a": None}, {1: Smooth(1.0)}, {"": Smooth(1.0)}, 0]
)
def test_what_is_no_degradation_by_name_is_refused_at_once(survival: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="survival must be names, each with a degradation"):
        run(tmp_path, survival=survival)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("records*"))


@pytest.mark.parametrize("survival", [None, {}])
def test_no_degradations(survival: Any) -> None:
    assert named_degradations(survival) == {}
