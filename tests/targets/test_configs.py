"""A config that builds what another one describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from monai_smia.targets import part_of

SHARED = {
    "classes": 2,
    "network": {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": "@classes", "bias": True},
    "keys": "image",
    "transforms": [
        {"_target_": "ScaleIntensityd", "keys": "@keys"},
        {"_target_": "EnsureTyped", "keys": "@keys", "dtype": "$torch.float64"},
    ],
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "configs" / "shared.json"
    path.parent.mkdir()
    path.write_text(json.dumps(SHARED))
    return path


def test_arguments_are_replaced_and_the_rest_stays(config: Path) -> None:
    assert str(part_of(config, "network")) == "Linear(in_features=3, out_features=2, bias=True)"
    assert str(part_of(config, "network", out_features=5)) == "Linear(in_features=3, out_features=5, bias=True)"
    assert str(part_of(config, "network", device="meta").weight.device) == "meta"  # an argument that is not in the file


def test_an_option_at_the_top_is_replaced(config: Path) -> None:
    assert part_of(config, "network", classes=7).out_features == 7
    assert [t.keys for t in part_of(config, "transforms", keys=["image", "label"])] == [("image", "label")] * 2


def test_what_is_not_there_is_named(config: Path) -> None:
    with pytest.raises(KeyError, match=r"part must be one of .*'network'.* got 'net'"):
        part_of(config, "net")
    with pytest.raises(KeyError, match="'key'"):
        part_of(config, "transforms", key="label")


@pytest.mark.parametrize("override", [{}, {"network::out_features": 9}, {"network#bias": False}])
def test_from_any_folder_and_with_overrides(
    override: dict[str, Any], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    parser = ConfigParser(
        {
            "bundle_root": "..",
            "network": {
                "_target_": "monai_smia.targets.part_of",
                "config": "$@bundle_root + '/configs/shared.json'",
                "part": "network",
            },
        }
    )
    parser.update(override)
    network = parser.get_parsed_content("network")
    assert network.out_features == override.get("network::out_features", 2)
    assert (network.bias is None) == ("network#bias" in override)
