"""Losses and divergences against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, kl_divergence
from torch.nn import functional as F

from monai_smia.victims import ClassificationVictim
from monai_smia.victims.outputs import Output, output_of

SHAPES = [(3, 4), (3, 4, 5), (3, 4, 5, 6), (2, 3, 4, 3, 5)]
every_shape = pytest.mark.parametrize("shape", SHAPES)


def draw(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def per_sample(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).sum(1)


def distribution(activation: str, logits: Tensor) -> torch.distributions.Distribution:
    return Categorical(logits=logits.movedim(1, -1)) if activation == "softmax" else Bernoulli(logits=logits)


@every_shape
def test_softmax_cross_entropy_is_that_of_torch(shape: tuple[int, ...]) -> None:
    logits = draw(shape)
    label = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=torch.Generator().manual_seed(1))
    expected = [F.cross_entropy(p[None], y[None], reduction="sum") for p, y in zip(logits, label, strict=True)]
    torch.testing.assert_close(output_of("softmax").cross_entropy(logits, label), torch.stack(expected))
    if len(shape) > 2:  # sums over voxels; a single decision has none to ignore
        label[:, ::2] = 1
        ignoring = output_of("softmax", 1).cross_entropy(logits, label)
        expected = [
            F.cross_entropy(p[None], y[None], reduction="sum", ignore_index=1)
            for p, y in zip(logits, label, strict=True)
        ]
        torch.testing.assert_close(ignoring, torch.stack(expected))


@every_shape
def test_sigmoid_cross_entropy_is_that_of_torch(shape: tuple[int, ...]) -> None:
    logits, label = draw(shape), (draw(shape, 1) > 0).long()
    loss = F.binary_cross_entropy_with_logits(logits, label.double(), reduction="none")
    torch.testing.assert_close(output_of("sigmoid").cross_entropy(logits, label), per_sample(loss))
    ignored = label.where(draw(shape, 2) > 0, 255)
    expected = per_sample(loss * (ignored != 255))
    torch.testing.assert_close(output_of("sigmoid", 255).cross_entropy(logits, ignored), expected)


@every_shape
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
class TestDivergences:
    def test_kl_is_that_of_torch(self, activation: str, shape: tuple[int, ...]) -> None:
        p, q = draw(shape), draw(shape, 1)
        ours = output_of(activation)
        first, second = distribution(activation, p), distribution(activation, q)
        torch.testing.assert_close(ours.kl(p, q), per_sample(kl_divergence(first, second)))
        torch.testing.assert_close(ours.reverse_kl(p, q), per_sample(kl_divergence(second, first)))

    def test_cross_entropy_is_reverse_kl_plus_entropy(self, activation: str, shape: tuple[int, ...]) -> None:
        p, q = draw(shape), draw(shape, 1)
        ours: Output = output_of(activation)
        entropy = per_sample(distribution(activation, q).entropy())
        torch.testing.assert_close(ours.soft_cross_entropy(p, q), ours.reverse_kl(p, q) + entropy)

    def test_only_kl_is_a_distance(self, activation: str, shape: tuple[int, ...]) -> None:
        p, ours = draw(shape), output_of(activation)
        entropy = per_sample(distribution(activation, p).entropy())
        torch.testing.assert_close(ours.kl(p, p), torch.zeros(shape[0], dtype=torch.float64))
        torch.testing.assert_close(ours.soft_cross_entropy(p, p), entropy)

    def test_gradients(self, activation: str, shape: tuple[int, ...]) -> None:
        ours = output_of(activation)
        small = (2, 3, *[2] * (len(shape) - 2))
        p, q = draw(small).requires_grad_(True), draw(small, 1).requires_grad_(True)
        for divergence in (ours.soft_cross_entropy, ours.kl, ours.reverse_kl):
            assert torch.autograd.gradcheck(divergence, (p, q))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_extreme_logits_stay_finite(activation: str) -> None:
    p = torch.tensor([[200.0, -200.0]], requires_grad=True)
    q = torch.tensor([[-200.0, 200.0]])
    ours = output_of(activation)
    label = torch.tensor([1]) if activation == "softmax" else torch.tensor([[0, 1]])
    for loss in (ours.cross_entropy(p, label), ours.soft_cross_entropy(p, q), ours.kl(p, q), ours.reverse_kl(p, q)):
        (gradient,) = torch.autograd.grad(loss.sum(), p, retain_graph=True)
        assert bool(loss.isfinite().all())
        assert bool(gradient.isfinite().all())


def test_decisions_and_one_hot() -> None:
    logits = torch.tensor([[[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]]])
    softmax, sigmoid = output_of("softmax"), output_of("sigmoid")
    assert softmax.decide(logits).tolist() == [[1, 2]]
    assert sigmoid.decide(logits).tolist() == [[[1, 0], [1, 0], [0, 1]]]
    assert softmax.one_hot(torch.tensor([[1, 2]]), 3).int().tolist() == [[[0, 0], [1, 0], [0, 1]]]
    torch.testing.assert_close(softmax.probabilities(logits).sum(1), torch.ones(1, 2))
    torch.testing.assert_close(sigmoid.probabilities(logits)[0, 0], torch.tensor([1 / (1 + 2.718281828**-1), 0.5]))


def test_grades_have_none_to_ignore() -> None:
    message = r"ignore_index must be None for activation='ordinal'.* got 3"
    with pytest.raises(ValueError, match=message):
        output_of("ordinal", 3)
    with pytest.raises(ValueError, match=message):
        ClassificationVictim(torch.nn.Identity(), activation="ordinal", ignore_index=3)


def test_unknown_activation() -> None:
    with pytest.raises(ValueError, match=r"activation must be one of \['ordinal', 'sigmoid', 'softmax'\], got 'relu'"):
        output_of("relu")


@pytest.mark.parametrize(
    ("activation", "logits", "label", "ignore", "message"),
    [
        ("softmax", (2, 1, 4), torch.zeros(2, 4), None, "two channels or more, got 1; use activation='sigmoid'"),
        ("softmax", (2, 3, 4), torch.zeros(2, 3, 4), None, r"shape \(2, 4\).* got \(2, 3, 4\)"),
        ("softmax", (2, 3, 4), torch.full((2, 4), 255), None, "from 0 to 2, got values from 255 to 255"),
        (
            "softmax",
            (2, 3, 4),
            torch.full((2, 4), 255),
            255,
            r"a value that is not ignore_index=255, samples \[0, 1\] hold none",
        ),
        ("sigmoid", (2, 3, 4), torch.zeros(2, 4), None, r"shape \(2, 3, 4\), got \(2, 4\)"),
        ("sigmoid", (2, 3), torch.full((2, 3), 2), None, "0 and 1 .* got values from 2 to 2"),
        ("sigmoid", (2, 3), torch.full((2, 3), 0.5), None, "0 and 1"),
        ("sigmoid", (2, 3), torch.full((2, 3), 255), 255, "a value that is not ignore_index=255"),
    ],
)
def test_labels_that_do_not_fit(
    activation: str, logits: tuple[int, ...], label: Tensor, ignore: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        output_of(activation, ignore).check(torch.zeros(logits), label)


@pytest.mark.parametrize(
    ("activation", "label"),
    [("softmax", torch.tensor([[0, 255, 2]])), ("sigmoid", torch.tensor([[[0, 255, 1]]] * 1).expand(1, 3, 3))],
)
def test_ignored_values_are_no_violation(activation: str, label: Tensor) -> None:
    output_of(activation, 255).check(torch.zeros(1, 3, 3), label)
