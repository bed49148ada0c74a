"""MRI on its native grid: radii in units of each case, channels in files of their own, statistics in the gradient."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bundles.zoo_inference import sequences
from monai.bundle import ConfigParser, run

from bundles import zoo
from monai_smia.adapters.monai_bundle import check_bundle, overlay_path
from monai_smia.adapters.monai_bundle.units import range_in_units

QUICK = {"attack#progress": False, "attack#figures": False, "attack#only": ["FGSM"], "write_volumes": "all"}


def attacked(bundle: Path, **overrides: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows at equal radius, without a loss of their own."""
    files = [str(bundle / "configs" / "inference.yaml"), str(overlay_path())]
    run(run_id="attack_eval", config_file=files, bundle_root=str(bundle), **{**QUICK, "steps": 3, **overrides})
    rows = json.loads((bundle / "eval" / "attack_eval" / "summary.json").read_text())["rows"]
    return {(r["attack"], r["stage"]): r for r in rows if r["setting"] in ("", "equal radius") and r["loss"] is None}


def decision(bundle: Path, files: list[str]) -> torch.Tensor:
    """What the bundle's own evaluator, untouched, makes of files."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    parser["bundle_root"], parser["files"] = str(bundle), files
    evaluator: Any = parser.get_parsed_content("evaluator")
    evaluator.run()
    return torch.as_tensor(evaluator.state.output[0]["pred"]).bool()


def voxels(path: Any) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj, dtype=np.float64)


@pytest.mark.parametrize("kind", ["std", "range"])
def test_four_files_of_a_case(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Written as four, each within its radius to a unit, and the bundle finds in them what the row says."""
    bundle = zoo.brain_tumor(tmp_path / "brats", several_files=True)
    eps = {"std": 0.3, "range": 0.09}[kind]
    rows = attacked(bundle, eps=eps, **{"attack#eps_unit": kind, "attack#progress": True})
    output = bundle / "eval" / "attack_eval"
    (folder,) = (output / "volumes").glob("brain_0_fgsm_equal*_adversarial")
    sources = [bundle / "data" / f"brain_{i}.nii.gz" for i in range(4)]
    assert sorted(path.name for path in folder.iterdir()) == [path.name for path in sources]
    stored = rows["FGSM", "stored"]
    for number, source in enumerate(sources):
        clean, found = voxels(source), voxels(folder / source.name)
        unit = clean[clean != 0].std() if kind == "std" else np.ptp(clean)
        largest = np.abs(found - clean).max()
        assert eps * unit - 1 < largest <= eps * unit
        assert not found[clean == 0].any()  # zeros tell the background
        assert stored[f"eps_file_{number}"] == pytest.approx(eps * unit, rel=1e-6)
        assert stored[f"linf_file_{number}"] == pytest.approx(largest, abs=1e-3)
        assert nib.load(folder / source.name).get_data_dtype() == np.int16
    clean, found = (decision(bundle, [str(f / s.name) for s in sources]) for f in (bundle / "data", folder))
    both, either = ((clean & found).flatten(1).sum(1), (clean | found).flatten(1).sum(1))
    assert stored["jaccard"] == pytest.approx(float((both / either)[either > 0].mean()), abs=1e-6)
    assert stored["jaccard"] < 0.7
    page, said = (output / "report.html").read_text(), capsys.readouterr().out
    name = {"std": "SD", "range": "of range"}[kind]
    assert stored["unit"] == name
    assert re.search(rf"Radius {eps:g} {name} is [\d.]+ to [\d.]+ in the unit of the files", page)
    assert re.search(r"Of the first case, in the unit of its files \(channel by channel\): 0\.\d+ is [\d.]+, ", said)


