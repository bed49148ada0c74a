from __future__ import annotations

import torch

from monai_smia.targets.fundus import EfficientGCN, LesionSupervision


def network() -> EfficientGCN:
    torch.manual_seed(0)
    return EfficientGCN(out_channels=4).eval()


def test_the_graph_classifies_the_last_maps_of_the_backbone() -> None:
    grader, image = network(), torch.rand(2, 3, 64, 96)
    _, third, fourth = grader.backbone(image)
    assert (third.shape, fourth.shape) == ((2, 112, 4, 6), (2, 320, 2, 3))
    features = torch.cat([fourth.mean((2, 3)), fourth.amax((2, 3))], 1)
    torch.testing.assert_close(grader(image), features @ grader.classifier().T + grader.bias)
    training = LesionSupervision(grader, mixed_precision=False)(image)
    assert [tuple(t.shape) for t in training] == [(2, 4), (2, 3, 4, 6), (2, 2)]


def test_torchscript_gives_the_same() -> None:
    grader, image = network(), torch.rand(2, 3, 96, 128)
    script = torch.jit.trace(grader, torch.rand(1, 3, 384, 448))
    with torch.no_grad():
        assert (script(image) - grader(image)).abs().max() <= 1e-6


def test_all_but_the_frozen_stages_gets_a_gradient() -> None:
    grader = network().train()
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    grader(image).sum().backward()
    frozen = ("backbone._conv_stem.", "backbone._bn0.", "backbone._blocks.0.", "backbone._blocks.1.")
    without = {name for name, parameter in grader.named_parameters() if parameter.grad is None}
    assert without == {name for name, _ in grader.named_parameters() if name.startswith(frozen)}
    assert image.grad is not None
    assert (image.grad != 0).float().mean() > 0.9
