"""Networks with several outputs, or with probabilities, under the overlay: which counts is told, or said by a key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles.foreign.build import ARGMAX, SOFTMAX, WINDOW, Foreign, build
from bundles.foreign.table import FOREIGN
from bundles.foreign.test_foreign import overlay
from bundles.heads import Heads

from monai_smia.adapters.monai_bundle import check_bundle
from monai_smia.adapters.monai_bundle.ensembles import EnsembleNetwork
from monai_smia.adapters.monai_bundle.outputs import outputs_of, selected

PICKS = {"tuple": "x[1]", "list": "x[0]", "dict": "x['seg']"}
KEYS = {"tuple": "1", "list": "0", "dict": "seg"}


def with_heads(folder: Path, kind: str, inferer: str = "SlidingWindowInferer") -> Path:
    """A bundle whose network returns two outputs, and whose postprocessing takes one."""
    bundle = build(folder, Foreign(steps=[WINDOW]), cases=1)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["network_def"] = {"_target_": "bundles.heads.Heads", "kind": kind}
    pick = {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda x: {PICKS[kind]}"}
    config["postprocessing"]["transforms"] = [pick, SOFTMAX, ARGMAX]
    if inferer == "SimpleInferer":
        config["inferer"] = {"_target_": inferer}
    path.write_text(json.dumps(config))
    torch.save(Heads(kind).state_dict(), bundle / "models" / "model.pt")
    return bundle


WINDOWS = "SlidingWindowInferer"


@pytest.mark.parametrize(("kind", "inferer"), [("tuple", WINDOWS), ("dict", WINDOWS), ("list", "SimpleInferer")])
def test_the_output_that_decides_is_told(
    kind: str, inferer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are those of the same network with that output alone."""
    rows, configuration = overlay(with_heads(tmp_path / "heads", kind, inferer), {"attack#progress": True})
    assert f"Of the network's outputs '{KEYS[kind]}' is the one that decides." in capsys.readouterr().out
    assert configuration["pipeline"]["output"] == KEYS[kind]
    alone, _ = overlay(build(tmp_path / "alone", Foreign(steps=[WINDOW]), cases=1), {})
    for row in (("Clean", "computed"), ("FGSM", "computed"), ("FGSM", "stored")):
        assert rows[row]["dice"] == pytest.approx(alone[row]["dice"], abs=1e-6)
    assert rows["Clean", "computed"]["agreement"] == 1.0
    assert rows["FGSM", "computed"]["dice"] < rows["Clean", "computed"]["dice"]


def test_an_output_by_its_key_where_the_bundle_leaves_all(tmp_path: Path) -> None:
    """Postprocessing that takes none of them: the key says which is decided by, and which is attacked."""
    bundle = with_heads(tmp_path / "heads", "dict")
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["postprocessing"]["transforms"] = [{"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x"}]
    path.write_text(json.dumps(config))
    options = {"attack#output_key": "seg", "attack#activation": "softmax", "attack#unsupervised": True}
    rows, _ = overlay(bundle, options)
    assert rows["Clean", "computed"]["jaccard"] == 1.0
    assert rows["FGSM", "computed"]["jaccard"] < 0.9
    (stops,) = check_bundle([str(path)], {**options, "attack#output_key": "mask"})
    assert re.search(r"output_key must name an output of the network, got 'mask': there are aux \(1, 2, .*seg", stops)
    (stops,) = check_bundle([str(path)], {"attack#activation": "softmax", "attack#unsupervised": True})
    assert "Say which it goes by with --attack#output_key" in stops