def two_sequences(folder: Path) -> Path:
    """A segmentation of T1 (int16) and T2 (uint8) with labels; steps of each before they are joined, and a crop."""
    keys, every = ["t1", "t2"], ["t1", "t2", "label"]
    generator, items = np.random.default_rng(0), []
    label = np.zeros((18, 16, 12), np.uint8)
    label[5:13, 4:11, 3:9] = 1
    for case in range(2):
        t1 = 200 + generator.normal(0, 40, label.shape) + 150 * label
        t2 = 30 + generator.normal(0, 5, label.shape) - 12 * label
        t1[:2] = t2[:2] = 0
        values = {"t1": t1.astype(np.int16), "t2": t2.astype(np.uint8), "label": label}
        items.append({key: zoo.save(v, folder / "data" / f"{key}_{case}.nii.gz") for key, v in values.items()})
    mode = ["bilinear", "bilinear", "nearest"]
    steps = [
        {"_target_": "LoadImaged", "keys": every},
        {"_target_": "EnsureChannelFirstd", "keys": every},
        {"_target_": "Orientationd", "keys": every, "axcodes": "RAS", "labels": None},
        {"_target_": "Spacingd", "keys": every, "pixdim": [2, 2, 2], "mode": mode},
        {"_target_": "NormalizeIntensityd", "keys": keys, "nonzero": True, "channel_wise": True},
        {"_target_": "ConcatItemsd", "keys": keys, "name": "image"},
        {"_target_": "CropForegroundd", "keys": ["image", "label"], "source_key": "image", "margin": 1},
    ]
    discrete = {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False], "to_onehot": 2}
    load = "$@network.load_state_dict(torch.load(@bundle_root + '/models/model.pt', weights_only=True))"
    config = {
        **zoo.COMMON,
        "datalist": items,
        "network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 2, "out_channels": 2, "kernel_size": 1},
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": zoo.DATASET,
        "dataloader": zoo.LOADER,
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.25},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": True}, discrete],
        },
        "evaluator": zoo.EVALUATOR,
        "initialize": [load],
        "run": ["$@evaluator.run()"],
    }
    network = torch.nn.Conv3d(2, 2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[-2.0, 2.0], [2.0, -2.0]]).view(2, 2, 1, 1, 1))
        network.bias.copy_(torch.tensor([1.0, -1.0]))
    return zoo.write(folder, {"inference.yaml": config}, network)


def test_steps_of_each_sequence_before_they_are_joined(tmp_path: Path) -> None:
    """Resampled, z-scored one by one, joined and cropped: the twin decides as the bundle, files keep their types."""
    bundle = two_sequences(tmp_path / "bundle")
    rows = attacked(bundle, eps=0.2, **{"attack#eps_unit": "std"})
    assert rows["Clean", "computed"]["agreement"] == 1.0
    assert rows["FGSM", "computed"]["jaccard"] < rows["Clean", "computed"]["jaccard"] - 0.05
    assert rows["FGSM", "stored"]["jaccard"] == pytest.approx(rows["FGSM", "computed"]["jaccard"], abs=0.02)
    (folder,) = (bundle / "eval" / "attack_eval" / "volumes").glob("t1_0_fgsm_equal*_adversarial")
    for key, dtype in (("t1", np.int16), ("t2", np.uint8)):
        clean, found = voxels(bundle / "data" / f"{key}_0.nii.gz"), voxels(folder / f"{key}_0.nii.gz")
        unit = clean[clean != 0].std()
        assert np.abs(found - clean).max() == np.floor(0.2 * unit)
        assert nib.load(folder / f"{key}_0.nii.gz").get_data_dtype() == dtype


def test_a_range_of_radii_and_a_criterion_in_deviations(tmp_path: Path) -> None:
    bundle = zoo.brain_tumor(tmp_path / "brats")
    options = {"attack#eps_unit": "std", "accept": "jaccard >= 0.01 at 0.1 SD"}
    attacked(bundle, eps=[0.1, 0.3], **options)
    summary = json.loads((bundle / "eval" / "attack_eval" / "summary.json").read_text())
    assert [(r["eps_input"], r["attacked"] < 1) for r in summary["headline"]["radii"]] == [(0.1, True), (0.3, True)]
    assert [criterion["met"] for criterion in summary["criteria"]] == [True]


def test_statistics_in_the_gradient(tmp_path: Path) -> None:
    """At equal radius the attack through mean and deviation is at least as strong as the one that holds them."""
    found = {}
    for statistics in ("differentiate", "freeze"):
        bundle = zoo.brain_tumor(tmp_path / statistics)
        rows = attacked(bundle, eps=0.3, **{"attack#statistics": statistics, "attack#only": ["PGD"]})
        found[statistics] = rows["PGD", "computed"]["jaccard"]
    assert found["differentiate"] < found["freeze"] < 0.7


