"""HoVerNet's postprocessing under the overlay: figures are of the maps that the bundle itself makes of its outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles.foreign.test_foreign import overlay
from bundles.zoo import COMMON, DATASET, EVALUATOR, LOADER, write
from monai.apps.pathology.transforms.post.dictionary import (
    HoVerNetInstanceMapPostProcessingd,
    HoVerNetNuclearTypePostProcessingd,
)
from monai.bundle import ConfigParser
from monai.transforms import Compose
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from monai_smia.adapters.monai_bundle import check_bundle
from monai_smia.adapters.monai_bundle.instances import nuclei_maps

TYPES = torch.tensor([0.2, 0.55, 0.85])  # brightness of the background and of two types of nuclei
PLACES = [(12, 12, 140), (12, 36, 217), (34, 14, 217), (35, 37, 140)]


class Nuclei(nn.Module):
    """The three outputs of a HoVerNet, of what is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(30.0))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Nucleus or not, distances from its middle, its type."""
        grey = image.mean(1, keepdim=True)
        nucleus = self.gain * (grey - 0.375)
        near = torch.arange(-10.0, 11.0)
        slope = near[:, None] * torch.exp(-(near[:, None] ** 2 + near**2) / 50) / 50
        distances = functional.conv2d(grey, -torch.stack([slope.T, slope])[:, None], padding=10)
        types = -self.gain * (grey - TYPES.view(1, -1, 1, 1)) ** 2
        return {
            "nucleus_prediction": torch.cat([-nucleus, nucleus], 1),
            "horizontal_vertical": distances,
            "type_prediction": types,
        }


def bundle_of_nuclei(folder: Path, **options: Any) -> Path:
    """A picture of four nuclei of two types, and a bundle that makes instances of them."""
    rows, columns = np.mgrid[:48, :48]
    grey = np.full((48, 48), 51.0)
    for row, column, value in PLACES:
        grey[(rows - row) ** 2 + (columns - column) ** 2 < 64] = value
    grey += np.random.default_rng(0).normal(0, 4, grey.shape)
    picture = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, 2)
    (folder / "data").mkdir(parents=True)
    Image.fromarray(picture).save(folder / "data" / "cells.png")
    keys = ["horizontal_vertical", "nucleus_prediction", "type_prediction"]
    post = [
        {"_target_": "FlattenSubKeysd", "keys": "pred", "sub_keys": keys, "delete_keys": True},
        {"_target_": "HoVerNetInstanceMapPostProcessingd", "min_object_size": 20, **options},
        {"_target_": "HoVerNetNuclearTypePostProcessingd"},
    ]
    load = [{"_target_": name, "keys": "image"} for name in ("LoadImaged", "EnsureChannelFirstd")]
    scale = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": 0, "b_max": 1}
    config = {
        **COMMON,
        "network_def": {"_target_": "bundles.test_nuclei.Nuclei"},
        "datalist": [{"image": str(folder / "data" / "cells.png")}],
        "preprocessing": {"_target_": "Compose", "transforms": [*load, scale]},
        "dataset": DATASET,
        "dataloader": LOADER,
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": post},
        "evaluator": EVALUATOR,
        "run": ["$@evaluator.run()"],
    }
    return write(folder, {"inference.json": config}, Nuclei())


def own_maps(bundle: Path, picture: Path) -> dict[str, np.ndarray]:
    """What the bundle's own evaluator leaves of a picture."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser["datalist"] = [{"image": str(picture)}]
    evaluator = parser.get_parsed_content("evaluator")
    evaluator.run()
    (output,) = evaluator.state.output
    return {name: np.asarray(output[name])[0] for name in ("instance_map", "type_map")}


def jaccard(decided: np.ndarray, truth: np.ndarray, classes: int) -> float:
    """Mean over the foreground classes that either holds."""
    pairs = [(decided == k, truth == k) for k in range(1, classes)]
    return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs if (a | b).any()]))


@pytest.mark.parametrize("key", ["nucleus_prediction", "type_prediction"])
def test_figures_are_of_the_maps_that_the_bundle_makes(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stored picture, read and decided by the bundle alone, gives the figure of its row."""
    bundle = bundle_of_nuclei(tmp_path / "bundle")
    given = {} if key == "nucleus_prediction" else {"attack#output_key": key}  # that is what is taken by itself
    assert check_bundle([str(bundle / "configs" / "inference.json")], given) == []
    rows, _ = overlay(bundle, {**given, "eps": 0.2, "attack#progress": True, "attack#write_volumes": "all"})
    said = capsys.readouterr().out
    assert f"Of the network's outputs '{key}' is the one that decides. Figures are of" in said
    clean = own_maps(bundle, tmp_path / "bundle" / "data" / "cells.png")
    assert len(np.unique(clean["instance_map"])) == 5
    assert sorted(np.unique(clean["type_map"])) == [0, 1, 2]
    (stored,) = (bundle / "eval" / "attack_eval" / "volumes").glob("*fgsm*_adversarial.png")
    left = own_maps(bundle, stored)
    if key == "nucleus_prediction":
        expected = jaccard(left["instance_map"] > 0, clean["instance_map"] > 0, 2)
    else:
        expected = jaccard(left["type_map"], clean["type_map"], 3)
    assert rows["Clean", "computed"]["jaccard"] == 1
    assert rows["Clean", "computed"]["agreement"] > 0.95
    assert rows["FGSM", "stored"]["jaccard"] == pytest.approx(expected, abs=1e-6)
    assert expected < 0.95


def test_what_is_not_decided_by_the_highest_channel_is_refused(tmp_path: Path) -> None:
    bundle = bundle_of_nuclei(tmp_path / "bundle", mask_threshold=0.5)
    (stops,) = check_bundle([str(bundle / "configs" / "inference.json")])
    assert stops == (
        "HoVerNetInstanceMapPostProcessingd must take the highest channel after a softmax, got a softmax and "
        "threshold 0.5."
    )


def test_each_map_knows_its_output() -> None:
    steps = [HoVerNetInstanceMapPostProcessingd(), HoVerNetNuclearTypePostProcessingd()]
    maps = nuclei_maps([Compose(steps)])
    assert list(maps) == ["nucleus_prediction", "type_prediction"]
    output = {"instance_map": torch.tensor([[0, 7, 3]]), "type_map": torch.tensor([[0, 2, 1]])}
    assert [made.decision(output).tolist() for made in maps.values()] == [[[0, 1, 1]], [[0, 2, 1]]]
    assert list(nuclei_maps([Compose([HoVerNetNuclearTypePostProcessingd(return_type_map=False)])])) == []


def test_the_rows_name_the_classes_of_that_output(tmp_path: Path) -> None:
    """Two classes of nucleus or not, though the types are three."""
    bundle = bundle_of_nuclei(tmp_path / "bundle")
    rows, _ = overlay(bundle, {})
    names = [name for name in rows["Clean", "computed"] if name.startswith("jaccard_")]
    assert json.dumps(names) == '["jaccard_1"]' or names == []
