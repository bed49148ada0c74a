"""Labels, boxes and landmarks, moved by the parameters that moved the image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from monai_smia.shifts.base import Shift
from monai_smia.shifts.chain import ShiftChain
from monai_smia.shifts.grid import Grid, sample


def moved_map(shift: Shift, label: Tensor, values: Tensor, grid: Grid, to_image: Tensor | None = None) -> Tensor:
    """A label map moved by a shift; background comes in from outside.

    Every class is interpolated linearly, as the image is, and the largest share decides: the nearest neighbor makes
    small structures smaller.

    Args:
        shift: that moved the image.
        label: classes ``(B, 1, *spatial)``, or 0 and 1 for each of several ``(B, K, *spatial)``.
        values: of the shift ``(B, P)``.
        grid: of the image.
        to_image: matrix ``(dims + 1, dims + 1)`` from the label's voxels to the image's; None where they are the same.
    """
    if not shift.geometric:
        return label
    dims = label.ndim - 2
    axes = [torch.arange(n, dtype=torch.float64, device=label.device) for n in label.shape[2:]]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)
    matrix = torch.eye(dims + 1) if to_image is None else to_image
    matrix = matrix.to(index)
    there = grid.point(index @ matrix[:dims, :dims].T + matrix[:dims, dims]).expand(len(label), -1, -1)
    sources = grid.index(shift.sources(there, values.detach().to(there), grid))
    back = (sources - matrix[:dims, dims]) @ torch.linalg.inv(matrix[:dims, :dims]).T
    if label.shape[1] > 1:
        return (sample(label.double(), back, padding="zeros").view_as(label) > 0.5).to(label.dtype)
    moved, most, others = (torch.zeros(label.shape, dtype=torch.float64, device=label.device) for _ in range(3))
    for number in label.unique().tolist():
        if number == 0:
            continue
        share = sample((label == number).double(), back, padding="zeros").view_as(moved)
        moved, most, others = torch.where(share > most, number, moved), torch.maximum(most, share), others + share
    return torch.where(most > 1 - others, moved, 0).to(label.dtype)


def moved_points(shift: Shift, points: Tensor, values: Tensor, grid: Grid, *, rounds: int = 30) -> Tensor:
    """Where landmarks are seen after a shift, by fixed-point iteration of `Shift.sources`; of a chain shift by shift.

    Args:
        shift: that moved the image; continuous, or an involution.
        points: ``(B, N, dims)`` before it, in units of length from the image's center.
        values: ``(B, P)``.
        grid: of the image.
        rounds: of the iteration.
    """
    if not shift.geometric:
        return points
    if isinstance(shift, ShiftChain):
        for part, own in shift.parts(values, len(grid.shape)):
            points = moved_points(part, points, own, grid, rounds=rounds)
        return points
    if shift.involution:  # the iteration would run away
        return shift.sources(points, values, grid)
    found = points
    for _ in range(rounds):
        found = found + (points - shift.sources(found, values, grid))
    return found


def moved_boxes(shift: Shift, boxes: Tensor, values: Tensor, grid: Grid) -> Tensor:
    """Boxes ``(N, 2 * dims)`` (low corner, high corner, in voxels) around where their corners went, in the image.

    Args:
        shift: that moved the image.
        boxes: before it.
        values: ``(1, P)``.
        grid: of the image.
    """
    if not shift.geometric or not len(boxes):
        return boxes
    dims = len(grid.shape)
    low, high = boxes[:, :dims].double(), boxes[:, dims:].double()
    choice = torch.cartesian_prod(*[torch.arange(2)] * dims).to(boxes.device).view(-1, 1, dims)
    corners = torch.where(choice == 1, high, low)  # (2 ** dims, N, dims)
    points = grid.point(corners.flatten(0, 1) - 0.5)[None]  # edges of voxels lie half a voxel before their centers
    moved = grid.index(moved_points(shift, points, values.detach().to(points), grid))[0] + 0.5
    moved = moved.view_as(corners)
    limit = torch.tensor(grid.shape).to(moved)
    ends = [moved.amin(0).clamp_min(0).minimum(limit), moved.amax(0).clamp_min(0).minimum(limit)]
    return torch.cat(ends, 1).to(boxes)


def moved_label(shift: Shift, label: Any, values: Tensor, grid: Grid) -> Any:
    """A label of any task on the image's grid, moved: a map, or boxes; a class stays.

    Args:
        shift: that moved the image.
        label: as a victim takes it, on the image's own grid.
        values: ``(B, P)``.
        grid: of the image.
    """
    if not shift.geometric:
        return label
    if isinstance(label, (list, tuple)):
        return [_moved_entry(shift, each, values[n : n + 1], grid) for n, each in enumerate(label)]
    if isinstance(label, Tensor) and label.ndim == len(grid.shape) + 2:
        return moved_map(shift, label, values, grid)
    return label


def _moved_entry(shift: Shift, entry: dict[str, Tensor], values: Tensor, grid: Grid) -> dict[str, Tensor]:
    """The boxes of one image, without those of which less than a pixel is left in it."""
    boxes = moved_boxes(shift, entry["boxes"], values, grid)
    dims = len(grid.shape)
    seen = (boxes[:, dims:] - boxes[:, :dims] >= 1).all(1)
    found = {**entry, "boxes": boxes}
    return {name: value[seen] if len(value) == len(seen) else value for name, value in found.items()}