def test_zeros_are_attacked_where_it_is_asked_for(tmp_path: Path) -> None:
    bundle = zoo.brain_tumor(tmp_path / "brats")
    attacked(bundle, eps=0.3, **{"attack#background": "attack"})
    (path,) = (bundle / "eval" / "attack_eval" / "volumes").glob("brain_fgsm_equal*_adversarial.nii.gz")
    assert voxels(path)[voxels(bundle / "data" / "brain.nii.gz") == 0].any()


def test_a_radius_in_the_scanners_values(tmp_path: Path) -> None:
    """The same in every channel; the page says that it has no fixed size for the network."""
    bundle = zoo.brain_tumor(tmp_path / "brats")
    rows = attacked(bundle, eps=12, **{"attack#eps_unit": "image"})
    assert rows["FGSM", "stored"]["linf"] == 12
    assert rows["FGSM", "computed"]["linf"] == pytest.approx(12, abs=1e-3)  # nothing writes into what was attacked
    assert "eps_file" not in rows["FGSM", "stored"]
    assert "has no fixed size in network units" in (bundle / "eval" / "attack_eval" / "report.html").read_text()


def test_keys_on_different_grids_are_taken_as_the_network_sees_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = sequences(tmp_path / "grade")
    for case in range(2):
        path = bundle / "data" / f"t2_{case}.nii.gz"
        zoo.save(np.repeat(voxels(path), 2, axis=0).astype(np.int16), path)
    rows = attacked(bundle, eps=0.5, **{"attack#progress": True})
    assert "lie on different grids" in capsys.readouterr().out
    assert "eps_file_0" not in rows["FGSM", "computed"]
    (stops,) = check_bundle([str(bundle / "configs" / "inference.yaml")], {"attack#eps_unit": "std"})
    assert "eps_unit='std' is of the values of the files, and this attack is of what the network sees" in stops


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack#eps_unit": "deviation"}, r"eps_unit must be one of .*'std', 'range'"),
        ({"attack#statistics": "frozen"}, r"statistics must be one of \('differentiate', 'freeze'\), got 'frozen'"),
        ({"attack#background": "kept"}, r"background must be one of \('keep', 'attack'\), got 'kept'"),
        ({"attack#eps_unit": "std", "attack#space": "network"}, "this attack is of what the network sees"),
        (
            {
                "attack#eps_unit": "std",
                "attack#survival": {"rounded": {"_target_": "monai_smia.degradations.Quantize"}},
            },
            r"survival: rounded \(Quantize\) is in the unit of the files",
        ),
    ],
)
def test_what_cannot_be_is_said_beforehand(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    bundle = zoo.brain_tumor(tmp_path / "brats")
    (stops,) = check_bundle([str(bundle / "configs" / "inference.yaml")], options)
    assert re.search(message, stops), stops


def test_a_sequence_that_is_missing_is_named(tmp_path: Path) -> None:
    """A file of zeros has no deviation: the case fails by its name, and others would go on."""
    bundle = zoo.brain_tumor(tmp_path / "brats", several_files=True)
    path = bundle / "data" / "brain_2.nii.gz"
    zoo.save(np.zeros_like(voxels(path)).astype(np.int16), path)
    stops = check_bundle([str(bundle / "configs" / "inference.yaml")], {"attack#eps_unit": "std"})
    assert any("channels [2] of the image have no unit of their own" in line for line in stops)


def test_a_valid_range_over_channels_of_different_units() -> None:
    """The range of all where the image lies in it, else the widest: no voxel is frozen by another channel's unit."""
    image = torch.tensor([[1.0, 2.0], [3.0, 50.0]])
    limits = [(0.0, 255.0), (0.0, 255.0)]
    assert range_in_units(limits, torch.tensor([50.0, 5.0]), image / 20) == (0.0, pytest.approx(5.1))
    assert range_in_units(limits, torch.tensor([50.0, 5.0]), image) == (0.0, pytest.approx(51.0))
    assert range_in_units([None, None], torch.tensor([50.0, 5.0]), image) is None


def test_a_color_picture_in_deviations_is_attacked_and_not_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = zoo.classifier(tmp_path / "frames")
    files = [str(bundle / "configs" / "inference.json"), str(overlay_path())]
    options = {**QUICK, "eps": 0.4, "attack#eps_unit": "std", "attack#progress": True, "attack#limit": 1}
    run(run_id="attack_eval", config_file=files, bundle_root=str(bundle), **options)
    assert "a color picture is stored within one radius of all its channels" in capsys.readouterr().out
