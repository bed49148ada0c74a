"""A trained nnU-Net as a victim: nnU-Net's own segmentation, and the exact gradient of its whole chain."""

from __future__ import annotations

import shutil
import weakref
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

nnunetv2 = pytest.importorskip("nnunetv2", reason="needs nnunetv2: pip install 'monai_smia[nnunet]'")

from nnunet_models import CT, ZSCORE, write_image, write_label, write_model  # noqa: E402
from nnunet_reference import reference  # noqa: E402

from monai_smia.adapters.nnunet import NNUNetVictim  # noqa: E402
from monai_smia.adapters.nnunet.victim import SPACING  # noqa: E402
from monai_smia.attacks import PGD  # noqa: E402
from monai_smia.inferers import MeanNetwork  # noqa: E402

MODELS: dict[str, dict[str, Any]] = {
    "3-D CT": {},
    "two folds, axes turned": {"folds": 2, "transpose": (2, 0, 1)},
    "2-D": {"patch": (16, 16), "spacing": (1.5, 1.5), "folds": 2},
    "two sequences, z-scored in the mask": {"schemes": (ZSCORE, ZSCORE), "masked": True},
    "two sequences, z-scored": {"schemes": (ZSCORE, ZSCORE), "folds": 2},
    "anisotropic": {"spacing": (5.0, 1.0, 1.0), "folds": 2},
    "smaller than a tile": {"patch": (24, 24, 24)},
    "regions": {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]},
    "resampled in torch": {"resampling": "resample_torch_fornnunet"},
    "scaled to 0..1": {"schemes": ("RescaleTo01Normalization", "NoNormalization"), "mirror": None},
}


def made(folder: Path, name: str, *, shape: tuple[int, ...] = (21, 19, 14)) -> tuple[Path, list[Path]]:
    """A model and the files of an image for it."""
    options = MODELS[name]
    zooms = (1.2, 1.2, 6.0) if name == "anisotropic" else (1.2, 1.2, 3.0)
    mri = {"masked": True, "low": 100} if "z-scored" in name else {}
    files = [
        write_image(folder / f"case_{c:04d}.nii.gz", shape, zooms, seed=c, **mri)
        for c in range(len(options.get("schemes", (CT,))))
    ]
    return write_model(folder / "model", **options), files


@pytest.mark.parametrize("name", MODELS)
def test_segmentation_is_the_file_that_nnunet_writes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, files = made(tmp_path, name)
    victim = NNUNetVictim.from_folder(model)
    image = victim.read(files)
    (tmp_path / "out").mkdir()
    predictor = victim.deployed.predictor
    predictor.predict_from_files_sequential([[str(f) for f in files]], [str(tmp_path / "out" / "case")])
    written: Any = nib.load(tmp_path / "out" / "case.nii.gz")
    theirs = np.asarray(written.dataobj).T
    assert len(np.unique(theirs)) > 1
    assert np.array_equal(victim.deployed.segment_files(files), theirs)
    assert np.array_equal(victim.deployed.segment(image.numpy(), image.meta[SPACING]), theirs)
    twin = victim.deployed.labels.written_map(victim.decide(victim.infer(image[None]))[0]).numpy()
    assert (twin == theirs).mean() > 0.98
    with monkeypatch.context() as patch:  # what is left is nnU-Net's rounding of the blend to half precision
        patch.setattr(torch, "half", torch.float32)
        single = victim.deployed.segment(image.numpy(), image.meta[SPACING])
    assert np.array_equal(twin, single)


