"""Which cases of a dataset a run takes: a split that it names, or patients held out where it names none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from monai.data import partition_dataset_classes

ALL = "all"
TRAIN, TEST = "train", "test"


class Listed(Protocol):
    """What a layout says of a case."""

    @property
    def image(self) -> Path:
        """Its image, whose name stands for a patient who is not named."""
        ...

    @property
    def split(self) -> str:
        """The split that the dataset puts it into; empty where it names none."""
        ...

    @property
    def carried(self) -> Mapping[str, Any]:
        """What else is known, such as the ``patient``."""
        ...


Case = TypeVar("Case", bound=Listed)


def of_split(
    cases: Sequence[Case], split: str | None, *, where: Path, held_out: float | None = None, seed: int = 0
) -> list[Case]:
    """The cases of a split, or the patients that are held out (``"test"``) or kept (``"train"``), in their order.

    Args:
        cases: of the whole dataset.
        split: a split that the dataset names; ``"all"`` or None for every case.
        where: the dataset, for messages.
        held_out: share of the patients in ``"test"``, for a dataset that names no splits.
        seed: by which they are drawn. Whoever trains and whoever evaluates give the same share and seed.

    Raises:
        ValueError: if the split is not there, `held_out` is no share or does not apply, or there is one patient alone.

    Example:
        >>> from typing import NamedTuple
        >>> class Eye(NamedTuple):
        ...     image: Path
        ...     split: str
        ...     carried: dict
        >>> eyes = [Eye(Path(f"{p}_{side}.png"), "", {"patient": p}) for p in "abcde" for side in ("left", "right")]
        >>> where = Path("kaggle")
        >>> [eye.image.stem for eye in of_split(eyes, "test", where=where, held_out=0.2)]
        ['c_left', 'c_right']
        >>> len(of_split(eyes, "train", where=where, held_out=0.2)), len(of_split(eyes, "all", where=where))
        (8, 10)
    """
    named = sorted({case.split for case in cases} - {""})
    if held_out is not None:
        if named or split not in (TRAIN, TEST):
            known = f"its splits are {', '.join(named)}" if named else f"split={split!r}"
            raise ValueError(
                f"held_out={held_out} is for the splits train and test of a dataset that names none; {known}, {where}."
            )
        tested = _held_out(cases, held_out, seed, where)
        return [case for case in cases if (_patient(case) in tested) == (split == TEST)]
    if split is None or split == ALL:
        return list(cases)
    chosen = [case for case in cases if case.split == split]
    if not chosen:
        known = (
            f"splits there: {', '.join(named)}; split='all' takes every case"
            if named
            else "it names no splits: take split='all', or hold patients out by a share, held_out=0.2"
        )
        raise ValueError(f"split={split!r} selects no case of dataset_dir, {where}; {known}.")
    return chosen


def folds(items: Sequence[dict[str, Any]], count: int, *, seed: int = 0) -> list[list[dict[str, Any]]]:
    """Parts of about equal size and alike in their labels, no patient in two of them.

    Args:
        items: with a ``label``, and ``patient`` where it is known; one without is a patient of their own.
        count: how many.
        seed: of the order in which they are dealt out.

    Raises:
        ValueError: if there are fewer patients than parts, of a label, too (a patient's is the largest).

    Example:
        >>> items = [{"label": n % 2, "patient": n // 2} for n in range(8)]
        >>> [sorted({item["patient"] for item in part}) for part in folds(items, 2)]
        [[1, 2], [0, 3]]
    """
    groups: dict[Any, list[dict[str, Any]]] = {}
    for number, item in enumerate(items):
        groups.setdefault(item.get("patient", (number,)), []).append(item)
    if len(groups) < count:
        raise ValueError(f"fold needs {count} patients at least, got {len(groups)}.")
    labels = [max(item["label"] for item in group) for group in groups.values()]
    for label in sorted(set(labels)):
        if labels.count(label) < count:
            raise ValueError(
                f"fold needs {count} patients of every label at least, got {labels.count(label)} of {label}."
            )
    parts = partition_dataset_classes(list(groups.values()), labels, num_partitions=count, shuffle=True, seed=seed)
    return [[item for group in part for item in group] for part in parts]


def _held_out(cases: Sequence[Listed], share: Any, seed: int, where: Path) -> set[str]:
    """The patients of ``"test"``: at least one, and not all."""
    if isinstance(share, (bool, str)) or not 0 < share < 1:
        raise ValueError(f"held_out must be a share of the patients between 0 and 1, got {share!r}.")
    patients = sorted({_patient(case) for case in cases})
    if len(patients) < 2:
        raise ValueError(f"held_out={share} needs two patients at least, got {len(patients)} in {where}.")
    count = min(max(round(share * len(patients)), 1), len(patients) - 1)
    order = np.random.default_rng(seed).permutation(len(patients))
    return {patients[number] for number in order[:count]}


def _patient(case: Listed) -> str:
    return str(case.carried.get("patient", case.image.name))
