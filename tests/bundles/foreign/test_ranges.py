"""The valid range of every case of a foreign bundle is its own file's, and its reader's; a radius lies within it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bundles.foreign.build import WINDOW, Foreign, build
from bundles.foreign.test_cases import config_of, grey, records_of, with_a_series
from bundles.foreign.test_foreign import QUICK, overlay, said_by
from monai.bundle import run
from PIL import Image

from monai_smia.adapters.monai_bundle import check_bundle, overlay_path
from monai_smia.storage.limits import file_range

pytestmark = pytest.mark.usefixtures("no_charts")


def refused(bundle: Path, options: dict[str, Any]) -> str:
    """What a run and a check say, which is the same; nothing is computed."""
    files = [str(config_of(bundle)[0]), str(overlay_path())]
    with pytest.raises((ValueError, RuntimeError)) as caught:
        run(run_id="attack_eval", config_file=files, bundle_root=str(bundle), **{**QUICK, **options})
    said = " ".join(said_by(caught.value))
    stops = check_bundle(files[:1], {**QUICK, **options})
    assert stops
    reasons = [re.sub(r"^\S+: ", "", stop) for stop in stops]
    assert all(reason in said for reason in reasons), (said, reasons)
    assert not (bundle / "eval" / "attack_eval" / "records.jsonl").exists() or not [
        record for record in records_of(bundle) if record["status"] == "ok"
    ]
    return said


def unwindowed(bundle: Path, step: dict[str, Any]) -> Path:
    """The bundle with another step in the place of its intensity window."""
    path, config = config_of(bundle)
    steps = config["preprocessing"]["transforms"]
    steps[:] = [step if t["_target_"] == "ScaleIntensityRanged" else t for t in steps]
    path.write_text(json.dumps(config))
    return bundle


def slope(value: float) -> dict[str, Any]:
    """A step that stretches intensities, and has no window."""
    return {"_target_": "ScaleIntensityd", "keys": "image", "minv": None, "maxv": None, "factor": value - 1}


FIXED = slope(1 / 1400)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("unit", ["network", "image"])
def test_a_radius_wider_than_the_window_is_refused_beforehand(clip: bool, unit: str, tmp_path: Path) -> None:
    steps = [t if t is not WINDOW else {**WINDOW, "clip": clip} for t in Foreign().steps]
    bundle = build(tmp_path / "bundle", Foreign(steps=steps), cases=1)
    eps = 42 if unit == "network" else 1401
    said = refused(bundle, {"eps": eps, "attack#eps_unit": unit})
    assert "of what the network sees, got " in said
    assert "of which all lie from -1000 to 400: at most 1." in said
    assert "A radius in HU or grey levels is given with --attack#eps_unit image." in said


@pytest.mark.parametrize("space", ["native", "network"])
def test_a_series(space: str, tmp_path: Path) -> None:
    """The fault as it was found: 42 HU were meant, and 58,800 ran without a word."""
    bundle = unwindowed(with_a_series(build(tmp_path / "bundle", Foreign()), True), FIXED)
    said = refused(bundle, {"eps": 42, "attack#space": space, "attack#identified": True})
    if space == "native":
        assert "of this image's file, got 42 in network units: 58800 in theirs" in said  # of the series
        assert "of which all lie from -1024 to 3071" in said
    assert "of this image's values, got 42" in said


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_pictures(suffix: str, tmp_path: Path) -> None:
    bundle = grey(tmp_path / "bundle", [0, 1, 2], 3, {"_target_": "Activationsd", "keys": "pred", "softmax": True})
    path, config = config_of(bundle)
    config["preprocessing"]["transforms"][-1] = slope(1 / 255)
    for item in config["datalist"]:
        picture = Path(item["image"])
        Image.open(picture).save(picture.with_suffix(suffix))
        item["image"] = str(picture.with_suffix(suffix))
    path.write_text(json.dumps(config))
    said = refused(bundle, {"eps": 42})
    assert "of this image's file, got 42 in network units: 10710 in theirs, of which all lie from 0 to 255" in said


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_files_of_whole_numbers_have_their_types_range(dtype: Any, tmp_path: Path) -> None:
    bundle = unwindowed(build(tmp_path / "bundle", Foreign(), cases=1), FIXED)
    (item,) = config_of(bundle)[1]["datalist"]
    volume: Any = nib.load(item["image"])
    values = np.asarray(volume.dataobj) + (1060 if dtype is np.uint8 else 0)
    values = (values * 0.3).clip(0, 255) if dtype is np.uint8 else values
    nib.save(nib.Nifti1Image(values.astype(dtype), volume.affine), item["image"])
    said = refused(bundle, {"eps": 42})
    if dtype is np.uint8:
        assert "58800 in theirs, of which all lie from 0 to 255" in said
    else:  # of which 58,800 are a part
        assert "of this image's values, got 42 in network units: 58800 in theirs" in said


def test_a_volume_of_eight_bits_is_attacked_within_them(tmp_path: Path) -> None:
    """Beyond them nothing can be stored, and computed and stored rows would be of two images."""
    bundle = unwindowed(build(tmp_path / "bundle", Foreign(), cases=1), slope(1 / 500))
    (item,) = config_of(bundle)[1]["datalist"]
    volume: Any = nib.load(item["image"])
    values = (np.asarray(volume.dataobj) + 720).clip(0, 255).astype(np.uint8)
    assert (values == 0).mean() > 0.05  # at an end of the range
    nib.save(nib.Nifti1Image(values, volume.affine), item["image"])
    overlay(bundle, {"eps": 0.1})  # 50 of 255
    (stored,) = (bundle / "eval" / "attack_eval" / "volumes").glob("*_fgsm_*adversarial.nii.gz")
    sizes = {r["stage"]: r["psnr"] for r in records_of(bundle) if r["attack"] == "FGSM"}
    assert sizes["stored"] == pytest.approx(sizes["computed"], abs=0.1)
    assert np.asarray(nib.load(stored).dataobj).max() <= 255


def test_a_reader_that_wraps(tmp_path: Path) -> None:
    """dtype=uint8 makes 24 of -1000 HU, and 3 of 259: nothing of a small change is small."""
    bundle = build(tmp_path / "bundle", Foreign(), cases=1)
    path, config = config_of(bundle)
    config["preprocessing"]["transforms"][0]["dtype"] = "$np.uint8"
    config["imports"] = [*config["imports"], "$import numpy as np"]
    path.write_text(json.dumps(config))
    said = refused(bundle, {})
    assert re.search(
        r"whole numbers from 0 to 255, and this one holds values from -\d+ to -?\d+, which are wrapped", said
    )
    assert "--attack#space network" in said


def test_a_reader_of_whole_numbers_keeps_an_image_within_them(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(), cases=1)
    path, config = config_of(bundle)
    config["preprocessing"]["transforms"][0]["dtype"] = "$np.uint8"
    config["imports"] = [*config["imports"], "$import numpy as np"]
    (item,) = config["datalist"]
    volume: Any = nib.load(item["image"])
    values = (np.asarray(volume.dataobj) + 900).clip(0, 255).astype(np.int16)
    nib.save(nib.Nifti1Image(values, volume.affine), item["image"])
    for step in config["preprocessing"]["transforms"]:
        if step["_target_"] == "ScaleIntensityRanged":
            step.update(a_min=-100, a_max=1300)
    path.write_text(json.dumps(config))
    overlay(bundle, {"eps": 0.05})
    sizes = {r["stage"]: r["linf"] for r in records_of(bundle) if r["attack"] == "FGSM"}
    assert sizes["stored"] <= 70.0 + 1e-3
    (stored,) = (bundle / "eval" / "attack_eval" / "volumes").glob("*_fgsm_*adversarial.nii.gz")
    assert 0 <= np.asarray(nib.load(stored).dataobj).min() <= np.asarray(nib.load(stored).dataobj).max() <= 255


@pytest.mark.parametrize(
    ("mode", "suffix", "found"),
    [
        ("1", ".png", (0.0, 1.0)),
        ("L", ".png", (0.0, 255.0)),
        ("P", ".png", (0.0, 255.0)),
        ("RGB", ".jpg", (0.0, 255.0)),
        ("I;16", ".tif", (0.0, 65535.0)),
        ("I;16", ".png", (0.0, 65535.0)),
        ("F", ".tif", None),
    ],
)
def test_what_a_picture_can_hold(mode: str, suffix: str, found: Any, tmp_path: Path) -> None:
    Image.new(mode, (4, 3)).save(tmp_path / f"a{suffix}")
    assert file_range(tmp_path / f"a{suffix}") == found


@pytest.mark.parametrize(
    ("dtype", "slope", "found"),
    [
        (np.uint8, 1.0, (0.0, 255.0)),
        (np.int16, 1.0, (-32768.0, 32767.0)),
        (np.uint8, 2.0, (-10.0, 500.0)),
        (np.uint8, -2.0, (-520.0, -10.0)),
        (np.float32, 1.0, None),
    ],
)
def test_what_a_nifti_file_can_hold(dtype: Any, slope: float, found: Any, tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), dtype), np.eye(4))
    if slope != 1.0:
        image.header.set_slope_inter(slope, -10.0)
    nib.save(image, tmp_path / "a.nii.gz")
    assert file_range(tmp_path / "a.nii.gz") == found
    assert file_range(tmp_path / "a.mha") is None
