"""SMIA against the equations of the paper, written out with plain torch."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from detectors import cell_label, cells, colored
from helpers import KINDS, Case, case
from monai.transforms import Compose, ScaleIntensity
from torch import Tensor
from torch.nn import functional as F

from monai_smia.attacks import BIM, SMIA, Iterate
from monai_smia.victims import ClassificationVictim, SegmentationVictim


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("task", "dims"), KINDS)
def test_alpha_zero_is_bim(task: str, dims: int, norm: str, targeted: bool) -> None:
    c = case(task, dims)
    options = {"eps": 0.05, "norm": norm, "steps": 5, "targeted": targeted}
    smia, bim = SMIA(alpha=0, **options)(c.victim, c.image, c.label), BIM(**options)(c.victim, c.image, c.label)
    for field, value in vars(bim).items():
        torch.testing.assert_close(getattr(smia, field), value, rtol=0, atol=0, equal_nan=True, msg=field)
    other = SMIA(alpha=1, **options)(c.victim, c.image, c.label)
    assert not torch.equal(other.adversarial, bim.adversarial)


class TestKernel:
    @staticmethod
    def impulse(dims: int, channels: int = 3) -> Tensor:
        """A unit peak in the middle of channel 1, wide enough for every kernel here."""
        image = torch.zeros(1, channels, *[11] * dims, dtype=torch.float64)
        image[(0, 1, *[5] * dims)] = 1
        return image

    @pytest.mark.parametrize("dims", [1, 2, 3])
    @pytest.mark.parametrize(("kernel_size", "sigma"), [(1, 1.0), (3, 0.5), (5, 1.0), (7, 3.0)])
    def test_is_the_outer_product_of_normalised_gaussians(self, dims: int, kernel_size: int, sigma: float) -> None:
        response = SMIA(eps=0.1, kernel_size=kernel_size, sigma=sigma).smooth(self.impulse(dims))
        axis = torch.arange(-5, 6, dtype=torch.float64)
        taps = torch.exp(-(axis**2) / (2 * sigma**2)) * (axis.abs() <= kernel_size // 2)
        taps = taps / taps.sum()
        expected = taps
        for _ in range(dims - 1):
            expected = expected[..., None] * taps
        torch.testing.assert_close(response[0, 1], expected)
        assert response[0, 1].sum().item() == pytest.approx(1.0)
        for axis_number in range(dims):
            torch.testing.assert_close(response, response.flip(2 + axis_number))
        assert not response[0, [0, 2]].any()  # channels do not mix

    @pytest.mark.parametrize("dims", [1, 2, 3])
    def test_zero_padding_keeps_the_inside_and_fades_the_border(self, dims: int) -> None:
        smoothed = SMIA(eps=0.1).smooth(torch.ones(2, 2, *[9] * dims, dtype=torch.float64))
        middle = smoothed[(slice(None), slice(None), *[slice(2, -2)] * dims)]
        torch.testing.assert_close(middle, torch.ones_like(middle))
        assert float(smoothed[(0, 0, *[0] * dims)]) < 0.75**dims

    @pytest.mark.parametrize("dims", [1, 2, 3])
    def test_one_tap_is_the_identity(self, dims: int) -> None:
        image = torch.randn(2, 3, *[6] * dims, generator=torch.Generator().manual_seed(0))
        assert torch.equal(SMIA(eps=0.1, kernel_size=1).smooth(image), image)


def smooth(eta: Tensor, taps: int = 5, sigma: float = 1.0) -> Tensor:
    """A dense depthwise Gaussian, all axes at once."""
    dims, axis = eta.ndim - 2, torch.arange(taps, dtype=eta.dtype) - taps // 2
    grids = torch.meshgrid(*[axis] * dims, indexing="ij")
    kernel = torch.exp(-sum(g**2 for g in grids) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(eta.shape[1], 1, *[taps] * dims)
    convolution = {2: F.conv2d, 3: F.conv3d}[dims]
    return convolution(eta, kernel, padding=taps // 2, groups=eta.shape[1])


def reference_gradient(
    c: Case, iterate: dict[str, Tensor], *, alpha: float, target: str, offset: str, divergence: str, targeted: bool
) -> Tensor:
    """Eq. 4 by hand: the gradient of DEV - alpha * D over the iterate."""
    x = iterate["adversarial"].detach().clone().requires_grad_(True)
    f, label = c.victim.network, c.label[:, 0] if c.label.ndim > 1 else c.label
    eta = x - c.image
    if offset == "total":
        point = c.image + smooth(eta)
    elif offset == "constant":
        point = x + (smooth(eta) - eta).detach()
    else:
        point = iterate["previous"] + smooth(iterate["step"])
    p, q = f(x).log_softmax(1), f(point).log_softmax(1)
    deviation = F.nll_loss(p, label, reduction="sum") * (-1 if targeted else 1)
    if target == "hard":
        distance = F.nll_loss(p, q.argmax(1), reduction="sum")
    else:
        q = q.detach() if target == "detached" else q
        distance = {
            "cross_entropy": -(q.exp() * p).sum(),
            "kl": (p.exp() * (p - q)).sum(),
            "reverse_kl": (q.exp() * (q - p)).sum(),
        }[divergence]
    return torch.autograd.grad(deviation - alpha * distance, x)[0]


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("divergence", ["cross_entropy", "kl", "reverse_kl"])
@pytest.mark.parametrize("offset", ["total", "constant", "step"])
@pytest.mark.parametrize("target", ["soft", "detached", "hard"])
@pytest.mark.parametrize(("task", "dims"), [("classification", 2), ("segmentation", 3)])
def test_gradient_is_that_of_the_equation(
    task: str, dims: int, target: str, offset: str, divergence: str, targeted: bool
) -> None:
    c = case(task, dims, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    previous, step = (torch.randn(c.image.shape, generator=generator, dtype=torch.float64) * 0.1 for _ in range(2))
    memory = {"previous": c.image + previous, "step": step}
    adversarial = (c.image + previous + step).requires_grad_(True)
    prediction = c.victim.predict(adversarial)
    loss = c.victim.loss(prediction, c.label)
    deviation = -loss if targeted else loss
    iterate = Iterate(3, c.image, adversarial, c.label, previous=memory["previous"], previous_step=step)
    iterate.prediction, iterate.deviation = prediction, deviation
    options: dict[str, Any] = {"alpha": 0.7, "target": target, "offset": offset, "divergence": divergence}
    attack = SMIA(eps=1.0, targeted=targeted, **options)
    (got,) = torch.autograd.grad(attack.objective(c.victim, iterate).sum(), adversarial)
    expected = reference_gradient(c, {"adversarial": adversarial, **memory}, targeted=targeted, **options)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("offset", ["total", "constant", "step"])
@pytest.mark.parametrize("targeted", [False, True])
def test_run_is_the_loop_of_the_equation(offset: str, targeted: bool) -> None:
    """Five steps: the first without stabilization; "step" smooths the last step of the loop, before its projection."""
    c = case("segmentation", 2, dtype=torch.float64)
    x, previous, step = c.image, c.image, torch.zeros_like(c.image)
    for t in range(5):
        options: dict[str, Any] = {"target": "soft", "offset": offset, "divergence": "cross_entropy"}
        iterate = {"adversarial": x, "previous": previous, "step": step}
        g = reference_gradient(c, iterate, alpha=0.7 if t else 0.0, targeted=targeted, **options)
        previous, step = x, 0.02 * g.sign()
        x = (c.image + (x + step - c.image).clamp(-0.05, 0.05)).clamp(0, 1)
    attack = SMIA(eps=0.05, steps=5, step_size=0.02, alpha=0.7, offset=offset, targeted=targeted, keep="last")
    torch.testing.assert_close(attack(c.victim, c.image, c.label).adversarial, x, rtol=1e-10, atol=1e-12)


def test_own_divergence() -> None:
    c = case("classification", 2, dtype=torch.float64)

    def squared(prediction: Tensor, reference: Tensor) -> Tensor:
        return (prediction - reference).square().sum(1)

    options = {"eps": 0.05, "steps": 4}
    by_attack = SMIA(divergence=squared, **options)(c.victim, c.image, c.label)
    own = ClassificationVictim(c.victim.network, divergence=squared)
    assert torch.equal(by_attack.adversarial, SMIA(**options)(own, c.image, c.label).adversarial)
    assert not torch.equal(by_attack.adversarial, SMIA(**options)(c.victim, c.image, c.label).adversarial)
    with pytest.raises(ValueError, match=r"divergence must be one of .* got 'js'"):
        SMIA(divergence="js", **options)(c.victim, c.image, c.label)


class TestStall:
    """With a hard target and alpha 1 both cross entropies cancel while the smoothed prediction is right."""

    @staticmethod
    def linf_by_step(target: str, alpha: float) -> Tensor:
        c = case("classification", 2, dtype=torch.float64)
        attack = SMIA(eps=0.1, steps=4, step_size=0.001, alpha=alpha, target=target, clip=None)
        result = attack(c.victim, c.image, c.label)
        assert result.damage.tolist() == [0, 0, 0]  # far from any decision boundary all the time
        return result.linf

    def test_hard_target_never_moves_again(self) -> None:
        linf = self.linf_by_step("hard", 1.0)
        torch.testing.assert_close(linf[1:], torch.full_like(linf[1:], 0.001))

    @pytest.mark.parametrize(("target", "alpha"), [("soft", 1.0), ("detached", 1.0), ("hard", 0.9)])
    def test_others_go_on(self, target: str, alpha: float) -> None:
        linf = self.linf_by_step(target, alpha)
        torch.testing.assert_close(linf[:, 0], torch.arange(5, dtype=torch.float64) * 0.001)

    def test_alpha_above_one_goes_back_and_beyond(self) -> None:
        linf = self.linf_by_step("hard", 1.5)
        torch.testing.assert_close(linf[:, 0], torch.tensor([0, 1, 0, 1, 2], dtype=torch.float64) * 0.001)


@pytest.mark.parametrize(("steps", "alpha", "gradients"), [(1, 1.0, 1), (2, 1.0, 3), (10, 1.0, 19), (10, 0.0, 10)])
def test_gradients_are_counted(steps: int, alpha: float, gradients: int) -> None:
    c = case("segmentation", 2)
    calls: list[bool] = []
    c.victim.network.register_forward_hook(lambda _, inputs, output: calls.append(output.requires_grad))
    result = SMIA(eps=0.05, steps=steps, alpha=alpha)(c.victim, c.image, c.label)
    assert result.gradients.tolist() == [gradients] * 3
    assert (sum(calls), len(calls)) == (gradients, gradients + 1)


def test_deviation_alone_is_recorded() -> None:
    """loss_history is the deviation loss, whatever the stabilization."""
    c = case("segmentation", 2, dtype=torch.float64)
    result = SMIA(eps=0.05, steps=3, alpha=5.0)(c.victim, c.image, c.label)
    loss = c.victim.loss(c.victim.predict(result.adversarial), c.label).detach()
    torch.testing.assert_close(result.loss, loss)
    assert bool((result.loss_history == loss).any(0).all())


class TestOneBatch:
    OPTIONS: ClassVar = {"eps": 0.3, "steps": 6, "step_size": 0.02, "stop_at": 0.6}

    @pytest.mark.parametrize("offset", ["total", "constant", "step"])
    @pytest.mark.parametrize("target", ["soft", "detached", "hard"])
    @pytest.mark.parametrize(("task", "dims"), KINDS)
    def test_is_the_same_attack(self, task: str, dims: int, target: str, offset: str) -> None:
        c = case(task, dims, dtype=torch.float64)
        options = {**self.OPTIONS, "target": target, "offset": offset}
        two, one = (SMIA(one_batch=both, **options)(c.victim, c.image, c.label) for both in (False, True))
        for field, value in vars(two).items():
            torch.testing.assert_close(getattr(one, field), value, rtol=1e-9, atol=1e-11, equal_nan=True, msg=field)
        assert int(two.gradients.max()) > 1

    def test_batches_are_twice_as_large(self) -> None:
        c = case("segmentation", 2)
        sizes: list[int] = []
        c.victim.network.register_forward_hook(lambda _, inputs, output: sizes.append(len(inputs[0])))
        SMIA(eps=0.05, steps=3, one_batch=True)(c.victim, c.image, c.label)
        assert sizes == [3, 6, 6, 3]

    def test_every_sample_keeps_its_own_preprocessing(self) -> None:
        """Intensities scaled by each image's own range; samples that fall leave with theirs."""
        c = case("segmentation", 2, dtype=torch.float64)
        scale = Compose([ScaleIntensity(dtype=torch.float64)])
        victim = SegmentationVictim(c.victim.network, preprocessing=scale)
        image = c.image * torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64).view(3, 1, 1, 1)
        radii = torch.tensor([0.3, 0.001, 0.3], dtype=torch.float64)  # the second one stays
        options = {**self.OPTIONS, "stop_at": 0.3}
        two, one = (SMIA(one_batch=both, **options)(victim, image, c.label, eps=radii) for both in (False, True))
        torch.testing.assert_close(one.adversarial, two.adversarial, rtol=1e-9, atol=1e-11)
        assert len(two.gradients.unique()) > 1

    def test_a_detector_is_refused(self) -> None:
        victim = cells()
        image = colored((0.9, 0.1, 0.1), (0.1, 0.9, 0.1))
        with pytest.raises(ValueError, match="one batch of two points needs a network that returns a tensor, got dict"):
            SMIA(eps=0.1, steps=2, one_batch=True)(victim, image, [cell_label(0, 1)])