def test_a_key_for_a_network_of_one_output_is_refused(tmp_path: Path) -> None:
    bundle = build(tmp_path / "bundle", Foreign(steps=[WINDOW]), cases=1)
    (stops,) = check_bundle([str(bundle / "configs" / "inference.json")], {"attack#output_key": 0})
    assert "output_key is for a network that returns several outputs, and this one returns one" in stops


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_probabilities_are_said(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = build(tmp_path / "bundle", FOREIGN[f"{kind} in the network"], cases=1)
    overlay(bundle, {"attack#progress": True})
    page = (bundle / "eval" / "attack_eval" / "report.html").read_text()
    for text in (capsys.readouterr().out, page):
        assert f"The network ends in a {kind}: losses are of the logarithms of its probabilities." in text


def ensemble(folder: Path, before: list[Any], join: dict[str, Any], after: list[Any]) -> Path:
    """A bundle of three networks, two of which are right and one is wrong."""
    bundle = build(folder, Foreign(steps=[WINDOW]), cases=1)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    keys = ["pred_0", "pred_1", "pred_2"]
    one = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
    config["networks"] = [one, one, one]
    del config["network"], config["network_def"]
    config["evaluator"] = {
        "_target_": "EnsembleEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "networks": "@networks",
        "pred_keys": keys,
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
    }
    steps = [*({**step, "keys": keys} for step in before), {**join, "keys": keys, "output_key": "pred"}, *after]
    config["postprocessing"]["transforms"] = steps
    load = "n.load_state_dict(torch.load(@bundle_root + '/models/%d.pt', weights_only=True))"
    config["initialize"] = [f"$@networks[{i}]." + (load % i).removeprefix("n.") for i in range(3)]
    path.write_text(json.dumps(config))
    heads = Heads("tuple")
    for number, head in enumerate((heads.right, heads.right, heads.wrong)):
        torch.save(head.state_dict(), bundle / "models" / f"{number}.pt")
    return bundle


MEAN = {"_target_": "MeanEnsembled"}
DISCRETE = {"_target_": "AsDiscreted", "argmax": True}
ENSEMBLES: dict[str, tuple[list[Any], dict[str, Any], list[Any], str]] = {
    "mean of probabilities": (
        [{"_target_": "Activationsd", "softmax": True}],
        MEAN,
        [ARGMAX],
        "An ensemble of 3 networks, whose predictions are averaged after a softmax.",
    ),
    "weighted mean of logits": (
        [],
        MEAN | {"weights": [1, 1, 0.5]},
        [SOFTMAX, ARGMAX],
        "An ensemble of 3 networks, whose predictions are averaged.",
    ),
    "votes": (
        [{"_target_": "Activationsd", "softmax": True}, DISCRETE],
        {"_target_": "VoteEnsembled", "num_classes": 2},
        [{"_target_": "AsDiscreted", "keys": ["label", "pred"], "to_onehot": 2}],
        "votes are counted; gradients are of the average",
    ),
}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensemble_as_deployed(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure is the bundle's own; the twin decides as it does, and one wrong network of three is outvoted."""
    *steps, told = ENSEMBLES[name]
    rows, _ = overlay(ensemble(tmp_path / "three", *steps), {"attack#progress": True})
    assert told in capsys.readouterr().out
    alone, _ = overlay(build(tmp_path / "alone", Foreign(steps=[WINDOW]), cases=1), {})
    assert rows["Clean", "computed"]["dice"] == pytest.approx(alone["Clean", "computed"]["dice"], abs=1e-6)
    assert rows["Clean", "computed"]["agreement"] == 1.0
    assert rows["FGSM", "computed"]["dice"] < rows["Clean", "computed"]["dice"]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_the_average_by_hand(activation: str | None) -> None:
    raws = [torch.randn(1, 2, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.double) for seed in (0, 1)]
    network = EnsembleNetwork([torch.nn.Identity()] * 2, activation, weights=torch.tensor([3.0, 1.0]))
    act: Any = {"softmax": lambda x: x.softmax(1), "sigmoid": torch.sigmoid, None: lambda x: x}[activation]
    torch.testing.assert_close(act(network.together(raws)), 0.75 * act(raws[0]) + 0.25 * act(raws[1]))


def test_outputs_by_their_keys() -> None:
    right, wrong = torch.zeros(1), torch.ones(1)
    raw: Any = {"seg": right, "deep": [wrong, (right, wrong)]}
    assert list(outputs_of(raw)) == ["seg", "deep.0", "deep.1.0", "deep.1.1"]
    assert selected(raw, "deep.1.1") is wrong
    assert selected(right, "seg") is right


def test_numbers_are_told_apart_from_classes(tmp_path: Path) -> None:
    """A table of coordinates is no map of classes."""
    bundle = build(tmp_path / "bundle", Foreign(steps=[WINDOW]), cases=1)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["network_def"] = "$torch.nn.Sequential(torch.nn.AdaptiveAvgPool3d(2), torch.nn.Flatten(2))"
    config["inferer"], config["initialize"] = {"_target_": "SimpleInferer"}, []
    path.write_text(json.dumps(config))
    (stops,) = check_bundle([str(path)])
    assert "got (1, 1, 8) of an image (1, 1, 22, 18, 14): where these are numbers, such as landmarks, say so" in stops


def test_logits_in_half_precision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Gradients go by them; clean figures are the bundle's own, to the last digit."""
    bundle = build(tmp_path / "bundle", Foreign(steps=[WINDOW]), cases=1)
    full, _ = overlay(bundle, {})
    half, _ = overlay(bundle, {"attack#logits": "float16", "attack#progress": True, "attack#resume": False})
    assert (
        "Gradients go by logits that are stitched in float16; figures are the bundle's own." in capsys.readouterr().out
    )
    assert half["Clean", "computed"]["dice"] == full["Clean", "computed"]["dice"]
    assert half["FGSM", "computed"]["dice"] == pytest.approx(full["FGSM", "computed"]["dice"], abs=0.01)
    config = str(bundle / "configs" / "inference.json")
    (stops,) = check_bundle([config], {"attack#logits": "half"})
    assert stops == "logits must be one of ('float32', 'float16', 'bfloat16'), got 'half'."
