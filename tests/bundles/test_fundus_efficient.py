"""The fundus bundle's second network, by its overlay in every config."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles.shipped import FUNDUS
from monai.bundle import ckpt_export

from monai_smia.attacks import PGD
from monai_smia.evaluation import PlannedAttack
from monai_smia.targets.fundus import EfficientGCN, fundus_datalist, write_fundus_phantoms


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A healthy eye and a sick one."""
    return write_fundus_phantoms(tmp_path_factory.mktemp("eyes"), 1, grades=[0, 3], size=256, seed=77)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of an untrained network."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(EfficientGCN(out_channels=4).state_dict(), path)
    return path


def test_every_config_has_the_same_network_and_preprocessing(eyes: Path, tmp_path: Path) -> None:
    """Photographs in [0, 1], without the correction for illumination."""
    image = torch.rand(1, 3, 64, 96)
    (item, _) = fundus_datalist(eyes)
    logits, photographs = [], []
    for name in ("inference", "evaluate", "attack_eval", "train"):
        parser = FUNDUS.parser(name, "efficient", output_dir=str(tmp_path))
        torch.manual_seed(0)
        network = parser.get_parsed_content("network").eval()
        assert isinstance(network, EfficientGCN)
        with torch.no_grad():
            logits.append(network(image))
        found = {"image": item["image"]}
        for transform in [parser.get_parsed_content("load"), *parser.get_parsed_content("preprocess")]:
            found = transform(found)
        photographs.append(found["image"].as_tensor())
    assert all(torch.equal(other, logits[0]) for other in logits)
    assert all(torch.equal(other, photographs[0]) for other in photographs)
    assert photographs[0].shape == (3, 384, 448)
    assert (photographs[0].min(), photographs[0].max() <= 1, photographs[0].max() > 0.5) == (0, True, True)


def train(folder: Path, **override: Any) -> dict[str, Any]:
    """Two steps on a synthetic eye of every grade, one draw left over: the weights that are written."""
    options = {"ckpt_dir": str(folder), "output_dir": str(folder), "eyes_per_grade": 1, **override}
    options |= {"max_epochs": 1, "epoch_draws": 17, "batch_size": 8}
    FUNDUS.workflow("train", "efficient", workflow_type="train", run_id="train", **options).run()
    return torch.load(folder / "model_efficient.pt", weights_only=True)


