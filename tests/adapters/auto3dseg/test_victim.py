"""Algorithms of Auto3DSeg as victims: equal to their own `infer`, differentiable, and kept to themselves."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from auto3dseg_models import own_infer, write_algorithm, write_case
from monai.apps.auto3dseg.ensemble_builder import AlgoEnsembleBestN
from monai.data import MetaTensor
from torch import Tensor

from monai_smia.adapters.auto3dseg import Auto3DSegVictim
from monai_smia.adapters.auto3dseg.loading import AsFiles

SPACING = [1.8, 1.1, 2.6]
MODES: dict[str, dict[str, Any]] = {
    "CT: window and a sigmoid": {},
    "MRI: z-scores of what is not 0": {"mode": "meanstd"},
    "PET: by its own deviation": {"mode": "pet"},
    "CT, resampled": {"spacing": SPACING},
    "MRI, resampled": {"mode": "meanstd", "spacing": SPACING},
    "regions": {"sigmoid": True, "spacing": SPACING},
    "a further modality": {"extra": {"t2": "meanstd"}, "spacing": SPACING},
    "two MRI sequences": {"mode": "meanstd", "extra": {"t2": "meanstd"}},
    "transforms in a config": {"layout": "transforms", "spacing": SPACING},
    "logits taken back": {"layout": "transforms", "mode": "meanstd", "logits_back": True, "spacing": SPACING},
    "logits taken back, regions": {"layout": "transforms", "logits_back": True, "sigmoid": True},
}


def made(folder: Path, **options: Any) -> tuple[Path, dict[str, str]]:
    """An algorithm's folder and a case of it, without its label."""
    item = write_case(folder / "data", extra=tuple(options.get("extra", ())))
    del item["label"]
    return write_algorithm(folder / "algorithm_0", **options), item


def folder_hash(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(f).encode() + f.read_bytes() for f in files)).hexdigest()


@pytest.mark.parametrize("mode", list(MODES))
def test_decisions_are_those_of_its_own_infer(mode: str, tmp_path: Path) -> None:
    """By a fresh `InferClass`, apart from this project: the pipeline bit for bit, the twin voxel for voxel."""
    folder, item = made(tmp_path, **MODES[mode])
    victim = Auto3DSegVictim.from_folder(folder, trusted=True)
    own = own_infer(folder, tmp_path / "aside").infer(item).as_tensor()
    assert torch.equal(victim.deployed.algorithms[0].probabilities(item), own)
    decided = (own >= 0.5).long() if MODES[mode].get("sigmoid") else own.argmax(0, keepdim=True)
    assert len(decided.unique()) > 1
    assert torch.equal(victim.deployed.decide(item), decided)
    image = victim.read(item)[None]
    twin = victim.infer(image)
    assert torch.equal(victim.decide(twin)[0], decided)
    ours = twin[0].sigmoid() if MODES[mode].get("sigmoid") else twin[0].softmax(0)
    looked_at = ~(own == 0).all(0)
    assert float((ours - own)[:, looked_at].abs().max()) < 1e-5


@pytest.mark.parametrize("mode", list(MODES))
def test_the_gradient_is_that_of_its_own_infer(mode: str, tmp_path: Path) -> None:
    """Along its own sign, which adds up: by files on either side of the image, through its own scripts."""
    folder, item = made(tmp_path, gain=1.0, **MODES[mode])
    victim = Auto3DSegVictim.from_folder(folder, trusted=True)
    algorithm, chain = victim.deployed.algorithms[0], victim.deployed.chains[0]
    image = victim.read(item)[None]
    plain = image.as_tensor().clone().requires_grad_(True)
    bound, _ = victim.bind(image, victim.deployed.decide(item)[None])
    bound.check_differentiable()
    weights = torch.randn(victim.infer(image).shape[1:], generator=torch.Generator().manual_seed(3))
    with victim.frozen():
        known = bound._frozen.samples[0][0].probabilities(plain[0])  # type: ignore[union-attr]
        (gradient,) = torch.autograd.grad((known * weights).sum(), plain)
    files = AsFiles(chain)
    direction = gradient.sign() * (image.as_tensor() > 40)  # neither the zeros around the body, nor what may become one

    def value(shift: float) -> float:
        moved = MetaTensor((plain.detach() + shift * direction)[0], meta=image[0].meta)
        found = algorithm.probabilities(chain.with_files(item, files.write(moved, chain.source(item))))
        return float((found.double() * weights).sum())

    step = 0.25
    measured = (value(step) - value(-step)) / (2 * step)
    slope = float((gradient.double() * direction).sum())
    assert slope > 0.01
    assert slope == pytest.approx(measured, rel=0.01)