@pytest.mark.parametrize("name", [n for n in MODELS if n != "resampled in torch"])
def test_gradient_is_that_of_plain_autograd(name: str, tmp_path: Path) -> None:
    model, files = made(tmp_path, name, shape=(9, 8, 7) if name == "2-D" else (10, 9, 8))
    victim = NNUNetVictim.from_folder(model)
    victim.network.double()
    members = list(victim.network.members) if isinstance(victim.network, MeanNetwork) else [victim.network]
    image = victim.read(files)
    clean = image.as_tensor().double()
    clean += torch.rand(clean.shape, generator=torch.Generator().manual_seed(0)) * 0.1 * (clean != 0)  # no ties
    bound, _ = victim.bind(MetaTensor(clean[None], meta=image.meta), torch.zeros(1, 1, *clean.shape[1:]))
    ours, theirs = clean.clone().requires_grad_(True), clean.clone().requires_grad_(True)
    got, expected = bound.predict(ours[None])[0], reference(victim, members, theirs, image.meta[SPACING])
    assert got.shape == expected.shape
    assert float((got - expected).detach().abs().max()) < 1e-9
    weights = torch.rand(got.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gradients = [
        torch.autograd.grad((output.log_softmax(0) * weights).sum(), leaf)[0]
        for output, leaf in ((got, ours), (expected, theirs))
    ]
    assert float(gradients[1].abs().max()) > 0
    assert float((gradients[0] - gradients[1]).abs().max() / gradients[1].abs().max()) < 1e-10


def test_frozen_statistics_are_those_of_the_clean_image(tmp_path: Path) -> None:
    model, files = made(tmp_path, "two sequences, z-scored in the mask")
    moving, still = (NNUNetVictim.from_folder(model, statistics=way) for way in ("differentiate", "freeze"))
    image = moving.read(files)[None]
    label = torch.zeros(1, 1, *image.shape[2:], dtype=torch.long)
    brighter = torch.where(image.as_tensor() != 0, image.as_tensor() + 50, 0)
    bounds = [victim.bind(image, label)[0] for victim in (moving, still)]
    assert torch.allclose(*(victim.predict(image.as_tensor()) for victim in bounds), atol=1e-5)
    shifted = [victim.predict(brighter) for victim in bounds]
    assert torch.allclose(shifted[0], bounds[0].predict(image.as_tensor()), atol=1e-3)  # a z-score takes it back
    assert float((shifted[1] - shifted[0]).abs().max()) > 1e-2
    leaf = image.as_tensor().clone().requires_grad_(True)
    sums = []
    for victim in bounds:
        (gradient,) = torch.autograd.grad(victim.predict(leaf)[:, 1].sum(), leaf)
        sums.append(float(gradient[image.as_tensor() != 0].sum().abs() / gradient.abs().sum()))
    assert sums[0] < 1e-3 < sums[1]  # a shift of all voxels changes nothing where the mean goes with it


def test_memory_is_that_of_one_tile(tmp_path: Path) -> None:
    """Activations alive at a time: as many with 8 mirrorings, 2 folds and 27 tiles as with 3 tiles."""
    peaks = []
    for number, (folds, mirror, shape) in enumerate([(1, None, (32, 16, 12)), (2, (0, 1, 2), (32, 32, 24))]):
        model = write_model(tmp_path / f"model{number}", folds=folds, mirror=mirror, spacing=(1.0, 1.0, 1.0))
        file = write_image(tmp_path / f"image{number}_0000.nii.gz", shape, (1.0, 1.0, 1.0))
        victim = NNUNetVictim.from_folder(model)
        alive = {"now": 0, "most": 0, "calls": 0}

        def freed(size: int, alive: dict[str, int] = alive) -> None:
            alive["now"] -= size

        def noted(
            module: Any, inputs: Any, output: torch.Tensor, alive: dict[str, int] = alive, free: Any = freed
        ) -> None:
            alive["now"] += output.numel()
            alive["calls"] += 1
            alive["most"] = max(alive["most"], alive["now"])
            weakref.finalize(output, free, output.numel())

        for module in victim.network.modules():
            if isinstance(module, torch.nn.Conv3d):
                module.register_forward_hook(noted)
        image = victim.read([file])[None]
        leaf = image.as_tensor().clone().requires_grad_(True)
        victim.bind(image, torch.zeros(1, 1, *image.shape[2:]))[0].predict(leaf).sum().backward()
        assert bool(leaf.grad.any())
        peaks.append(alive)
    assert peaks[1]["calls"] == peaks[0]["calls"] * 9 * 8 * 2
    assert peaks[1]["most"] == peaks[0]["most"]


def test_an_attack_breaks_it_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    model, files = made(tmp_path, "3-D CT")
    victim = NNUNetVictim.from_folder(model)
    image = torch.cat([victim.read(files)[None]] * 2)
    write_label(tmp_path / "label.nii.gz", files[0])
    label = torch.cat([victim.read_label(tmp_path / "label.nii.gz")[None]] * 2)
    assert label.shape == image.shape
    clean = victim.damage(victim.infer(image), label)
    weights = {name: value.clone() for name, value in victim.network.state_dict().items()}
    result = PGD(eps=20.0, steps=3, clip=None)(victim, image, label)
    assert bool((result.damage > clean).all())
    assert float((result.adversarial - image).abs().max()) <= 20.0 + 1e-4
    assert all(torch.equal(value, weights[name]) for name, value in victim.network.state_dict().items())
    two = victim.infer(torch.cat([image[:1], image[:1]]))
    assert torch.equal(two[0], two[1])


def test_an_initialized_predictor_serves(tmp_path: Path) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    model, files = made(tmp_path, "3-D CT")
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    with pytest.raises(ValueError, match="predictor must be an nnUNetPredictor that has its model"):
        NNUNetVictim.from_predictor(predictor)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    ours, theirs = NNUNetVictim.from_predictor(predictor), NNUNetVictim.from_folder(model)
    image = theirs.read(files)[None]
    assert torch.equal(ours.infer(image), theirs.infer(image))


def test_monais_route_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that ``monai.apps.nnunet`` makes of a trained model is the same model."""
    from monai.apps.nnunet import convert_nnunet_to_monai_bundle

    for kind in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / kind))
        (tmp_path / kind / "Dataset001_Tiny").mkdir(parents=True)
    model = write_model(tmp_path / "results" / "Dataset001_Tiny" / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    shutil.copy(model / "fold_0" / "checkpoint_final.pth", model / "fold_0" / "checkpoint_best.pth")
    (tmp_path / "bundle" / "models").mkdir(parents=True)
    convert_nnunet_to_monai_bundle({"dataset_name_or_id": "Dataset001_Tiny"}, str(tmp_path / "bundle"))
    file = write_image(tmp_path / "case_0000.nii.gz")
    ours, theirs = (NNUNetVictim.from_folder(folder) for folder in (tmp_path / "bundle" / "models", model))
    image = theirs.read([file])
    assert torch.equal(ours.infer(image[None]), theirs.infer(image[None]))
    assert np.array_equal(ours.deployed.segment_files([file]), theirs.deployed.segment_files([file]))


def _other(model: Path, **parts: Any) -> None:
    """Other parts in the checkpoint of the first fold."""
    path = model / "fold_0" / "checkpoint_final.pth"
    torch.save({**torch.load(path, weights_only=False), **parts}, path)


class _Writes:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_what_a_checkpoint_holds_is_not_run(tmp_path: Path) -> None:
    model, ran = write_model(tmp_path / "model"), tmp_path / "ran"
    _other(model, logging=[np.float32(0.5), np.zeros(2), np.int64(3)], device=torch.device("cpu"))  # as nnU-Net's own
    NNUNetVictim.from_folder(model)
    _other(model, logging=[])
    _other(model, more=_Writes(ran))
    with pytest.raises(ValueError, match=r"holds .*, which may run anything when it is loaded"):
        NNUNetVictim.from_folder(model)
    assert not ran.exists()
    NNUNetVictim.from_folder(model, trusted=True)
    assert ran.exists()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda m: m.rename(m.with_name("other")), {}, "does not exist"),
        (lambda m: (m / "plans.json").unlink(), {}, r"no folder of a trained nnU-Net: plans\.json not there"),
        (lambda m: (m / "plans.json").write_text("{"), {}, r"plans\.json is no JSON"),
        (lambda m: None, {"folds": [0, 3]}, r"checkpoint_final\.pth, 0, 1, got 0, 3: 3 not there"),
        (lambda m: None, {"checkpoint": "best.pth"}, r"has best\.pth; checkpoints there: checkpoint_final\.pth"),
        (
            lambda m: (m / "fold_0" / "checkpoint_final.pth").write_bytes(b"no"),
            {},
            "is no checkpoint as torch writes it",
        ),
        (lambda m: _other(m, network_weights={}), {}, "nnU-Net cannot load"),
        (lambda m: None, {"step": 1.5}, r"step must be a share of the tile in \(0, 1\], got 1\.5"),
        (lambda m: None, {"statistics": "guess"}, "statistics must be one of"),
    ],
)
def test_a_model_that_cannot_be_had_is_named(
    change: Any, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "model", folds=2)
    change(model)
    with pytest.raises(ValueError, match=message):
        NNUNetVictim.from_folder(model, **options)


def test_what_it_cannot_follow_is_named(tmp_path: Path) -> None:
    cascade = write_model(tmp_path / "cascade", previous_stage="3d_lowres")
    with pytest.raises(ValueError, match="second stage of a cascade"):
        NNUNetVictim.from_folder(cascade)
    unknown = write_model(tmp_path / "unknown", schemes=("QuantileNormalization",))
    with pytest.raises(ValueError, match="got 'QuantileNormalization' in the plans"):
        NNUNetVictim.from_folder(unknown)
    victim = NNUNetVictim.from_folder(write_model(tmp_path / "model"))
    for image in (torch.zeros(1, 1, 8, 8, 8), MetaTensor(torch.zeros(1, 1, 8, 8, 8))):  # its axes may be in any order
        with pytest.raises(ValueError, match="image must be one that nnU-Net's own reader gives"):
            victim.predict(image)
    assert victim.intensity_scale() == pytest.approx(1 / 110)
    mri = NNUNetVictim.from_folder(write_model(tmp_path / "mri", schemes=(ZSCORE, CT)))
    with pytest.raises(ValueError, match="no fixed size in network units"):
        mri.intensity_scale()
