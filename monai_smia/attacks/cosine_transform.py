"""The orthonormal cosine transform of images, whole or in blocks, as products with small matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor


@cache
def _matrix(size: int) -> Tensor:
    place = (torch.arange(size, dtype=torch.float64) + 0.5) * math.pi / size
    rows = torch.cos(torch.arange(size, dtype=torch.float64)[:, None] * place) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows


def cosine_matrix(size: int, like: Tensor) -> Tensor:
    """DCT-II, orthonormal ``(size, size)``: the first row is the mean, times the root of the size.

    Example:
        >>> cosine_matrix(2, torch.ones(1)).round(decimals=3)
        tensor([[ 0.7070,  0.7070],
                [ 0.7070, -0.7070]])
    """
    return _matrix(size).to(like)


def along_axes(values: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Every one of the last axes times its matrix: ``y_i = sum_j m_ij x_j``.

    Args:
        values: ``(..., *sizes)``.
        matrices: one for each of the last axes, ``(new size, size)``.
    """
    for axis, matrix in enumerate(matrices, values.ndim - len(matrices)):
        values = torch.movedim(torch.movedim(values, axis, -1) @ matrix.T, -1, axis)
    return values


def blocks_of(image: Tensor, size: int) -> Tensor:
    """The image in blocks ``(B, C, blocks, *[size])``, its border repeated where they do not fit.

    Args:
        image: ``(B, C, *spatial)``, of two or three spatial axes.
        size: of a block along every axis.
    """
    dims = image.ndim - 2
    for axis in range(2, 2 + dims):  # the border may be repeated more often than the image is long
        more = -image.shape[axis] % size
        border = image.narrow(axis, image.shape[axis] - 1, 1)
        image = torch.cat([image, border.repeat_interleave(more, axis)], axis)
    split = [part for n in image.shape[2:] for part in (n // size, size)]
    order = [0, 1, *range(2, 2 + 2 * dims, 2), *range(3, 2 + 2 * dims, 2)]
    return image.reshape(*image.shape[:2], *split).permute(order).flatten(2, 1 + dims)


def image_of(blocks: Tensor, shape: Sequence[int], size: int) -> Tensor:
    """The image of blocks, without what was added to its border: the inverse of `blocks_of`.

    Args:
        blocks: ``(B, C, blocks, *[size])``.
        shape: of the image.
        size: of a block along every axis.
    """
    dims = blocks.ndim - 3
    counts = [-(-n // size) for n in shape[2:]]
    order = [0, 1, *[place for axis in range(dims) for place in (2 + axis, 2 + dims + axis)]]
    whole = blocks.reshape(*blocks.shape[:2], *counts, *[size] * dims).permute(order)
    whole = whole.reshape(*blocks.shape[:2], *[n * size for n in counts])
    for axis, n in enumerate(shape[2:], 2):
        whole = whole.narrow(axis, 0, n)
    return whole


def transformed(blocks: Tensor, *, inverse: bool = False) -> Tensor:
    """The cosine transform of every block.

    Args:
        blocks: ``(B, C, blocks, *[size])``.
        inverse: back to the image instead.
    """
    matrix = cosine_matrix(blocks.shape[-1], blocks)
    return along_axes(blocks, [matrix.T if inverse else matrix] * (blocks.ndim - 3))
