"""The gradient through the sliding window: exact, flat in memory, and loud where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn
from window_helpers import Counting, Net, by_autograd, draw_setting, gradient, loss_of, rand, relative_error, tensors

from monai_smia.inferers import CheckpointedSlidingWindowInferer


@pytest.mark.parametrize("seed", range(72))
def test_gradient_and_output_are_those_of_monai(seed: int) -> None:
    setting = draw_setting(seed)
    image, net = rand(*setting["shape"]), Net(setting["dims"], setting["answer"])
    monai, ours = (c(**setting["inferer"]) for c in (SlidingWindowInferer, CheckpointedSlidingWindowInferer))
    args, kwargs = setting["args"], setting["kwargs"]
    x, y = image.clone().requires_grad_(True), image.clone().requires_grad_(True)
    before = image.clone()
    output = ours(x, net, *args, **kwargs)
    expected = by_autograd(monai, y, lambda w, *a: net(w, *a, *args, **kwargs))
    with torch.no_grad():
        plain = monai(image, net, *args, **kwargs)
    assert type(output) is type(plain)
    assert not isinstance(plain, dict) or list(output) == list(plain)
    for a, b, c in zip(tensors(output), tensors(plain), tensors(expected), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    (got,) = torch.autograd.grad(loss_of(output, setting["unused"]), x)
    (wanted,) = torch.autograd.grad(loss_of(expected, setting["unused"]), y)
    assert relative_error(got, wanted) < 1e-12
    assert torch.equal(image, before)
    assert torch.equal(x.detach(), before)


def test_the_settings_reach_every_branch() -> None:
    """Guards the test above: what is promised there is drawn."""
    settings = [draw_setting(seed) for seed in range(72)]
    inferers = [s["inferer"] for s in settings]
    for key, least in (("with_coord", 5), ("cache_roi_weight_map", 5), ("buffer_steps", 5)):
        assert sum(bool(i.get(key)) for i in inferers) >= least
    assert sum(isinstance(i["roi_size"], list) and None in i["roi_size"] for i in inferers) >= 5
    assert sum(isinstance(i["roi_size"], list) and -1 in i["roi_size"] for i in inferers) >= 5
    larger = [
        i
        for i, s in zip(inferers, settings, strict=True)
        if isinstance(i["roi_size"], list)
        and any((r or 0) > n for r, n in zip(i["roi_size"], s["shape"][2:], strict=True))
    ]
    assert {i["padding_mode"] for i in larger} == {"constant", "replicate", "reflect", "circular"}
    assert {s["answer"] for s in settings} == {"tensor", "tuple", "dict"}
    assert sum(s["unused"] and s["answer"] != "tensor" for s in settings) >= 5


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
def test_signs_in_single_precision(mode: str) -> None:
    """What an L-inf attack takes from it."""
    image, net = rand(1, 2, 24, 24, 24, dtype=torch.float32), Net(3).float()
    monai, ours = (c(8, 4, overlap=0.5, mode=mode) for c in (SlidingWindowInferer, CheckpointedSlidingWindowInferer))
    x = image.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(loss_of(by_autograd(monai, x, net)), x)
    assert float((gradient(ours, image, net).sign() == expected.sign()).float().mean()) > 0.999


def test_one_window_is_the_plain_gradient() -> None:
    image, net = rand(2, 2, 8, 8), Net(2)
    x = image.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(loss_of(net(x)), x)
    assert relative_error(gradient(CheckpointedSlidingWindowInferer(8), image, net), expected) < 1e-12


def test_takes_the_settings_of_another() -> None:
    inferer = SlidingWindowInferer((5, 6), 3, 0.4, "gaussian", cache_roi_weight_map=True)
    ours = CheckpointedSlidingWindowInferer.of(inferer)
    assert type(ours) is CheckpointedSlidingWindowInferer
    assert {name: value for name, value in vars(ours).items() if name != "memory"} == vars(inferer)


def test_metadata() -> None:
    """MONAI types the output of a MetaTensor as float32; the gradient is that of the plain tensor to that rounding."""
    image, net = rand(1, 2, 10, 9), Net(2)
    ours = CheckpointedSlidingWindowInferer(6, overlap=0.5)
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0], dtype=torch.float64))
    meta = MetaTensor(image.clone(), affine=affine).requires_grad_(True)
    output = ours(meta, net)
    with torch.no_grad():
        expected = SlidingWindowInferer(6, overlap=0.5)(MetaTensor(image, affine=affine), net)
    assert isinstance(output, MetaTensor)
    assert (output.dtype, torch.equal(output.affine, affine)) == (expected.dtype, True)
    assert torch.equal(output.as_tensor(), expected.as_tensor())
    (got,) = torch.autograd.grad(loss_of(output.as_tensor()), meta)
    assert relative_error(got.as_tensor(), gradient(ours, image, net)) < 1e-5


class Halves(nn.Module):
    """Answers at half the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net(2)

    def forward(self, window: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(self.net(window), 2)


def test_output_at_another_resolution() -> None:
    image, net = rand(2, 2, 16, 12), Halves()
    monai, ours = (
        c(8, 3, overlap=0.5, mode="gaussian") for c in (SlidingWindowInferer, CheckpointedSlidingWindowInferer)
    )
    x = image.clone().requires_grad_(True)
    expected = by_autograd(monai, x, net)
    assert torch.equal(ours(x, net), expected)
    (wanted,) = torch.autograd.grad(loss_of(expected), x)
    assert relative_error(gradient(ours, image, net), wanted) < 1e-12


@pytest.mark.parametrize("image_too", [False, True])
@pytest.mark.parametrize("wrap", ["module", "lambda", "method", "list"])
def test_parameters_get_their_gradients(wrap: str, image_too: bool) -> None:
    """Also where the network shows no parameters: the first window tells."""
    image, net = rand(2, 2, 10, 9).requires_grad_(image_too), Net(2).requires_grad_(True)
    hidden = [net]
    network: Any = {
        "module": net,
        "lambda": lambda w: net(w),
        "method": net.forward,
        "list": lambda w: hidden[0](w),
    }[wrap]
    inputs = [*net.parameters(), *([image] if image_too else [])]
    monai, ours = (c(6, 2, overlap=0.5) for c in (SlidingWindowInferer, CheckpointedSlidingWindowInferer))
    got = torch.autograd.grad(loss_of(ours(image, network)), inputs)
    wanted = torch.autograd.grad(loss_of(by_autograd(monai, image, net)), inputs)
    for a, b in zip(got, wanted, strict=True):
        assert relative_error(a, b) < 1e-12


@pytest.mark.parametrize(
    "layer", [nn.Dropout(0.5), nn.BatchNorm2d(2), nn.RReLU(), nn.InstanceNorm2d(2, track_running_stats=True)]
)
def test_refuses_a_network_in_train_mode(layer: nn.Module) -> None:
    image, ours = rand(1, 2, 10, 10).requires_grad_(True), CheckpointedSlidingWindowInferer(6)
    net = nn.Sequential(layer, Net(2)).double().train().requires_grad_(False)
    with pytest.raises(ValueError, match=rf"eval mode .* its {type(layer).__name__} is in train mode"):
        ours(image, net)
    with torch.no_grad():
        assert ours(image, net).shape == (1, 3, 10, 10)  # inference has no second pass
    assert ours(image, net.eval()).requires_grad


def test_takes_what_repeats_in_train_mode() -> None:
    net = nn.Sequential(nn.Dropout(0.0), nn.InstanceNorm2d(2), Net(2)).double().train().requires_grad_(False)
    image = rand(1, 2, 10, 10)
    assert torch.equal(
        gradient(CheckpointedSlidingWindowInferer(6), image, net),
        gradient(CheckpointedSlidingWindowInferer(6), image, net.eval()),
    )


def test_notices_randomness_that_no_module_shows() -> None:
    def network(window: Tensor) -> Tensor:
        return torch.nn.functional.dropout(window, 0.5, training=True)

    with pytest.raises(RuntimeError, match="does not repeat its own output"):
        gradient(CheckpointedSlidingWindowInferer(6), rand(1, 2, 10, 10), network)


def test_takes_a_network_whose_kernels_round_otherwise_with_a_graph() -> None:
    """As bfloat16 convolutions do: terms are off by one unit in the last place, and their sum may be close to 0."""

    def network(window: Tensor) -> Tensor:
        last_place = torch.zeros_like(window)
        last_place[..., 0] = 2.0**-8 if window.requires_grad else 0
        return window * (1 + last_place) - 1

    assert gradient(CheckpointedSlidingWindowInferer(6), rand(1, 2, 10, 10) + 1, network).all()


def test_the_forward_pass_without_kept_graphs_is_that_of_monai_in_every_bit() -> None:
    """Where kernels round otherwise with a graph: no window, the first included, is given one."""

    def network(window: Tensor) -> Tensor:
        return window * (1 + 2.0**-8 * window.requires_grad)

    image = rand(1, 2, 16, 8)
    expected = SlidingWindowInferer(8, overlap=0.5)(image, network)
    assert torch.equal(CheckpointedSlidingWindowInferer(8, overlap=0.5)(image.requires_grad_(True), network), expected)


class WithoutGradient(torch.autograd.Function):
    """Rounds; its gradient is not defined, which autograd counts as zero."""

    @staticmethod
    def forward(ctx: Any, window: Tensor) -> Tensor:
        return window.round()

    @staticmethod
    def backward(ctx: Any, *vectors: Tensor) -> None:
        return None


@pytest.mark.parametrize("memory_limit", [0, float("inf")])
def test_windows_whose_gradient_is_not_defined_add_nothing(memory_limit: float) -> None:
    """Dark windows are rounded; voxels that bright windows share with them have the bright ones' gradient."""

    def network(window: Tensor) -> Tensor:
        return torch.tanh(window) if window.detach().mean() > 0 else WithoutGradient.apply(window)

    x = rand(1, 2, 32, 8)
    x[..., 12:, :] -= 2
    x.requires_grad_(True)
    expected = by_autograd(SlidingWindowInferer(8, overlap=0.5), x, network)
    (wanted,) = torch.autograd.grad(loss_of(expected), x)
    ours = CheckpointedSlidingWindowInferer(8, overlap=0.5, memory_limit=memory_limit)
    (got,) = torch.autograd.grad(loss_of(ours(x, network)), x)
    assert relative_error(got, wanted) < 1e-12
    assert got[..., :12, :].all()
    assert not got[..., 16:, :].any()


@pytest.mark.parametrize("sw_batch_size", [1, 3])
def test_a_network_that_returns_its_input_leaves_the_image(sw_batch_size: int) -> None:
    image = rand(1, 2, 10, 10)
    x = image.clone().requires_grad_(True)
    output = CheckpointedSlidingWindowInferer(6, sw_batch_size, overlap=0.5, mode="gaussian")(x, nn.Identity())
    assert torch.equal(x.detach(), image)
    torch.testing.assert_close(output, x)
    (got,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close(got, torch.ones_like(image))


def peaks(inferer: SlidingWindowInferer, length: int, run: Callable[..., Any]) -> tuple[int, int]:
    """Most activations alive at once, and bytes that autograd holds between forward and backward."""
    net, saved = Counting(), 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.numel() * tensor.element_size()
        return tensor

    x = rand(1, 2, length, 8, 8).requires_grad_(True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output = run(inferer, x, net)
        held = saved
        output.sum().backward()
    return net.peak, held


def test_memory_does_not_grow_with_the_windows() -> None:
    ours = CheckpointedSlidingWindowInferer(8, overlap=0.5)
    (few, few_held), (many, many_held) = (peaks(ours, n, lambda i, x, net: i(x, net)) for n in (16, 128))
    assert many == few  # one batch of windows
    volume = 2 * 8 * 8 * 8  # bytes of one slice of the input
    assert many_held <= few_held + (128 - 16) * volume
    (naive_few, _), (naive_many, _) = (peaks(SlidingWindowInferer(8, overlap=0.5), n, by_autograd) for n in (16, 128))
    assert naive_many > 8 * naive_few > 8 * few  # the measure does see what it should
