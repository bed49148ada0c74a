"""Evaluations in pairs that differ in one thing alone, which decides a figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evaluation.test_resume import Scaled
from monai.data import ITKReader
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Lambdad,
    LoadImaged,
    MapTransform,
    RandGaussianNoised,
    ScaleIntensityRanged,
)

from monai_smia.attacks import BIM, PGD, Ensemble, Transfer
from monai_smia.degradations import Smooth
from monai_smia.evaluation import PlannedAttack
from monai_smia.metrics import SegmentationMetrics
from monai_smia.victims import SegmentationVictim

KEYS = ["image", "label"]
CLIP = (-1024.0, 3071.0)
SHIFT = 0.0


class Shifted(MapTransform):
    """A foreign transform with private and public state of many types."""

    def __init__(self, **state: Any) -> None:
        super().__init__("image")
        self._by = 0.0
        self._table: Any = None
        for name, value in state.items():
            setattr(self, name, value)

    def __call__(self, data: Any) -> Any:
        by = self._by
        if isinstance(self._table, (str, Path)):
            by += float(Path(self._table).read_text())
        elif self._table is not None:
            by += float(np.asarray(list(self._table) if isinstance(self._table, set) else self._table).sum())
        return {**data, "image": data["image"] + by}


class Other(Shifted):
    """The same name and state, another method."""

    def __call__(self, data: Any) -> Any:
        return {**super().__call__(data), "image": data["image"] + 30.0}


Other.__qualname__ = Other.__name__ = "Shifted"


class Noisy(MapTransform):
    """Draws from a random state of its own."""

    def __init__(self, state: Any) -> None:
        super().__init__("image")
        self._state = state

    def __call__(self, data: Any) -> Any:
        copied = np.random.RandomState()
        copied.set_state(self._state.get_state())
        return {**data, "image": data["image"] + torch.from_numpy(copied.normal(0, 20, data["image"].shape))}


class Body(Scaled):
    """A network with more than parameters."""

    def __init__(self, bias: float = 0.0, offset: float = 0.0, unsaved: float = 0.0, listed: float = 0.0) -> None:
        super().__init__(bias)
        self.offset = offset
        self._listed = [listed]
        self.register_buffer("unsaved", torch.tensor(unsaved), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image + self.offset + self.unsaved + self._listed[0])


def loss_times(factor: float) -> Callable[[Any, Any], torch.Tensor]:
    return lambda prediction, label: factor * (prediction[:, :1] * label).flatten(1).mean(1)


def global_shift(image: torch.Tensor) -> torch.Tensor:
    return image + SHIFT


def default_shift(image: torch.Tensor, *, by: float = 0.0) -> torch.Tensor:
    return image + by


def hooked(body: torch.nn.Module) -> torch.nn.Module:
    body.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 30.0,))
    return body


def load(*behind: Any, **options: Any) -> Compose:
    return Compose([LoadImaged(KEYS, image_only=True, **options), EnsureChannelFirstd(KEYS), *behind])


def shift(function: Any) -> dict[str, Any]:
    return {"loading": load(Lambdad("image", function))}


def attack(**options: Any) -> dict[str, Any]:
    settings = {"eps": 70.0, "clip": CLIP, "steps": 1, "progress": False, **options}
    return {"attacks": [PlannedAttack(), PlannedAttack(BIM(**settings), 0.05, "equal radius")]}


def transferred(*, ensemble: bool = False, **options: Any) -> dict[str, Any]:
    inner = PGD(eps=70.0, clip=CLIP, steps=1, progress=False)
    found: Any = Transfer(inner, surrogate=SegmentationVictim(Body(**options)))
    found = Ensemble([inner, found]) if ensemble else found
    return {"attacks": [PlannedAttack(), PlannedAttack(found, 0.05, "equal radius")]}


def victim(network: Any = None, **options: Any) -> dict[str, Any]:
    return {"victim": SegmentationVictim(Body() if network is None else network, **options)}


def window(low: float) -> dict[str, Any]:
    return victim(preprocessing=Compose([ScaleIntensityRanged("image", low, 400, low, 400, clip=True)]))


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dtype of the loader": ({"loading": load()}, {"loading": load(dtype=np.int8)}),
    "reader": ({"loading": load()}, {"loading": load(reader="ITKReader")}),
    "reader object": (
        {"loading": load(reader=ITKReader())},
        {"loading": load(reader=ITKReader(reverse_indexing=True))},
    ),
    "private attribute": ({"loading": load(Shifted())}, {"loading": load(Shifted(_by=30.0))}),
    "public attribute": ({"loading": load(Shifted(a=1))}, {"loading": load(Shifted(a=2))}),
    "True and 1": ({"loading": load(Shifted(a=True))}, {"loading": load(Shifted(a=1))}),
    "array": ({"loading": load(Shifted(_table=np.zeros(2)))}, {"loading": load(Shifted(_table=np.full(2, 15)))}),
    "tensor": ({"loading": load(Shifted(_table=torch.zeros(2)))}, {"loading": load(Shifted(_table=torch.ones(2)))}),
    "set": ({"loading": load(Shifted(_table={0, 1}))}, {"loading": load(Shifted(_table={0, 30}))}),
    "tuple": ({"loading": load(Shifted(_table=(0, 1)))}, {"loading": load(Shifted(_table=(0, 30)))}),
    "dtype": ({"loading": load(Shifted(a=np.dtype("i1")))}, {"loading": load(Shifted(a=np.dtype("i2")))}),
    "method of a class": ({"loading": load(Shifted())}, {"loading": load(Other())}),
    "random state": (
        {"loading": load(Noisy(np.random.RandomState(0)))},
        {"loading": load(Noisy(np.random.RandomState(1)))},
    ),
    "seed of a random transform": (
        {"loading": load(RandGaussianNoised("image", prob=1.0, std=20)).set_random_state(0)},
        {"loading": load(RandGaussianNoised("image", prob=1.0, std=20)).set_random_state(1)},
    ),
    "order of transforms": (
        {"loading": load(Shifted(_by=30.0), ScaleIntensityRanged("image", -600, 0, -600, 0, clip=True))},
        {"loading": load(ScaleIntensityRanged("image", -600, 0, -600, 0, clip=True), Shifted(_by=30.0))},
    ),
    "constant of a lambda": (shift(lambda x: x + 0.0), shift(lambda x: x + 30.0)),
    "default of a lambda": (shift(lambda x, by=0.0: x + by), shift(lambda x, by=30.0: x + by)),
    "argument of a partial": (shift(partial(default_shift, by=0.0)), shift(partial(default_shift, by=30.0))),
    "lambda within a lambda": (shift(lambda x: (lambda y: y + 0.0)(x)), shift(lambda x: (lambda y: y + 30.0)(x))),
    "set in a lambda": (shift(lambda x: x + 30.0 * (1 in {1, 2})), shift(lambda x: x + 30.0 * (1 in {2, 3}))),
    "loss": (victim(), victim(loss="soft_jaccard")),
    "what a loss closes over": (victim(loss=loss_times(1.0)), victim(loss=loss_times(-1.0))),
    "preprocessing": (window(-1000), window(-600)),
    "weights": (victim(Body()), victim(Body(bias=0.02))),
    "attribute of the network": (victim(Body()), victim(Body(offset=30.0))),
    "private attribute of the network": (victim(Body()), victim(Body(listed=30.0))),
    "buffer that is not saved": (victim(Body()), victim(Body(unsaved=30.0))),
    "hook of the network": (victim(Body()), victim(hooked(Body()))),
    "metrics": ({"metrics": SegmentationMetrics(2)}, {"metrics": SegmentationMetrics(3)}),
    "storage": ({}, {"storage": None}),
    "survival": ({"survival": {"s": Smooth(1.0)}}, {"survival": {"s": Smooth(2.0)}}),
    "data range": ({}, {"data_range": 1.0}),
    "steps": (attack(), attack(steps=2)),
    "step": (attack(), attack(step_size=10.0)),
    "loss of an attack": (attack(), attack(loss="soft_jaccard")),
    "what an attack's loss closes over": (attack(loss=loss_times(1.0)), attack(loss=loss_times(-1.0))),
    "range": (attack(), attack(clip=(-1024.0, 0.0))),
    "seed": (attack(), attack(seed=1)),
    "weights of a surrogate": (transferred(), transferred(bias=0.02)),
    "attribute of a surrogate": (transferred(), transferred(offset=30.0)),
    "surrogate in an ensemble": (transferred(ensemble=True), transferred(ensemble=True, bias=0.02)),
}