def test_training_leaves_the_backbone_and_is_repeatable(weights: Path, tmp_path: Path) -> None:
    after, again = (train(tmp_path / run, warm_start=str(weights)) for run in "ab")
    given = torch.load(weights, weights_only=True)
    assert [name for name in after if not torch.equal(after[name], again[name])] == []
    changed = {name for name in after if not torch.equal(given[name], after[name])}
    statistics = {f"standardize.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed == {"nodes", "graph1.weight", "graph2.weight", "bias"} | statistics


def test_features_are_those_of_the_network_that_is_written(weights: Path, tmp_path: Path) -> None:
    """Made after the backbone has its weights, of what `inference` gives the network, mirrored and altered."""
    eyes = write_fundus_phantoms(tmp_path / "eyes", 1, size=96)
    options = {"dataset_dir": str(eyes), "split": None, "warm_start": str(weights), "output_dir": str(tmp_path)}
    parser = FUNDUS.parser("train", "efficient", **options)
    parser.get_parsed_content("initialize")
    alterations = [type(transform).__name__ for transform in parser.get_parsed_content("alterations").transforms]
    color = ["RandAdjustContrastd", "RandScaleIntensityd", "RandScaleIntensityd", "ThresholdIntensityd"]
    assert alterations == [*color, "RandGaussianNoised"]
    items, made = parser.get_parsed_content("training_items"), list(parser.get_parsed_content("train::dataset"))
    assert len(items) == len(made) == 30
    plain, altered = ([one["image"] for one, i in zip(made, items, strict=True) if i["altered"] == on] for on in (0, 1))
    deployed = FUNDUS.parser("inference", "efficient", weights=str(weights), output_dir=str(tmp_path))
    network = EfficientGCN(out_channels=4).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    found = []
    for item in fundus_datalist(eyes):
        image = deployed.get_parsed_content("preprocessing")({"image": item["image"]})["image"].as_tensor()[None]
        with torch.no_grad():
            found += [network.pool(network.maps(view))[0] for view in (image, image.flip(3), image.flip(2))]
    torch.testing.assert_close(torch.stack(plain), torch.stack(found))
    assert [item["label"] for item in made] == [grade for grade in range(5) for _ in range(6)]
    assert len(torch.stack([*plain, *altered]).unique(dim=0)) == 30


def test_photographs_train_it_as_they_are(tmp_path: Path) -> None:
    """Nothing is painted into real ones, no phantom is made, and the classifier alone learns."""
    eyes = write_fundus_phantoms(tmp_path / "eyes", 1, size=96)
    parser = FUNDUS.parser("train", "efficient", dataset_dir=str(eyes), split=None, output_dir=str(tmp_path))
    items = parser.get_parsed_content("training_items")
    assert {Path(item["image"]).parent for item in items} == {eyes}
    assert len(items) == 30
    assert not (tmp_path / "phantoms").exists()
    (group,) = parser.get_parsed_content("optimizer").param_groups
    network = parser.get_parsed_content("network")
    classifier = [network.nodes, network.graph1.weight, network.graph2.weight, network.bias]
    assert {id(p) for p in group["params"]} == {id(p) for p in classifier}


def test_weights_of_the_other_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:  # MONAI's, around ours
        train(tmp_path, warm_start=str(FUNDUS.root / "models" / "model.pt"))
    assert "a training must start from weights of its own network" in str(caught.value.__cause__)


def test_evaluated_attacked_and_graded(eyes: Path, weights: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(eyes), "weights": str(weights)}
    attacks = [PlannedAttack(), PlannedAttack(PGD(eps=2.0, steps=2, clip=(0.0, 255.0)), 2 / 255)]
    for name, more in {"evaluate": {}, "attack_eval": {"attacks": attacks}}.items():
        given = {**options, **more, "split": None, "output_dir": str(tmp_path / name)}
        FUNDUS.workflow(name, "efficient", run_id=name, **given).run()
    FUNDUS.workflow("inference", "efficient", output_dir=str(tmp_path), **options).run()
    (clean,) = json.loads((tmp_path / "evaluate" / "summary.json").read_text())["rows"]
    attacked = json.loads((tmp_path / "attack_eval" / "summary.json").read_text())["rows"]
    assert attacked[0]["accuracy"] == clean["accuracy"]
    assert [row["linf"] <= 2 for row in attacked if row["attack"] == "PGD"] == [True, True]
    with (tmp_path / "grades.csv").open() as file:
        assert {Path(row[0]).name for row in csv.reader(file)} == {"grade0_eye77.png", "grade3_eye78.png"}


def test_the_shipped_weights_are_those_of_the_documents_and_export(tmp_path: Path) -> None:
    """What ``monai.bundle ckpt_export`` traces answers as the network does, on images of another size, too."""
    shipped, path = FUNDUS.root / "models" / "model_efficient.pt", tmp_path / "model.ts"
    assert hashlib.sha256(shipped.read_bytes()).hexdigest() in (FUNDUS.root / "docs" / "README.md").read_text()
    meta = str(FUNDUS.root / "configs" / "metadata.json")
    configs = FUNDUS.configs("inference", "efficient")
    given = {"bundle_root": str(FUNDUS.root), "use_trace": True, "filepath": str(path), "meta_file": meta}
    ckpt_export(net_id="network_def", ckpt_file=str(shipped), config_file=configs, **given)
    network = FUNDUS.parser("inference", "efficient").get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(shipped, weights_only=True))
    script = torch.jit.load(path)
    for shape in [(1, 3, 384, 448), (2, 3, 96, 128)]:
        image = torch.rand(shape)
        with torch.no_grad():
            assert (script(image) - network(image)).abs().max() <= 1e-5


@pytest.mark.slow
def test_real_photographs(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """As documented on the 50 test photographs of IDRiD (0.52, 0.72), but for rounding."""
    options = {"output_dir": str(tmp_path), "dataset_dir": str(shared_data("fundus"))}
    FUNDUS.workflow("evaluate", "efficient", run_id="evaluate", **options).run()
    (clean,) = json.loads((tmp_path / "summary.json").read_text())["rows"]
    assert clean["cases"] == 50
    assert clean["accuracy"] == pytest.approx(0.52, abs=0.05)
    assert clean["kappa"] == pytest.approx(0.72, abs=0.07)
