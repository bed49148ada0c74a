"""What every bundle of this repository owes: complete, loadable, small, described once, from any working directory."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles.shipped import CT, ENDOSCOPY, FUNDUS, Shipped
from monai.bundle import ckpt_export, verify_metadata, verify_net_in_out, workflows
from torch import Tensor, nn

import monai_smia

CONFIGS = ("inference", "evaluate", "attack_eval", "train")
MANDATORY = {
    "version",
    "changelog",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "required_packages_version",
    "task",
    "description",
    "authors",
    "copyright",
    "network_data_format",
}
EVERY = pytest.mark.parametrize("bundle", [CT, FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)


@EVERY
def test_required_files_exist(bundle: Shipped) -> None:
    files = ["LICENSE", "configs/metadata.json", "models/model.pt", "docs/README.md", "docs/data_license.txt"]
    files += ["configs/logging.conf"]
    further = ("paper_tables", "paper_figures", "train_robust", "multi_gpu_attack_eval")
    files += [f"configs/{name}.yaml" for name in (*CONFIGS, *further)]
    assert [file for file in files if not (bundle.root / file).is_file()] == []


@EVERY
@pytest.mark.parametrize("config", ["inference", "evaluate", "attack_eval"])
def test_other_weights_may_be_given(bundle: Shipped, config: str) -> None:
    text = (bundle.root / "configs" / f"{config}.yaml").read_text()
    assert "\nweights: $@bundle_root + '/models/model.pt'\n" in text
    assert text.count("/models/model.pt") == 1


@EVERY
def test_metadata_is_complete(bundle: Shipped) -> None:
    meta = bundle.metadata()
    assert MANDATORY - meta.keys() == set()
    assert meta["version"] in meta["changelog"]
    assert meta["required_packages_version"]["monai_smia"] == monai_smia.__version__
    for tensor in (meta["network_data_format"]["inputs"]["image"], meta["network_data_format"]["outputs"]["pred"]):
        assert len(tensor["channel_def"]) == tensor["num_channels"]


@EVERY
def test_metadata_obey_the_published_schema(bundle: Shipped, tmp_path: Path) -> None:
    """``monai.bundle verify_metadata`` against MONAI's schema, of which a copy lies beside this test."""
    schema = Path(__file__).with_name("meta_schema_20240725.json")
    assert bundle.metadata()["schema"].endswith(f"/{schema.name}")
    verify_metadata(meta_file=str(bundle.root / "configs" / "metadata.json"), filepath=str(schema))
    broken = tmp_path / "metadata.json"
    broken.write_text(json.dumps({**bundle.metadata(), "network_data_format": {"inputs": {}}}))
    with pytest.raises(ValueError, match="'outputs' is a required property"):
        verify_metadata(meta_file=str(broken), filepath=str(schema))


@EVERY
def test_network_answers_as_the_metadata_say(bundle: Shipped) -> None:
    (config,) = bundle.configs("inference")
    meta = str(bundle.root / "configs" / "metadata.json")
    verify_net_in_out(net_id=net_id(bundle), meta_file=meta, config_file=config, device="cpu")


@EVERY
def test_torchscript_answers_as_the_network_does(bundle: Shipped, tmp_path: Path) -> None:
    """What ``monai.bundle ckpt_export`` writes, on images of the bundle's size and of another."""
    (config,) = bundle.configs("inference")
    path, weights = tmp_path / "model.ts", bundle.root / "models" / "model.pt"
    ckpt_export(
        net_id=net_id(bundle),
        filepath=str(path),
        ckpt_file=str(weights),
        meta_file=str(bundle.root / "configs" / "metadata.json"),
        config_file=config,
        use_trace=bundle == ENDOSCOPY,
    )
    network = bundle.parser("inference").get_parsed_content(net_id(bundle)).eval()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    files = {"metadata.json": "", "inference.json": ""}
    script = torch.jit.load(path, _extra_files=files)
    assert json.loads(files["metadata.json"])["name"] == bundle.metadata()["name"]
    assert "network_def" in json.loads(files["inference.json"])
    shapes = {CT: [(1, 1, 64, 96, 64)], FUNDUS: [(1, 3, 384, 448), (2, 3, 96, 128)]}
    for shape in shapes.get(bundle, [(1, 3, 320, 256), (2, 3, 64, 128)]):
        image = torch.rand(shape)
        with torch.no_grad():
            assert (script(image) - network(image)).abs().max() <= 1e-6


def net_id(bundle: Shipped) -> str:
    """A detector answers with maps of several sizes, and has one tensor for tools that know no other."""
    return "exported" if bundle == ENDOSCOPY else "network_def"


SECTIONS = ["Network", "Data", "The paper's data", "Training", "Performance", "Under attack", "Commands", "License"]


