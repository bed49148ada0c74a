from __future__ import annotations

import pytest
import torch

from monai_smia.targets.fundus import EfficientGCN, FeatureTraining, LesionSupervision


def network() -> EfficientGCN:
    torch.manual_seed(0)
    return EfficientGCN(out_channels=4).eval()


def test_the_graph_classifies_both_maps_of_the_backbone_standardized() -> None:
    grader, image = network(), torch.rand(2, 3, 64, 96)
    grader.standardize.running_mean += torch.rand(864)
    grader.standardize.running_var += torch.rand(864)
    _, third, fourth = grader.backbone(image)
    assert (third.shape, fourth.shape) == ((2, 112, 4, 6), (2, 320, 2, 3))
    pooled = [third.mean((2, 3)), third.amax((2, 3)), fourth.mean((2, 3)), fourth.amax((2, 3))]
    features = torch.cat(pooled, 1)
    mean, variance = grader.standardize.running_mean, grader.standardize.running_var
    standard = (features - mean) / (variance + grader.standardize.eps).sqrt()
    torch.testing.assert_close(grader(image), standard @ grader.classifier().T + grader.bias)
    training = LesionSupervision(grader, mixed_precision=False)(image)
    assert [tuple(t.shape) for t in training] == [(2, 4), (2, 3, 4, 6), (2, 2)]
    torch.testing.assert_close(training.grade, grader(image))


def test_dropout_is_for_training_only() -> None:
    grader, image = network(), torch.rand(2, 3, 64, 64)
    assert torch.equal(grader(image), grader(image))
    grader.train()
    assert not torch.equal(grader(image), grader(image))
    for dropout in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\)"):
            EfficientGCN(out_channels=4, dropout=dropout)


def test_training_on_features_is_that_on_images() -> None:
    """Same logits and same gradients of the classifier."""
    torch.manual_seed(0)
    grader = EfficientGCN(out_channels=4, frozen_stages=7, dropout=0.0).train()
    image, training = torch.rand(2, 3, 64, 64), FeatureTraining(grader)
    features = torch.stack([training.features(one) for one in image])
    assert not features.requires_grad
    found = []
    for logits in (grader(image), training(features)):
        grader.zero_grad()
        logits.square().sum().backward()
        gradients = [weight.grad.clone() for weight in grader.parameters() if weight.grad is not None]
        found.append([logits.detach(), *gradients])
    assert len(found[0]) == 5  # nodes, two graph convolutions, bias
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_a_backbone_that_learns_is_refused() -> None:
    with pytest.raises(ValueError, match=r"all frozen, .* are not, such as"):
        FeatureTraining(EfficientGCN(out_channels=4, frozen_stages=6))


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


def test_features_are_no_images() -> None:
    """As an attack on a training on features would give it."""
    with pytest.raises(ValueError, match=r"shape \(B, 3, H, W\), got \(2, 864\)"):
        network()(torch.rand(2, 864))
