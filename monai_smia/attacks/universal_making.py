"""Making a universal perturbation, case by case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type
from torch import Tensor

from monai_smia.attacks.base import Attack
from monai_smia.attacks.deepfool import DeepFool
from monai_smia.attacks.steps import steps
from monai_smia.attacks.universal import check_layout, laid, with_pattern
from monai_smia.victims.base import Victim
from monai_smia.victims.classification import ClassificationVictim
from monai_smia.victims.preprocessing import as_plain

METHODS = ("sgd", "uap")
FIRST = 0.25  # of the radius: the first step of gradient descent


@dataclass(frozen=True)
class UniversalPattern:
    """A pattern with what came of it on the images that it was made on.

    Args:
        pattern: ``(C, *sizes)``, in the unit of the images.
        damages: mean damage over these images in every epoch, of each before its own step.
        cases: how many they were.
    """

    pattern: Tensor
    damages: tuple[float, ...]
    cases: int


def make_universal(
    victim: Victim,
    cases: Callable[[], Iterable[tuple[Tensor, Any]]],
    *,
    eps: float,
    clip: tuple[float, float] | None = (0.0, 1.0),
    sizes: Sequence[int] | None = None,
    layout: str = "whole",
    place: Sequence[float] = (),
    method: str = "sgd",
    epochs: int = 10,
    loss: Any = None,
    target: int | None = None,
    inner: Attack | None = None,
    progress: bool = True,
) -> UniversalPattern:
    """A universal perturbation in L-inf, from some images.

    ``"sgd"`` ascends the deviation loss by the sign of every image's gradient, in steps that fall from a quarter of the
    radius to nothing (Shafahi et al., AAAI 2020). ``"uap"`` adds, for every image that is still decided rightly, the
    smallest perturbation that turns it from where it is (Moosavi-Dezfooli et al., CVPR 2017, Algorithm 1).

    Args:
        victim: what it is made on.
        cases: called once an epoch, gives images ``(1, C, *spatial)`` and labels as the victim takes them.
        eps: radius, in the unit of the images; of a patch the width of the valid range.
        clip: valid range of the images, or None.
        sizes: of the pattern along every axis; None for those of the first image, of one that is whole.
        layout: ``"whole"``, ``"tiled"`` or ``"patch"``.
        place: of a patch along every axis, in [0, 1].
        method: ``"sgd"`` or ``"uap"``.
        epochs: passes over the images.
        loss: that is ascended; None for the victim's.
        target: class that all images shall be decided as, a patch's for one; None for any wrong decision.
        inner: of ``"uap"``, what turns a single image; None for DeepFool, which is of classifications.
        progress: show it.

    Raises:
        ValueError: if an argument is outside its range, there are no images, or the pattern does not fit one.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2, bias=False))
        >>> images = [(torch.rand(1, 1, 8, 8), torch.tensor([n % 2])) for n in range(4)]
        >>> found = make_universal(ClassificationVictim(network), lambda: images, eps=0.1, target=1, epochs=2)
        >>> weight = (network[1].weight[1] - network[1].weight[0]).view(1, 8, 8)  # toward class 1 goes along it
        >>> found.cases, bool(((found.pattern * weight) >= 0).all())
        (4, True)
    """
    _check(eps, epochs, method, layout, place, target)
    if layout == "patch" and (clip is None or eps != clip[1] - clip[0]):
        raise ValueError(f"eps must be the width of the valid range clip={clip} for a patch, got {eps}.")
    maker = _Maker(victim, eps, clip, layout, place, loss, target, inner or DeepFool(eps=None, norm="linf", clip=clip))
    if method == "uap" and inner is None and not isinstance(victim, ClassificationVictim):
        raise ValueError("method must be 'sgd' for this victim, or inner be given: DeepFool is of classifications.")
    pattern: Tensor | None = None
    damages, count = [], 0
    for epoch in steps(epochs, name="universal perturbation", show=progress):
        found, count = [], 0
        for image, label in cases():
            pattern = _begin(image, sizes, layout, clip) if pattern is None else pattern
            length = eps * FIRST * (1 - epoch / epochs)
            pattern, damage = maker.step(pattern, image, label, length, method)
            found.append(damage)
            count += 1
        if pattern is None:
            raise ValueError("cases must hold at least one image, got none.")
        damages.append(sum(found) / count)
    assert pattern is not None  # there is an epoch
    return UniversalPattern(pattern, tuple(damages), count)


@dataclass(frozen=True)
class _Maker:
    """One step on one image."""

    victim: Victim
    eps: float
    clip: tuple[float, float] | None
    layout: str
    place: Sequence[float]
    loss: Any
    target: int | None
    inner: Attack

    def step(self, pattern: Tensor, image: Tensor, label: Any, length: float, method: str) -> tuple[Tensor, float]:
        """The pattern after a step, and the damage before it."""
        victim = self.victim if self.loss is None else self.victim.with_loss(self.loss)
        with torch.inference_mode(False), torch.enable_grad(), victim.frozen():
            plain = as_plain(image).detach()
            bound, truth = victim.bind(image, label)
            place = pattern.detach().requires_grad_()
            shown = with_pattern(plain, place, self.layout, self.place)
            if self.clip is not None:  # what lies outside of the range is left alone
                inside = (plain >= self.clip[0]) & (plain <= self.clip[1])
                shown = torch.where(inside, shown.clamp(*self.clip), plain)
            prediction = bound.predict(shown)
            bound.check_label(prediction, truth)
            damage = bound.damage(prediction, truth)
            if method == "uap":
                if float(damage.max()) >= 1:
                    return pattern, float(damage.mean())
                whole = convert_to_dst_type(shown.detach(), image)[0] if isinstance(image, MetaTensor) else shown
                turned = as_plain(self.inner(victim, whole.detach(), label).perturbation)
                (pushed,) = torch.autograd.grad(shown, place, turned)
                added = place.detach() + pushed / self._covered(plain, place)
            else:
                aim = truth if self.target is None else _all_of(truth, self.target)
                value = bound.checked_loss(prediction, aim).sum()
                (gradient,) = torch.autograd.grad(value if self.target is None else -value, place)
                added = place.detach() + length * gradient.sign()
        return added.clamp(*self.limits), float(damage.mean())

    @property
    def limits(self) -> tuple[float, float]:
        """What values of the pattern may be."""
        return self.clip if self.layout == "patch" and self.clip is not None else (-self.eps, self.eps)

    def _covered(self, image: Tensor, pattern: Tensor) -> Tensor:
        """How many voxels of the image stand for each of the pattern, at least 1."""
        ones = torch.ones_like(pattern, requires_grad=True)
        (count,) = torch.autograd.grad(laid(ones, image.shape[2:], self.layout, self.place).sum(), ones)
        return count.clamp_min(1)


def _begin(image: Tensor, sizes: Sequence[int] | None, layout: str, clip: tuple[float, float] | None) -> Tensor:
    """No change; a patch begins in the middle of the range."""
    shape = tuple(image.shape[2:]) if sizes is None else tuple(int(size) for size in sizes)
    if sizes is None and layout != "whole":
        raise ValueError(f"sizes must be given for a pattern that is {layout!r}, got None.")
    if len(shape) != image.ndim - 2 or not all(size >= 1 for size in shape):
        raise ValueError(f"sizes must hold a whole number >= 1 for each of {image.ndim - 2} axes, got {sizes!r}.")
    value = sum(clip) / 2 if layout == "patch" and clip is not None else 0.0
    return torch.full((image.shape[1], *shape), value, dtype=torch.float32, device=image.device)


def _all_of(label: Any, target: int) -> Any:
    if not isinstance(label, Tensor):
        raise ValueError(f"target is of classes that a label map or a grade has, got labels of {type(label).__name__}.")
    return torch.full_like(label, target)


def _check(eps: float, epochs: int, method: str, layout: str, place: Sequence[float], target: Any) -> None:
    if not isinstance(eps, (int, float)) or isinstance(eps, bool) or not 0 < eps < float("inf"):
        raise ValueError(f"eps must be a finite number > 0, got {eps!r}.")
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise ValueError(f"epochs must be a whole number >= 1, got {epochs!r}.")
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}.")
    if target is not None and (not isinstance(target, int) or isinstance(target, bool) or target < 0):
        raise ValueError(f"target must be the number of a class, or None, got {target!r}.")
    check_layout(layout, place, None)
