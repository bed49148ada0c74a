"""Algorithms of Auto3DSeg that decide together, as MONAI's `AlgoEnsemble` has it; one alone decides by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.apps.auto3dseg.ensemble_builder import AlgoEnsembleBestN
from torch import Tensor

from monai_smia.adapters.auto3dseg.algorithm import IMAGE, Algorithm
from monai_smia.adapters.auto3dseg.folder import check_folder
from monai_smia.adapters.monai_bundle.arguments import check_choice
from monai_smia.victims.preprocessing import as_plain

MEAN, VOTE = "mean", "vote"


class Ensemble:
    """One algorithm, or several together.

    Args:
        algorithms: that decide.
        mode: ``"mean"``: of their probabilities; ``"vote"``: of their decisions.

    Raises:
        ValueError: if they segment different classes, or take different images.
    """

    def __init__(self, algorithms: Sequence[Algorithm], mode: str = MEAN) -> None:
        check_choice("ensemble", mode, (MEAN, VOTE))
        self.algorithms, self.mode = tuple(algorithms), mode
        keys = {key: "" for a in algorithms for t in a.transforms.flatten().transforms for key in _image_keys(t)}
        self.chains = [algorithm.chain({IMAGE: "", **keys}) for algorithm in algorithms]
        self.keys = self.chains[0].source_keys or (IMAGE,)
        first = self.algorithms[0]
        for algorithm, chain in zip(self.algorithms, self.chains, strict=True):
            if algorithm.sigmoid != first.sigmoid or (chain.source_keys or (IMAGE,)) != self.keys:
                raise ValueError(
                    f"{algorithm.name} and {first.name} cannot decide together: they take other images, or one decides "
                    "for one class of all and the other every class by itself."
                )
        self.sigmoid = first.sigmoid

    @classmethod
    def of_folders(
        cls,
        folders: str | Path | Sequence[str | Path],
        *,
        trusted: bool = False,
        device: torch.device | str = "cpu",
        mode: str = MEAN,
    ) -> Ensemble:
        """Of algorithm folders, each checked before any of them runs.

        Raises:
            ValueError: if there is none, or one cannot be set up.
        """
        paths = [Path(folders)] if isinstance(folders, (str, Path)) else [Path(folder) for folder in folders]
        if not paths:
            raise ValueError("an algorithm folder of Auto3DSeg is needed, got none.")
        for path in paths:
            check_folder(path, trusted=trusted)
        return cls([Algorithm(path, device) for path in paths], mode)

    @property
    def name(self) -> str:
        """Of its algorithms."""
        names = ", ".join(algorithm.name for algorithm in self.algorithms)
        return names if len(self.algorithms) == 1 else f"{self.mode} of {names}"

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records."""
        return {"algorithms": list(self.algorithms), "mode": self.mode}

    def decide(self, item: Mapping[Any, Any]) -> Tensor:
        """The map ``(1 or K, *spatial)`` of an item ``{"image": file, ...}``, each by its own `infer`."""
        given = {key: item[key] for key in self.keys}
        found = [algorithm.probabilities(given) for algorithm in self.algorithms]
        if len(found) == 1:
            return self.algorithms[0].decided(found[0])
        together = AlgoEnsembleBestN()  # how it chose its algorithms is behind it: MONAI's own way to put them together
        together.mode = self.mode
        decided: Tensor = as_plain(torch.as_tensor(together.ensemble_pred(found, sigmoid=self.sigmoid))).long()
        return decided


def _image_keys(transform: Any) -> tuple[Any, ...]:
    """The keys that a step joins to the image."""
    return tuple(transform.keys) if getattr(transform, "name", None) == IMAGE else ()
