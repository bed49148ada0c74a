from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from helpers import network
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, ScaleIntensityRange

from monai_smia.attacks import BIM
from monai_smia.evaluation import AttackEvaluation, NiftiStorage, PlannedAttack
from monai_smia.analysis.survival import add_recovered, degraded, survival_table, through
from monai_smia.degradations import Quantize, Resample, Smooth
from monai_smia.metrics import SegmentationMetrics
from monai_smia.victims import SegmentationVictim

KEYS = ["image", "label"]
SURVIVAL = {"smoothed": Smooth(1.0), "resampled": Resample(2.0)}


class Sharp(torch.nn.Module):
    """Dark is lung, with an edge filter that fine patterns mislead and smoothing blinds."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        mean = torch.nn.functional.avg_pool3d(image, 3, 1, 1, count_include_pad=False)
        score = 40 * (0.3 - mean + 1.5 * (image - mean))
        return torch.cat([-score, score], 1)


def run(folder: Path, **options: object) -> dict[tuple[str, str], dict[str, float]]:
    image, label = np.full((14, 14, 8), -520, np.int16), np.zeros((14, 14, 8), np.uint8)
    image[3:11, 3:11, 2:7], label[3:11, 3:11, 2:7] = -640, 1
    item = {"case": "a"}
    for key, values in (("image", image), ("label", label)):
        item[key] = str(folder / f"{key}.nii.gz")
        nib.save(nib.Nifti1Image(values, np.eye(4)), item[key])
    settings: dict[str, object] = {
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
    summary = AttackEvaluation(**{**settings, **options}).run()  # type: ignore[arg-type]
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
    table = survival_table(list(rows.values()), "jaccard").splitlines()
    assert table[1].split() == ["attack", "eps", "computed", "stored", "smoothed", "resampled"]
    assert f"{rows['BIM', 'after smoothed']['recovered']:.3f}" in table[2]


def test_without_a_handling_there_are_no_rows(tmp_path: Path) -> None:
    assert {stage for _, stage in run(tmp_path, survival=None)} == {"computed", "stored"}


def test_an_oracle_that_does_nothing_says_nothing() -> None:
    rows = [{"attack": "Clean", "stage": "after x", "jaccard": 0.9}]
    rows += [{"attack": "BIM", "stage": stage, "jaccard": 0.895} for stage in ("after x", "oracle x")]
    add_recovered(rows, "jaccard")
    assert rows[1]["recovered"] is None
    assert "recovered" not in rows[0]


@pytest.mark.parametrize("degradation", [Smooth(0.8), Quantize(0.25)])
def test_through_a_handling(degradation: object) -> None:
    """Predictions are those of the degraded image, also of a bound victim and its subsets; the victim is untouched."""
    torch.manual_seed(0)
    victim = SegmentationVictim(network("segmentation", 2).double().eval())
    image = torch.rand(3, 2, 8, 8, dtype=torch.float64)
    other = through(victim, degradation)  # type: ignore[arg-type]
    expected = victim.predict(degradation(image))  # type: ignore[operator]
    bound, _ = other.bind(image, torch.zeros(3, 1, 8, 8))
    for one in (other, bound, other.with_loss("soft_jaccard"), other.subset(torch.ones(3, dtype=torch.bool))):
        torch.testing.assert_close(one.predict(image), expected)
    assert isinstance(other, SegmentationVictim)
    assert type(victim) is SegmentationVictim


def test_a_handled_image_keeps_its_affine() -> None:
    image = MetaTensor(torch.rand(1, 1, 6, 6, 6), affine=torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0])))
    assert torch.equal(degraded(image, Smooth(1.0)).affine, image.affine)
