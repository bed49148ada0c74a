"""MONAI's windows around points: its values where it defines them, and the gradient of plain autograd of their sum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bundles.vista import vista3d
from monai.apps.vista3d.inferer import point_based_window_inferer
from torch import Tensor, nn
from torch.nn import functional as F
from window_helpers import Counting, Net, rand, relative_error

from monai_smia.inferers import point_windows, restrict_gradient
from monai_smia.inferers.points import OUTSIDE, monai_point_windows


class Clicked(nn.Module):
    """Answers by its window, by where the window lies and by the points, with their labels."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net(3)

    def forward(self, window: Tensor, *, point_coords: Tensor, point_labels: Tensor, **prompt: Any) -> Tensor:
        corner = [s.start for s in prompt["patch_coords"][0][2:]]
        found = self.net(window)[:, :1] * (1 + point_labels.sum() / 10)
        return found + 0.01 * (point_coords[0, 0] - torch.tensor(corner)).sum()


CASES = {  # shape, window, points, further arguments
    "one point": ((14, 13, 12), (6, 6, 6), [[7, 6, 5]], {}),
    "windows that overlap": ((14, 13, 12), (6, 6, 6), [[5, 5, 5], [7, 6, 5], [6, 9, 8]], {}),
    "odd windows at the borders": ((14, 13, 12), (5, 7, 6), [[0, 12, 11], [13, 1, 0], [7, 7, 7]], {}),
    "a window larger than the image": ((5, 13, 4), (8, 6, 7), [[2, 6, 3], [4, 12, 0]], {}),
    "three windows an axis": ((24, 20, 18), (8, 8, 8), [[12, 10, 9]], {"center_only": False, "margin": 2}),
    "the second point alone": ((14, 13, 12), (6, 6, 6), [[5, 5, 5], [9, 9, 8]], {"point_start": 1}),
    "even windows": ((14, 13, 12), (8, 8, 8), [[5, 5, 5], [8, 9, 8]], {}),
    "between voxels": ((14, 13, 12), (6, 6, 6), [[5.3, 6.8, 4.6]], {}),
}


def called(name: str, inferer: Any, image: Tensor, network: Any, **more: Any) -> Any:
    _, window, points, options = CASES[name]
    coords, labels = torch.tensor([points]).double(), torch.ones(1, len(points))
    labels[0, 0] = 0
    return inferer(
        inputs=image,
        roi_size=window,
        predictor=network,
        point_coords=coords,
        point_labels=labels,
        transpose=True,
        **options,
        **more,
    )


