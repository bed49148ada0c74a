"""The small trained nnU-Net that the repository ships: it works, it is small, and an attack breaks it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

nnunetv2 = pytest.importorskip("nnunetv2", reason="needs nnunetv2: pip install 'monai_smia[nnunet]'")

from monai_smia.adapters.nnunet import NNUNetVictim  # noqa: E402
from monai_smia.adapters.nnunet.victim import SPACING  # noqa: E402
from monai_smia.attacks import PGD  # noqa: E402

EXAMPLE = Path(__file__).parents[3] / "examples" / "nnunet_thorax"
MODEL = EXAMPLE / "nnUNetTrainer__nnUNetPlans__3d_fullres"


def test_it_finds_lungs_it_was_not_trained_on_until_it_is_attacked(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(EXAMPLE / "thorax.py"), "--data", str(tmp_path)], check=True)
    victim = NNUNetVictim.from_folder(MODEL, folds=[1], mirroring=False)
    image = victim.read([tmp_path / "imagesTs" / "thorax_100_0000.nii.gz"])[None]
    label = victim.read_label(tmp_path / "labelsTs" / "thorax_100.nii.gz")[None]
    assert tuple(victim.network_input(image).shape[2:]) != tuple(image.shape[2:])  # it is resampled
    own = torch.from_numpy(victim.deployed.segment(image[0].numpy(), image.meta[SPACING]).astype("int64"))
    twin = victim.decide(victim.infer(image))[0, 0]
    assert float((own == twin).double().mean()) > 0.999
    lung, truth = own == 1, label[0, 0] == 1
    assert float(2 * (lung & truth).sum() / (lung.sum() + truth.sum())) > 0.85
    clean = float(victim.damage(victim.infer(image), label))
    result = PGD(eps=60.0, steps=2, clip=None, loss="soft_jaccard")(victim, image, label)
    assert float(result.damage) > clean + 0.15


def test_it_is_small_and_holds_no_more_than_it_needs() -> None:
    files = sorted(MODEL.glob("fold_*/checkpoint_final.pth"))
    assert [file.parent.name for file in files] == ["fold_0", "fold_1"]
    for file in files:
        assert file.stat().st_size < 1_000_000
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)  # no code in it
        needed = {"network_weights", "trainer_name", "inference_allowed_mirroring_axes", "init_args"}
        assert set(checkpoint) == needed