@EVERY
def test_the_documents_have_the_same_sections(bundle: Shipped) -> None:
    text = (bundle.root / "docs" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [*SECTIONS, "References"]
    commands = text.split("## Commands")[1].split("## License")[0]
    for task in ("run evaluate", "configs/inference.yaml", "run attack_eval", "run train", "verify_net_in_out"):
        assert task in commands, task
    references = text.split("## References")[1]
    assert len(re.findall(r"^\[\d\] ", references, re.MULTILINE)) >= 2


@EVERY
def test_its_logging_passes_monais_check(bundle: Shipped) -> None:
    """Handlers of the standard library alone, to the console; the summary of the command line stays out."""
    content = workflows._reject_executable_logging_config(str(bundle.root / "configs" / "logging.conf"))
    parser = configparser.RawConfigParser()
    parser.read_string(content)
    assert parser.get("logger_root", "level") == "INFO"  # what StatsHandler prints arrives
    assert parser.get("logger_bundle", "qualname") == "monai.bundle"
    assert parser.get("logger_bundle", "level") == "WARNING"


@pytest.mark.parametrize(
    ("bundle", "file"),
    [
        (CT, "model.pt"),
        (CT, "model_robust.pt"),
        (CT, "model_robust_shifts.pt"),
        (FUNDUS, "model.pt"),
        (FUNDUS, "model_robust.pt"),
        (FUNDUS, "model_efficient.pt"),
        (ENDOSCOPY, "model.pt"),
        (ENDOSCOPY, "model_artefacts.pt"),
        (ENDOSCOPY, "model_robust.pt"),
    ],
    ids=lambda value: getattr(value, "name", None) or (value if isinstance(value, str) else ""),
)
def test_weights_load_strictly_and_are_small(bundle: Shipped, file: str) -> None:
    path = bundle.root / "models" / file
    assert path.stat().st_size < (5e6 if bundle == CT else 25e6)
    weights = torch.load(path, map_location="cpu", weights_only=True)
    assert all(isinstance(tensor, Tensor) and tensor.isfinite().all() for tensor in weights.values())
    overlays = [overlay for overlay in ("artefacts", "efficient") if overlay in file]
    for name in CONFIGS:
        bundle.parser(name, *overlays).get_parsed_content("network_def").load_state_dict(weights, strict=True)


@EVERY
@pytest.mark.parametrize("name", CONFIGS[1:])
def test_the_network_stands_once(bundle: Shipped, name: str) -> None:
    """The other configs take it from inference.yaml, and an override still reaches it."""
    assert bundle.parser(name)["network_def"]["_target_"] == "monai_smia.targets.part_of"
    assert str(network(bundle, name)) == str(network(bundle, "inference"))
    override: dict[str, Any] = {
        CT: {"network_def::channels": [4, 8], "network_def::strides": [2]},
        FUNDUS: {"network_def#widths": [4, 8, 16, 32]},
        ENDOSCOPY: {"feature_extractor#out_channels": 16},
    }[bundle]
    narrow = network(bundle, name, **override)
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in network(bundle, name).parameters())
    assert str(narrow) == str(network(bundle, "inference", **override))


def network(bundle: Shipped, name: str, **override: Any) -> nn.Module:
    return bundle.parser(name, **override).get_parsed_content("network_def")


@EVERY
@pytest.mark.parametrize("folder", [".", "configs", ".."])
def test_from_any_working_directory(bundle: Shipped, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With relative paths, as they are typed: bundle_root leads to inference.yaml, not the working directory."""
    monkeypatch.chdir(bundle.root / folder)
    root = Path({".": ".", "configs": "..", "..": bundle.name}[folder])
    parser = bundle.parser("attack_eval", bundle_root=str(root))
    assert isinstance(parser.get_parsed_content("network_def"), nn.Module)


def test_preprocessing_stands_once() -> None:
    """Of the same settings in every config; labels go the same way where a config needs them."""
    for bundle, names in ((CT, CONFIGS[1:]), (FUNDUS, CONFIGS[1:]), (ENDOSCOPY, ("evaluate", "attack_eval"))):
        id = "load" if bundle == ENDOSCOPY else "preprocess"
        for name in names:
            assert bundle.parser(name)[id]["_target_"] == "monai_smia.targets.part_of"
    deployed = CT.parser("inference").get_parsed_content("preprocess")
    attacked = CT.parser("attack_eval").get_parsed_content("preprocess")
    training = CT.parser("train").get_parsed_content("preprocess")
    assert [t.keys for t in deployed] == [("image",)] * 3
    assert [t.keys for t in attacked] == [t.keys for t in training] == [("image", "label")] * 2 + [("image",)]
    assert [pixdim(steps) for steps in (deployed, attacked, training)] == [[2.5, 2.5, 2.5]] * 3
    assert deployed[1].mode == ("bilinear",)
    assert attacked[1].mode == ("bilinear", "nearest")
    assert training[1].mode == ("bilinear", "bilinear")
    for name in ("evaluate", "attack_eval"):
        coarse = CT.parser(name, **{"preprocess::pixdim": [5.0, 5.0, 5.0]})
        assert pixdim(coarse.get_parsed_content("preprocess")) == [5.0, 5.0, 5.0]


def pixdim(preprocess: list[Any]) -> list[float]:
    return preprocess[1].spacing_transform.pixdim.tolist()


@EVERY
@pytest.mark.parametrize(
    "configs", [("attack_eval",), ("attack_eval", "multi_gpu_attack_eval")], ids=["one", "several"]
)
@pytest.mark.parametrize("seed", ["x", [0, 1], -1])
def test_a_seed_that_is_none_is_named(bundle: Shipped, configs: tuple[str, ...], seed: Any, tmp_path: Path) -> None:
    parser = bundle.parser(*configs, output_dir=str(tmp_path), seed=seed)
    (check,) = [
        number for number, step in enumerate(parser["initialize"]) if "seed" in step and "determinism" not in step
    ]
    with pytest.raises(RuntimeError) as told:
        parser.get_parsed_content(f"initialize#{check}")
    assert str(told.value.__cause__) == f"seed must be a whole number >= 0, got {seed!r}."
