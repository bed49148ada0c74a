"""What a product is asked so that a surrogate can learn from its answers: its cases, clean and under block noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_smia.adapters.product.asking import Asking
from monai_smia.adapters.product.queries import Source

LEAST = 5  # queries to distil from, of which every fifth is held out


def check_queries(queries: int) -> None:
    """Raise where there are too few queries to hold one out.

    Raises:
        ValueError: with their number.
    """
    if queries < LEAST:
        raise ValueError(f"distil must be a number of queries >= {LEAST}, or 0, got {queries!r}.")


def block_noise(shape: Sequence[int], block: int, generator: torch.Generator) -> np.ndarray:
    """Plus or minus one, float32, alike in blocks of so many voxels a side; 0 for one sign of the whole image.

    Args:
        shape: of the noise.
        block: voxels of a side.
        generator: of the CPU.

    Example:
        >>> noise = block_noise((4, 4), 2, torch.Generator().manual_seed(0))
        >>> bool((noise[:2, :2] == noise[0, 0]).all()), np.unique(noise).tolist()
        (True, [-1.0, 1.0])
    """
    size = block or max(shape)
    coarse = torch.randint(0, 2, [1 + (n - 1) // size for n in shape], generator=generator) * 2 - 1
    for axis in range(coarse.ndim):
        coarse = coarse.repeat_interleave(size, axis)
    return coarse[tuple(slice(n) for n in shape)].numpy().astype(np.float32)


def asked_pairs(
    asking: Asking,
    cases: Sequence[Mapping[str, Any]],
    queries: int,
    wanted: Callable[[Source, torch.Generator | None], tuple[np.ndarray, np.ndarray]],
    *,
    seed: int,
    kept: Callable[[Tensor], Tensor] = lambda image: image,
) -> list[tuple[Tensor, np.ndarray]]:
    """Images, and the product's answers to them: every case as it is, and then under noise, all cases alike often.

    Args:
        asking: of the product.
        cases: as `find_cases` gives them.
        queries: how many.
        wanted: of a case's source: stored values to ask about, and the image to learn from. It is given a generator
            where noise is wanted, else None.
        seed: of the noise.
        kept: of an image, what is kept of it.

    Raises:
        AnswerError: if the product has no answer to one.
    """
    found: dict[int, tuple[Tensor, np.ndarray]] = {}
    for first, item in enumerate(cases[:queries]):
        source = asking.open(item["image"], str(item["case"]))
        numbers = list(range(first, queries, len(cases)))
        for start in range(0, len(numbers), asking.jobs):
            chunk = numbers[start : start + asking.jobs]
            drawn = [wanted(source, None if n < len(cases) else _generator(seed, n)) for n in chunk]
            images = [kept(torch.from_numpy(np.asarray(image, np.float32))) for _, image in drawn]
            found |= zip(chunk, zip(images, asking.answers([stored for stored, _ in drawn]), strict=True), strict=True)
    return [found[n] for n in range(queries)]


def _generator(seed: int, number: int) -> torch.Generator:
    """Of one query."""
    return torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)
