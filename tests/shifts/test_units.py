"""A parameter does what its unit says, on phantoms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_smia.shifts import (
    Anisotropy,
    Blur,
    Breathing,
    Bubbles,
    Dose,
    FieldOfView,
    HUCalibration,
    KSpaceMotion,
    ReconstructionKernel,
    RigidMotion,
    Shift,
    SliceThickness,
    SmoothDeformation,
    Zoom,
    moved_label,
    moved_points,
)
from monai_smia.shifts.geometry import GeometricShift
from monai_smia.shifts.grid import Grid
from monai_smia.shifts.labels import moved_map


def landmark(grid: Grid, place: list[float], sigma: float = 6.0) -> Tensor:
    """A Gaussian blob at a place in mm from the center."""
    like = torch.zeros((), dtype=torch.float64)
    square = (grid.points(like) - torch.tensor(place, dtype=torch.float64)).square().sum(-1)
    return torch.exp(-square / (2 * sigma**2)).view(1, 1, *grid.shape)


def center(image: Tensor, grid: Grid) -> list[float]:
    """The center of mass in mm from the center."""
    weight = image.flatten() / image.sum()
    return (grid.points(image) * weight[:, None]).sum(0).tolist()


def test_a_rotation_of_three_degrees_moves_a_landmark_by_what_geometry_says() -> None:
    grid = Grid((60, 50), (2.0, 3.0))
    moved = RigidMotion()(landmark(grid, [30.0, 20.0]), [3.0, 0.0, 0.0], spacing=grid.spacing)
    angle = math.radians(3.0)
    expected = [30 * math.cos(angle) - 20 * math.sin(angle), 30 * math.sin(angle) + 20 * math.cos(angle)]
    assert center(moved, grid) == pytest.approx(expected, abs=0.02)
    assert math.dist(expected, [30, 20]) == pytest.approx(2 * math.hypot(30, 20) * math.sin(angle / 2))


@pytest.mark.parametrize("axis", range(3))
def test_a_translation_moves_along_its_own_axis_in_mm_whatever_the_spacing(axis: int) -> None:
    grid = Grid((30, 24, 20), (2.0, 3.0, 4.0))
    values, expected = [0.0] * 6, [5.0, -4.0, 3.0]
    values[3 + axis] = 7.0
    expected[axis] += 7.0
    image = MetaTensor(landmark(grid, [5.0, -4.0, 3.0]), affine=torch.diag(torch.tensor([-2.0, 3.0, 4.0, 1.0])))
    assert center(RigidMotion()(image, values).as_tensor(), grid) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("shift", "values"),
    [
        (RigidMotion(), [5.0, -4.0, 3.0, 2.0, 6.0, -5.0]),
        (Zoom(), [1.08]),
        (SmoothDeformation(), None),
    ],
    ids=["rigid", "zoom", "smooth"],
)
def test_labels_boxes_and_landmarks_move_as_the_image_does(shift: GeometricShift, values: Any) -> None:
    grid = Grid((60, 54, 44), (6.0, 6.0, 7.0))
    given = 2 * shift.at_severity(5, 3, torch.Generator().manual_seed(2)) if values is None else torch.tensor(values)
    given = given.double()[None]
    blob = landmark(grid, [20.0, -10.0, 15.0], sigma=24.0)
    moved = shift(blob, given, spacing=grid.spacing)
    place = torch.tensor([[[20.0, -10.0, 15.0]]], dtype=torch.float64)
    assert center(moved, grid) == pytest.approx(moved_points(shift, place, given, grid)[0, 0].tolist(), abs=0.8)
    label = (blob > 0.4).long()
    expected = shift(label.double(), given, spacing=grid.spacing) > 0.5
    got = moved_label(shift, label, given, grid)
    assert got.dtype == label.dtype
    overlap = 2 * float((got.bool() & expected).sum()) / float(got.sum() + expected.sum())
    unmoved = 2 * float((label.bool() & expected).sum()) / float(label.sum() + expected.sum())
    assert overlap > 0.99
    assert center(got.double(), grid) == pytest.approx(center(expected.double(), grid), abs=0.3)
    assert 1 - overlap < 0.8 * (1 - unmoved), (overlap, unmoved)


def test_boxes_go_with_what_they_hold() -> None:
    grid = Grid((50, 40), (1.0, 1.0))
    picture = torch.zeros(1, 1, 50, 40, dtype=torch.float64)
    picture[..., 10:20, 5:25] = 1
    boxes = [{"boxes": torch.tensor([[10.0, 5.0, 20.0, 25.0]]), "labels": torch.tensor([1])}]
    values = torch.tensor([[0.0, 6.0, -2.0]])
    got = moved_label(RigidMotion(), boxes, values, grid)
    assert got[0]["boxes"].tolist() == [[16.0, 3.0, 26.0, 23.0]]
    held = (RigidMotion()(picture, values, spacing=(1, 1))[0, 0] > 0.5).nonzero()
    assert (held.min(0).values.tolist(), held.max(0).values.tolist()) == ([16, 3], [25, 22])
    assert moved_label(HUCalibration(), boxes, torch.zeros(1, 2), grid) is boxes
    assert torch.equal(moved_label(RigidMotion(), torch.tensor([3]), values, grid), torch.tensor([3]))


def test_a_label_on_another_grid_is_moved_by_the_same_millimeters() -> None:
    grid = Grid((24, 24, 24), (4.0, 4.0, 4.0))
    fine = landmark(Grid((48, 48, 48), (2.0, 2.0, 2.0)), [6.0, -4.0, 2.0], sigma=14.0) > 0.5
    to_image = torch.diag(torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64))
    to_image[:3, 3] = -0.25  # centers of the fine voxels in the coarse ones
    values = torch.tensor([[0.0, 0.0, 0.0, 8.0, 0.0, -6.0]])
    got = moved_map(RigidMotion(), fine.long(), values, grid, to_image)
    assert torch.equal(got, torch.roll(fine.long(), (4, -3), (2, 4)))


def test_a_smooth_deformation_does_not_fold_and_one_that_might_is_refused() -> None:
    shift, grid = SmoothDeformation(), Grid((20, 20, 20), (9.0, 9.0, 9.0))
    values = shift.at_severity(5, 3, torch.Generator().manual_seed(1))[None]
    points = grid.points(torch.zeros((), dtype=torch.float64))[::37].requires_grad_()
    there = shift.sources(points[None], values, grid)[0]
    rows = [torch.autograd.grad(there[:, axis].sum(), points, retain_graph=True)[0] for axis in range(3)]
    assert float(torch.linalg.det(torch.stack(rows, 1)).min()) > 0
    with pytest.raises(ValueError, match=r"^severity must be lower .* 57 x 57 x 57 mm"):
        shift(torch.zeros(1, 1, 20, 20, 20), values[0], spacing=(3.0, 3.0, 3.0))


def test_breathing_moves_slabs_and_nothing_else() -> None:
    volume = torch.arange(24.0).view(1, 1, 1, 1, 24).expand(1, 1, 2, 2, 24).clone()
    shifted = Breathing(slabs=3)(volume, [0.0, 2.0, 0.0], spacing=(1, 1, 1))[0, 0, 0, 0]
    assert shifted[:8].tolist() == pytest.approx(list(range(8)), abs=1e-5)
    assert shifted[8:16].tolist() == pytest.approx(list(range(6, 14)), abs=1e-5)
    assert shifted[16:].tolist() == pytest.approx(list(range(16, 24)), abs=1e-5)


@pytest.mark.parametrize("share", [50.0, 25.0])
def test_noise_grows_with_the_inverse_root_of_the_dose(share: float) -> None:
    """An image that has the noise of full dose: at 25 % its noise has doubled, to 5 %."""
    water = torch.full((1, 1, 64, 64), -1000.0, dtype=torch.float64)
    grid = Grid((64, 64), (5.0, 5.0))
    disc = (grid.points(water).norm(dim=-1) < 130).view(64, 64)
    water[..., disc] = 0
    homogeneous = (grid.points(water).norm(dim=-1) < 100).view(64, 64)
    ratios = []
    for seed in range(3):
        full = water + Dose(seed=100 + seed).full_dose_noise(water, grid)
        low = Dose(seed=seed)(full, [share], spacing=grid.spacing)
        ratios.append(float(low[..., homogeneous].std() / full[..., homogeneous].std()))
    assert sum(ratios) / 3 == pytest.approx((share / 100) ** -0.5, rel=0.05)


def test_full_dose_has_the_noise_that_was_asked_for() -> None:
    water = torch.zeros(1, 1, 48, 48, 3)
    noise = Dose(noise=15.0).full_dose_noise(water, Grid((48, 48, 3), (6.0, 6.0, 5.0)))
    assert float(noise.square().mean().sqrt()) == pytest.approx(15.0, rel=1e-3)
    assert abs(float(torch.corrcoef(torch.stack([noise[..., 0].flatten(), noise[..., 1].flatten()]))[0, 1])) < 0.1


def test_an_image_that_is_written_to_has_its_own_noise() -> None:
    """What is kept of the last image is not taken for another."""
    image = torch.zeros(1, 1, 24, 24)
    before = Dose()(image, [25.0], spacing=(8, 8)) - image
    image[..., :8] = 1500
    after = Dose()(image, [25.0], spacing=(8, 8)) - image
    assert not torch.allclose(before, after, atol=0.5)
    fresh = image.clone()
    torch.testing.assert_close(Dose()(fresh, [25.0], spacing=(8, 8)) - fresh, after, atol=1e-3, rtol=1e-3)


def test_hounsfield_units() -> None:
    image = torch.tensor([[[[-1000.0, 0.0, 1000.0]]]])
    assert HUCalibration()(image, [7.0, 1.0]).flatten().tolist() == pytest.approx([-1003.0, 7.0, 1017.0])


def test_widths_are_millimeters() -> None:
    """A point blurred to 4 mm at half maximum; a step averaged over 6 mm; a wave of .4 line pairs halved."""
    grid = Grid((64,) * 2, (0.5, 0.5))
    point = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    point[..., 32, 32] = 1
    line = Blur()(point, [4.0], spacing=grid.spacing)[0, 0, 32]
    assert float(line[36] / line[32]) == pytest.approx(0.5, abs=1e-3)
    step = torch.zeros(1, 1, 1, 1, 64, dtype=torch.float64)
    step[..., 32:] = 1
    ramp = SliceThickness()(step, [6.0], spacing=(1, 1, 0.5))[0, 0, 0, 0]
    assert float(ramp[32 - 7]) == pytest.approx(0, abs=0.05)
    assert float(ramp[32 + 6]) == pytest.approx(1, abs=0.05)
    assert float(ramp[28]) == pytest.approx(0.5 - 3.5 / 12, abs=0.05)
    place = torch.arange(80, dtype=torch.float64) + 0.5
    wave = (2 * math.pi * 0.4 * place * 0.625).cos()[None, None, :, None].expand(1, 1, 80, 8)
    halved = ReconstructionKernel()(wave, [-50.0], spacing=(0.625, 0.625))
    torch.testing.assert_close(halved[..., 30:50, :], 0.5 * wave[..., 30:50, :], atol=1e-2, rtol=0)


def test_a_smaller_field_of_view_cuts_its_millimeters_off_at_every_side() -> None:
    image = torch.zeros(1, 1, 12, 8, 2, dtype=torch.float64)
    seen = FieldOfView()(image, [5.0], spacing=(2.0, 4.0, 9.0))
    assert seen[0, 0, :, 4, 0].tolist() == pytest.approx([-1000, -1000, -500, 0, 0, 0, 0, 0, 0, -500, -1000, -1000])
    assert seen[0, 0, 6, :, 1].tolist() == pytest.approx([-1000, -250, 0, 0, 0, 0, -250, -1000])


def test_thick_slices_halve_the_wave_of_which_they_hold_what_sinc_says() -> None:
    """A wave of 16 slices: of slices 8 times as thick the amplitude is sinc(1/2) over that of the own slices."""
    place = torch.arange(64, dtype=torch.float64) + 0.5
    wave = (2 * math.pi * place / 16).cos().expand(1, 1, 2, 2, 64)
    expected = math.sin(math.pi / 2) / (math.pi / 2) / (math.sin(math.pi / 16) / (math.pi / 16))
    seen = Anisotropy()(wave, [8.0], spacing=(1.0, 1.0, 3.0))
    torch.testing.assert_close(seen, expected * wave, atol=1e-6, rtol=0)


def test_rims_of_bubbles_reach_the_share_of_white_that_is_asked_for() -> None:
    seen = Bubbles(span=(0.0, 1.0))(torch.full((1, 3, 128, 128), 0.2), [50.0])
    assert float(seen.max()) == pytest.approx(0.2 + 0.5 * 0.8, abs=0.01)
    assert float((seen > 0.25).float().mean()) < 0.3


@pytest.mark.parametrize(("cycles", "segment"), [(3, 0), (8, 1), (15, 2), (21, 3)])
def test_what_a_segment_of_k_space_holds_is_moved_by_its_own_length(cycles: int, segment: int) -> None:
    """Waves along the phase-encoding axis, which one segment alone holds; that of the center was taken at rest."""
    blob = landmark(Grid((1, 32), (1.0, 2.0)), [0.0, 0.0], sigma=5.0)
    wave = (2 * math.pi * cycles * torch.arange(48, dtype=torch.float64) / 48).cos().view(1, 1, 48, 1)
    lengths = [4.0, 6.0, 10.0]
    moved = KSpaceMotion(segments=3)(wave * blob, [v for n in lengths for v in (0.0, n)], spacing=(2.0, 2.0))
    pixels = round([0.0, *lengths][segment] / 2)
    torch.testing.assert_close(moved, wave * torch.roll(blob, pixels, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shift", [RigidMotion(lengths="%"), Blur(lengths="%")], ids=["rigid", "blur"])
def test_per_cent_are_of_the_shorter_side(shift: Shift) -> None:
    assert shift.grid(torch.zeros(1, 3, 200, 400)).spacing == (0.5, 0.5)


@pytest.mark.parametrize(
    ("shift", "values", "told"),
    [
        (RigidMotion(), [0, 3.1, 0, 1.2, 1.6, 0], "rotation 3.1 degrees, translation 2 mm"),
        (RigidMotion(lengths="%"), [-3.1, 3.0, 4.0], "rotation -3.1 degrees, translation 5 %"),
        (Breathing(), [12.0, -12.0, 3.0, 0.0], "breathing up to 12 mm"),
        (Dose(), [40.0], "dose 40 %"),
        (SmoothDeformation(), [1.0, -2.0, 0.5, 0.5, 0, 0, 0, 0], "deformation up to 4 mm"),
    ],
)
def test_parameters_as_one_says_them(shift: Shift, values: list[float], told: str) -> None:
    assert shift.describe(values, {6: 3, 3: 2, 4: 3, 1: 3, 8: 2}[len(values)]) == told
