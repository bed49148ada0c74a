"""Shared by all storages: the protocol, whole stored units, and the writing of files in pairs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from monai_smia.storage.l2 import within_l2


class BelowOneUnitError(ValueError):
    """A radius is less than one unit that the file can hold: nothing of it could be stored."""


class NotStorableError(ValueError):
    """What an image is no file of this storage can hold: the case has no stored rows."""


@runtime_checkable
class Storage(Protocol):
    """Adversarial images as files."""

    def write(
        self, image: Tensor, adversarial: Tensor, *, eps: float, source: Any, stem: str, norm: str = "linf"
    ) -> Path:
        """Write an adversarial image ``(C, *spatial)`` within eps of its source; every file begins with the stem.

        Args:
            image: clean image ``(C, *spatial)``.
            adversarial: of the same shape.
            eps: radius in the image's unit.
            source: file (or files) of the clean image; only read.
            stem: beginning of the files' names.
            norm: that eps is a radius of, ``"linf"`` or ``"l2"``; named where it is not the former.

        Returns:
            The path of the adversarial image.

        Raises:
            ValueError: if the image is not what the source holds.
            BelowOneUnitError: if eps is less than one unit of the file.
        """

    def read(self, path: Any) -> Tensor:
        """The image ``(C, *spatial)`` as the pipeline reads it."""


class StorageBySource(ABC):
    """Hands every case to the storage of its source's format."""

    @abstractmethod
    def of(self, source: Any) -> Any:
        """The storage of a case."""

    @property
    @abstractmethod
    def plain(self) -> Any:
        """The storage whose files hold any image of their shape: what it refuses is wrong, not only not storable."""

    def write(
        self, image: Tensor, adversarial: Tensor, *, eps: float, source: Any, stem: str, norm: str = "linf"
    ) -> Path:
        """As `Storage.write`.

        Raises:
            NotStorableError: if nothing can be derived from the source, as from one that is not de-identified.
        """
        storage = self.of(source)
        try:
            path: Path = storage.write(image, adversarial, eps=eps, source=source, stem=stem, norm=norm)
        except (BelowOneUnitError, NotStorableError):
            raise
        except ValueError as error:
            if storage is self.plain:
                raise
            raise NotStorableError(str(error)) from error
        return path

    def read(self, path: Any) -> Tensor:
        """The image ``(C, *spatial)`` as a pipeline reads it."""
        image: Tensor = self.of(path).read(path)
        return image


class FolderStorage(ABC):
    """A storage of single files in one folder: an adversarial image and its perturbation beside it.

    Args:
        folder: where to write; made if it does not exist.
    """

    suffix: str

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records: not where they are written, or what lies there."""
        return {name: value for name, value in vars(self).items() if name != "folder"}

    def write(
        self, image: Tensor, adversarial: Tensor, *, eps: float, source: Any, stem: str, norm: str = "linf"
    ) -> Path:
        """Write ``<stem>_adversarial`` and ``<stem>_perturbation``, see `Storage.write`."""
        pair = f"{stem}_adversarial{self.suffix}", f"{stem}_perturbation{self.suffix}"
        return self.write_as(*pair, image, adversarial, eps=eps, source=source, norm=norm)

    def write_as(
        self,
        name: str,
        perturbation: str,
        image: Tensor,
        adversarial: Tensor,
        *,
        eps: float,
        source: Any,
        norm: str = "linf",
    ) -> Path:
        """Write an adversarial image and its perturbation under names of one's own.

        Args:
            name, perturbation: of the two files, within the folder.
            image, adversarial, eps, source, norm: as for `Storage.write`.
        """
        adversarial_file, perturbation_file = self._encode(image, adversarial, eps=eps, source=source, norm=norm)
        self._save(perturbation_file, self.folder / perturbation)
        self._save(adversarial_file, self.folder / name)
        return self.folder / name

    @abstractmethod
    def read(self, path: str | os.PathLike[str]) -> Tensor:
        """The image ``(C, *spatial)`` in its unit."""

    @abstractmethod
    def _encode(self, image: Tensor, adversarial: Tensor, *, eps: float, source: Any, norm: str) -> tuple[Any, Any]:
        """The contents of both files; nothing is written yet."""

    @abstractmethod
    def _save(self, content: Any, path: Path) -> None:
        """Write one file, marked as adversarial, complete or not at all."""


def check_grid(shape: Sequence[int], source: str | os.PathLike[str], grid: Sequence[int], mend: str) -> None:
    """Refuse an image that is not on the grid of its source.

    Raises:
        ValueError: with what to do.
    """
    if tuple(shape) != tuple(grid):
        raise ValueError(
            f"image {tuple(shape)} must be on the grid of its source {Path(source).name} {tuple(grid)}{mend}"
        )


def whole_units(eps: float, unit: float, slack: float = 1e-12) -> int:
    """How many stored units fit into eps, in exact arithmetic on the decimals as written (0.3 / 0.1 is 3).

    What is missing by less than the slack, a share of eps, is the rounding of eps itself (129/255 holds 129 times
    1/255) or of the unit, which some files hold in float32.

    Raises:
        BelowOneUnitError: if there is not one; the smallest eps that works is named.
    """
    count = int(Fraction(str(float(eps))) / abs(Fraction(str(float(unit)))) * (1 + Fraction(slack)))
    if count < 1:
        least = f"{abs(unit):g}" if float(f"{abs(unit):g}") >= abs(unit) else repr(abs(float(unit)))
        raise BelowOneUnitError(
            f"eps={eps:g} is less than one stored unit: storage would undo it; use at least {least}."
        )
    return count


def each_units(eps: Sequence[float], unit: float, slack: float = 1e-12) -> np.ndarray:
    """How many stored units fit into each radius; none where it is less than one.

    Raises:
        BelowOneUnitError: if it is so of all of them.
    """
    counts, below = [], []
    for radius in eps:
        try:
            counts.append(whole_units(radius, unit, slack))
        except BelowOneUnitError as error:
            counts.append(0)
            below.append(error)
    if len(below) == len(counts):
        raise below[0]
    return np.array(counts)


def add_whole_units(
    stored: np.ndarray,
    delta: np.ndarray,
    *,
    eps: Any,
    unit: float,
    limits: tuple[int, int],
    norm: str = "linf",
    slack: float = 1e-12,
) -> np.ndarray:
    """Stored integers plus a perturbation, in integers: ``stored + clip(rint(delta / unit), -k, k)``, k units in eps.

    In L2, so many of them go back a unit that the norm of the change is at most eps (`within_l2`).

    Args:
        stored: integers.
        delta: perturbation of the same shape in the image's unit.
        eps: radius in the image's unit; in L-inf also one for each place of the last axis, the channels of a file.
        unit: the image's unit per stored unit.
        limits: lowest and highest integer that can be stored; what would leave them stops there.
        norm: ``"linf"`` or ``"l2"``.
        slack: share of eps that is the rounding of eps or of the unit.

    Raises:
        BelowOneUnitError: if eps is less than one stored unit.

    Example:
        >>> add_whole_units(np.array([10, 10, 255]), np.array([1.3, 0.2, 9.0]), eps=1.3, unit=0.5, limits=(0, 255))
        array([ 12,  10, 255])
    """
    bound: Any = whole_units(eps, unit, slack) if isinstance(eps, (int, float)) else each_units(eps, unit, slack)
    change = np.clip(np.rint(delta.astype(np.float64) / unit), -bound, bound).astype(np.int64)
    stored = stored.astype(np.int64)
    after = np.clip(stored + change, *limits)
    return after if norm == "linf" else stored + within_l2(after - stored, delta, unit, eps)