def test_the_process_stays_as_it_is(tmp_path: Path) -> None:
    """Modules, paths, logging, environment, the folder itself."""
    folder, item = made(tmp_path)
    other, _ = made(tmp_path / "other", layout="transforms")
    own: Any = object()
    sys.modules["helper"] = own  # of somebody else
    before = list(sys.path), dict(os.environ), list(logging.getLogger().handlers), torch.load
    hashes = folder_hash(folder), folder_hash(other)
    try:
        for each in (folder, other):
            Auto3DSegVictim.from_folder(each, trusted=True).deployed.decide(item)
        assert sys.modules.pop("helper") is own
    finally:
        sys.modules.pop("helper", None)
    assert (list(sys.path), dict(os.environ), list(logging.getLogger().handlers), torch.load) == before
    assert "InferClass" not in sys.modules
    assert hashes == (folder_hash(folder), folder_hash(other))


@pytest.mark.parametrize("mode", ["mean", "vote"])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_several_decide_as_monais_ensemble(mode: str, sigmoid: bool, tmp_path: Path) -> None:
    """Three algorithms of two layouts, whose modules have the same names."""
    options: dict[str, Any] = {"sigmoid": sigmoid}
    folders = [
        write_algorithm(tmp_path / "segresnet_0", **options),
        write_algorithm(tmp_path / "segresnet_1", fold=1, spacing=SPACING, **options),
        write_algorithm(tmp_path / "dints_2", layout="transforms", fold=2, logits_back=True, **options),
    ]
    item = write_case(tmp_path / "data")
    del item["label"]
    found = [own_infer(folder, tmp_path / "aside").infer(item).as_tensor() for folder in folders]
    theirs = AlgoEnsembleBestN()
    theirs.mode = mode
    together: Tensor = torch.as_tensor(theirs.ensemble_pred(found, sigmoid=sigmoid)).long()
    victim = Auto3DSegVictim.from_folder(folders, trusted=True, ensemble=mode)
    decided = victim.deployed.decide(item)
    assert torch.equal(decided, together)
    assert not torch.equal(decided, Auto3DSegVictim.from_folder(folders[0], trusted=True).deployed.decide(item))
    if mode == "mean":
        assert torch.equal(victim.decide(victim.infer(victim.read(item)[None]))[0], decided)


def test_without_trust_nothing_of_it_runs(tmp_path: Path) -> None:
    folder, _ = made(tmp_path)
    mark = tmp_path / "ran"
    script = folder / "scripts" / "infer.py"
    script.write_text(f"open({str(mark)!r}, 'w').close()\n{script.read_text()}")
    with pytest.raises(ValueError, match=r"infer.py is a program.*--trusted"):
        Auto3DSegVictim.from_folder(folder)
    assert not mark.exists()
    Auto3DSegVictim.from_folder(folder, trusted=True)
    assert mark.exists()


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["AUTO3DSEG_EVIL"],)


def test_pickles_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a checkpoint that a script would load whatever it holds; the algorithm's own pickle is not opened at all."""
    folder, _ = made(tmp_path)
    monkeypatch.setenv("AUTO3DSEG_EVIL", str(tmp_path / "made"))
    (folder / "algo_object.pkl").write_bytes(b"no pickle")
    Auto3DSegVictim.from_folder(folder, trusted=True)
    checkpoint = folder / "model" / "model.pt"
    state = torch.load(checkpoint, weights_only=False)
    torch.save({**state, "config": Evil()}, checkpoint)
    with pytest.raises(ValueError, match=r"model.pt holds more than tensors and numbers"):
        Auto3DSegVictim.from_folder(folder, trusted=True)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("import torch\n", "import torch\nimport of_training\n", r"'of_training'.*monai_smia\[auto3dseg\]"),
        ("self.segmenter = ", "self.other = ", r"none of the templates.*segresnet, segresnet2d, swinunetr, dints"),
        ("checkpoint = torch.load(config", "return\n        print(config", r"algorithm_0 has no weights"),
        ('config["infer"]["ckpt_name"]', '"absent.pt"', r"cannot be set up: FileNotFoundError"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_up_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    folder, _ = made(tmp_path)
    script = folder / "scripts" / "infer.py"
    assert old in script.read_text()
    script.write_text(script.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        Auto3DSegVictim.from_folder(folder, trusted=True)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        Auto3DSegVictim.from_folder(tmp_path / "absent", trusted=True)
    with pytest.raises(ValueError, match=r"no algorithm of Auto3DSeg: it has no scripts/infer.py"):
        Auto3DSegVictim.from_folder(tmp_path, trusted=True)
    one, two = write_algorithm(tmp_path / "one"), write_algorithm(tmp_path / "two", sigmoid=True)
    with pytest.raises(ValueError, match="two and one cannot decide together"):
        Auto3DSegVictim.from_folder([one, two], trusted=True)
    with pytest.raises(ValueError, match="a MetaTensor with its affine"):
        Auto3DSegVictim.from_folder(one, trusted=True).infer(torch.zeros(1, 1, 8, 8, 8))
