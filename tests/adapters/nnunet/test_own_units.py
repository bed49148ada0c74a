"""A radius in each case's own standard deviations: what files hold, what rows say, and the gradient, are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

nnunetv2 = pytest.importorskip("nnunetv2", reason="needs nnunetv2: pip install 'monai_smia[nnunet]'")

from adapters.nnunet.test_evaluation import PAPER, data, jaccard, own, values  # noqa: E402
from monai.transforms import Compose  # noqa: E402
from nnunet_models import CT, ZSCORE, write_model  # noqa: E402

from monai_smia.adapters.monai_bundle.units import OwnUnits, units_of  # noqa: E402
from monai_smia.adapters.nnunet import NNUNetVictim, nnunet_evaluation  # noqa: E402
from monai_smia.cli import main  # noqa: E402


def _scaled(file: Path, factor: int) -> None:
    image: Any = nib.load(file)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * factor, image.affine), file)


def test_each_sequence_is_changed_by_its_own_deviation(tmp_path: Path) -> None:
    """Two sequences, one of ten times the values: both units are in the rows, and the files hold the radius."""
    images, labels = data(tmp_path, 2, masked=True)
    sources = sorted(images.iterdir())
    _scaled(sources[1], 10)
    model = write_model(tmp_path / "model", schemes=(ZSCORE, ZSCORE), masked=True, mirror=None)
    options: dict[str, Any] = {"images": images, "labels": labels, "output_dir": tmp_path / "out"}
    plan = {**PAPER, "only": ["Noise"], "write_volumes": "all"}
    summary = nnunet_evaluation(model, **options, eps=0.1, eps_unit="std", **plan).run()
    clean, computed, stored = summary["rows"]
    deviations = [values(file)[values(file) != 0].std() for file in sources]
    assert deviations[1] > 5 * deviations[0]
    assert (computed["eps_input"], computed["unit"]) == (0.1, "SD")
    assert computed["linf"] == pytest.approx(0.1, rel=1e-4)
    for number, deviation in enumerate(deviations):
        assert computed[f"eps_file_{number}"] == pytest.approx(0.1 * deviation, rel=1e-5)
        assert computed[f"linf_file_{number}"] == pytest.approx(0.1 * deviation, rel=1e-3)
    (folder,) = (tmp_path / "out" / "volumes").glob("*_adversarial")
    files = sorted(folder.iterdir())
    for file, source, deviation in zip(files, sources, deviations, strict=True):
        change = np.abs(values(file).astype(int) - values(source))
        assert change.max() == int(0.1 * deviation)
        assert not change[values(source) == 0].any()
    assert clean["agreement"] > 0.95
    label = values(labels / "case0.nii.gz")
    assert clean["jaccard"] == pytest.approx(jaccard(own(model, sources, tmp_path / "x"), label))
    assert stored["jaccard"] == pytest.approx(jaccard(own(model, files, tmp_path / "y"), label))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Radii are in standard deviations of each case&#x27;s own voxels" in page.replace("&#39;", "&#x27;")


def test_the_twin_sees_the_same_image_and_its_gradient_is_that_of_the_files_times_the_unit(tmp_path: Path) -> None:
    images, _ = data(tmp_path, 2, masked=True)
    model = write_model(tmp_path / "model", schemes=(ZSCORE, CT), masked=True, mirror=None)
    victim = NNUNetVictim.from_folder(model)
    victim.network.double()
    image = victim.read(sorted(images.iterdir())).double()
    own_units = OwnUnits("std", Compose([]), "image")(image)
    units = units_of(own_units)
    assert units is not None
    exact = type(image)(image.as_tensor() / units.view(-1, 1, 1, 1), meta=own_units.meta)
    label = victim.decide(victim.infer(image[None]))
    gradients = []
    for each in (image[None], exact[None]):
        bound, target = victim.bind(each, label)
        leaf = each.as_tensor().clone().requires_grad_(True)
        with bound.frozen():
            loss = bound.loss(bound.predict(leaf), target)
            gradients.append(torch.autograd.grad(loss.sum(), leaf)[0])
    expected = gradients[0] * units.view(1, -1, 1, 1, 1)
    assert float(expected.abs().max()) > 0
    assert torch.allclose(gradients[1], expected, rtol=1e-8, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--eps_unit", "std"], "eps must be given where eps_unit is std, such as --eps 0.1, got None."),
        (["--eps_unit", "sd", "--eps", "1"], "eps_unit must be one of image, std, range, got 'sd'."),
    ],
)
def test_what_is_missing_is_said(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("sys.excepthook", __import__("sys").excepthook)
    images, _ = data(tmp_path)
    model = write_model(tmp_path / "model", mirror=None)
    assert main(["nnunet", str(model), "--images", str(images), "--output_dir", str(tmp_path / "o"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_the_command_says_both_units(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.excepthook", __import__("sys").excepthook)
    images, _ = data(tmp_path)
    model = write_model(tmp_path / "model", mirror=None)
    command = ["nnunet", str(model), "--images", str(images), "--output_dir", str(tmp_path / "o"), "--attacks", "FGSM"]
    assert main([*command, "--eps", "0.05", "--eps_unit", "range"]) == 0
    low, high = (float(end(values(images / "case0_0000.nii.gz"))) for end in (np.min, np.max))
    told = f"Of the first case, in the unit of its files: 0.05 is {0.05 * (high - low):.4g}."
    assert told in " ".join(capsys.readouterr().out.split())