def summed(name: str, image: Tensor, network: Any) -> tuple[Tensor, Tensor]:
    """The windows of MONAI by plain autograd, and where they lie; taken down from MONAI's calls alone."""
    found: list[dict[str, Any]] = []

    def note(window: Tensor, **prompt: Any) -> Tensor:
        found.append(prompt)
        return window

    called(name, point_based_window_inferer, image.detach(), note)
    missing = [max(w - s, 0) for w, s in zip(CASES[name][1], image.shape[2:], strict=True)]
    padding = [amount for m in reversed(missing) for amount in (m // 2, m - m // 2)]
    padded = F.pad(image, padding)
    total: Any = 0
    for prompt in found:
        place = prompt["patch_coords"][0]
        ends = reversed(list(zip(place[2:], padded.shape[2:], strict=True)))
        around = [amount for s, size in ends for amount in (s.start, size - s.stop)]
        answer = network(padded[place], **prompt)
        total = total + torch.stack([F.pad(answer, around), F.pad(torch.ones_like(answer), around)])
    inside = tuple(slice(m // 2, m // 2 + s) for m, s in zip(missing, image.shape[2:], strict=True))
    values, count = total[(..., *inside)]
    return values, count > 0


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_monai_and_the_gradient_is_exact(name: str) -> None:
    network, image = Clicked(), rand(1, 2, *CASES[name][0])
    first, second = image.clone().requires_grad_(True), image.clone().requires_grad_(True)
    ours, (theirs, where) = called(name, point_windows, first, network), summed(name, second, network)
    assert relative_error(ours[where].detach(), theirs[where].detach()) < 1e-12
    assert bool((ours[~where] == OUTSIDE).all())
    with torch.no_grad():
        assert torch.equal(called(name, point_windows, image, network), ours)
    weights = rand(*ours.shape)
    (found,) = torch.autograd.grad((ours.square() * weights)[where].sum(), first)
    (wanted,) = torch.autograd.grad((theirs.square() * weights)[where].sum(), second)
    assert bool(wanted.any())
    assert relative_error(found, wanted) < 1e-10

    monai = called(name, point_based_window_inferer, image, network).as_tensor()
    assert torch.equal(monai.isnan(), ~where)
    assert relative_error(ours[where].detach(), monai[where]) < 1e-6  # MONAI sums in float32
    (again, covered) = called(name, monai_point_windows, image, network)
    assert torch.equal(covered, where)
    assert torch.equal(again[where], monai[where])


def test_monai_itself_gives_no_gradient() -> None:
    """The reason for all this; it may be mended one day."""
    image = rand(1, 2, 14, 13, 12).requires_grad_(True)
    called("one point", point_based_window_inferer, image, Clicked()).nansum().backward()
    assert image.grad is None


def test_a_previous_mask_stands_beside_the_windows() -> None:
    network, image = Clicked(), rand(1, 2, *CASES["one point"][0])
    previous = rand(1, 1, *image.shape[2:]).float()
    ours = called("one point", point_windows, image, network, prev_mask=previous)
    monai = called("one point", point_based_window_inferer, image, network, prev_mask=previous)
    assert relative_error(ours, monai) < 1e-6
    where = ours != previous
    assert 0 < int(where.sum()) <= 6**3
    again, covered = called("one point", monai_point_windows, image, network, prev_mask=previous)
    assert torch.equal(again, monai)
    assert bool(covered.all())


@pytest.mark.parametrize("class_vector", [None, torch.tensor([[3]])], ids=["points", "points and class"])
def test_vista3d_itself(class_vector: Any) -> None:
    """MONAI's own network, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = vista3d().double().eval().requires_grad_(False)
    network.point_head.pe_layer.float()  # MONAI takes coordinates as float32

    def prompted(window: Tensor, **given: Any) -> Tensor:
        answer: Tensor = network(window, **{**given, "class_vector": class_vector})
        return answer

    image = rand(1, 1, *CASES["even windows"][0])
    first, second = image.clone().requires_grad_(True), image.clone().requires_grad_(True)
    ours, (theirs, where) = (
        called("even windows", point_windows, first, prompted),
        summed("even windows", second, prompted),
    )
    assert relative_error(ours[where].detach(), theirs[where].detach()) < 1e-12
    (found,) = torch.autograd.grad(ours[where].square().sum(), first)
    (wanted,) = torch.autograd.grad(theirs[where].square().sum(), second)
    assert relative_error(found, wanted) < 1e-10


def test_memory_is_that_of_one_window() -> None:
    network = Counting()
    image = rand(1, 2, 24, 24, 24).requires_grad_(True)
    points = torch.tensor([[[6, 6, 6], [18, 18, 18], [6, 18, 6], [18, 6, 18]]])
    point_windows(image, (8, 8, 8), lambda window, **_: network(window), points, torch.ones(1, 4)).sum().backward()
    assert network.peak <= 2 * 3 * 8**3


def test_a_region_runs_its_windows_alone() -> None:
    asked: list[Any] = []

    def network(window: Tensor, **prompt: Any) -> Tensor:
        asked.append(prompt["patch_coords"][0][2])
        return window.square()

    image = rand(1, 1, 24, 8, 8).requires_grad_(True)
    region = torch.zeros_like(image, dtype=torch.bool)
    region[:, :, :8] = True
    points = torch.tensor([[[4, 4, 4], [20, 4, 4]]])
    logits = point_windows(restrict_gradient(image, region), (8, 8, 8), network, points, torch.ones(1, 2))
    assert asked == [slice(0, 8), slice(16, 24)]
    logits.sum().backward()
    assert asked[2:] == [slice(0, 8)]
    assert image.grad is not None
    assert torch.equal(image.grad[:, :, :8], 2 * image[:, :, :8])
    assert not image.grad[:, :, 8:].any()


def test_what_it_refuses() -> None:
    points, labels = torch.tensor([[[4, 4, 4]]]), torch.ones(1, 1)
    image = rand(1, 2, 8, 8, 8).requires_grad_(True)
    with pytest.raises(ValueError, match="one image, for its points are of one, got a batch of 2"):
        point_windows(torch.cat([image, image]), (8, 8, 8), Net(3), points, labels)
    with pytest.raises(ValueError, match="Only supports single object point click"):
        point_windows(image, (8, 8, 8), Net(3), points.repeat(2, 1, 1), labels)
    with pytest.raises(ValueError, match="must keep the size of a window, \\(8, 8, 8\\), got \\(4, 4, 4\\)"):
        point_windows(image, (8, 8, 8), lambda w, **_: F.avg_pool3d(w, 2), points, labels)
    network = nn.Conv3d(2, 1, 1).double()
    with pytest.raises(ValueError, match="parameters must need no gradient"):
        point_windows(image, (8, 8, 8), lambda w, **_: network(w), points, labels)
