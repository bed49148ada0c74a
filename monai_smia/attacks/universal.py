"""One perturbation for all images: laid onto each as it is, tiled, or as a patch with a place of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.result import AttackResult
from monai_smia.attacks.trajectory import Trajectory

LAYOUTS = ("whole", "tiled", "patch")


def laid(pattern: Tensor, shape: Sequence[int], layout: str, place: Sequence[float] = ()) -> Tensor:
    """The pattern on the grid of an image ``(C, *shape)``, differentiable.

    Args:
        pattern: ``(C, *sizes)``.
        shape: of the image, without channels.
        layout: ``"whole"``, of the image's shape; ``"tiled"``, repeated from the first corner on; ``"patch"``, once.
        place: of a patch along every axis: 0 at its first end, 1 at its last.

    Raises:
        ValueError: if it does not fit.

    Example:
        >>> laid(torch.tensor([[1.0, 2.0]]), [5], "tiled").tolist()
        [[1.0, 2.0, 1.0, 2.0, 1.0]]
        >>> laid(torch.tensor([[1.0, 2.0]]), [4], "patch", [0.5]).tolist()
        [[0.0, 1.0, 2.0, 0.0]]
    """
    sizes = list(pattern.shape[1:])
    if len(sizes) != len(shape) or (layout == "whole" and sizes != list(shape)):
        raise ValueError(
            f"pattern must have the image's shape {tuple(shape)}, got {tuple(sizes)}; images of several shapes take "
            "one that is 'tiled', or a 'patch'."
        )
    if layout == "patch":
        if any(size > n for size, n in zip(sizes, shape, strict=True)):
            raise ValueError(f"pattern must be no larger than the image, {tuple(shape)}, got {tuple(sizes)}.")
        pads: list[int] = []
        for size, n, where in zip(reversed(sizes), reversed(shape), reversed(place), strict=True):
            first = round(where * (n - size))
            pads += [first, n - size - first]
        return torch.nn.functional.pad(pattern, pads)
    for axis, (size, n) in enumerate(zip(sizes, shape, strict=True), 1):
        pattern = torch.cat([pattern] * math.ceil(n / size), axis).narrow(axis, 0, n)
    return pattern


def with_pattern(image: Tensor, pattern: Tensor, layout: str, place: Sequence[float] = ()) -> Tensor:
    """Images ``(B, C, *spatial)`` with the pattern: added to them, but a patch takes the place of what is there.

    Args:
        image: batch.
        pattern: ``(C, *sizes)``, or of one channel for all.
        layout, place: as for `laid`.
    """
    added = laid(pattern, image.shape[2:], layout, place)
    if layout != "patch":
        return image + added
    covered = laid(torch.ones_like(pattern[:1]).detach(), image.shape[2:], layout, place) > 0
    return torch.where(covered, added, image)


@dataclass(kw_only=True, eq=False)
class Universal(Attack):
    """A universal perturbation: one pattern, made on other images, is added to every image; no gradient is taken.

    `make_universal` makes the pattern (Moosavi-Dezfooli et al., CVPR 2017; by gradient descent Shafahi et al., AAAI
    2020). A patch has a place of its own, where it stands instead of the image, with any values of the valid range
    (Brown et al., 2017): its radius is the width of that.

    Args:
        pattern: ``(C, *sizes)``, in the unit of the images; what it adds is brought into the ball.
        layout: ``"whole"``, ``"tiled"`` or ``"patch"``.
        place: of a patch along every axis, in [0, 1]: 0 at its first end, 1 at its last.
        transferred: whether it was made on another network than the one that is attacked.

    The other arguments are those of `Attack`.

    Raises:
        ValueError: if an argument is outside its range; in use, if the pattern does not fit the image.

    Example:
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> attack = Universal(pattern=torch.ones(1, 4, 4), eps=0.1, layout="tiled")
        >>> result = attack(ClassificationVictim(network), torch.full((2, 1, 8, 8), 0.5), torch.tensor([0, 1]))
        >>> result.perturbation.unique().tolist(), result.gradients.tolist()
        ([0.10000002384185791], [0, 0])
    """

    needs_gradient: ClassVar[bool] = False

    pattern: Tensor = field(repr=False)
    layout: str = "whole"
    place: Sequence[float] = ()
    transferred: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fixed(keep="best", targeted=False)
        check_layout(self.layout, self.place, self.pattern.ndim - 1 if isinstance(self.pattern, Tensor) else None)
        if self.layout == "patch" and (self.clip is None or self.eps != self.clip[1] - self.clip[0]):
            raise ValueError(f"eps must be the width of the valid range clip={self.clip} for a patch, got {self.eps}.")
        if not isinstance(self.pattern, Tensor) or not bool(self.pattern.isfinite().all()):
            raise ValueError(f"pattern must be a finite tensor (C, *sizes), got {self.pattern!r}.")
        self.pattern, self.place = self.pattern.detach().float(), tuple(float(where) for where in self.place)

    @property
    def planned_gradients(self) -> int:
        """None: they were taken on other images."""
        return 0

    @property
    def knowledge(self) -> str:
        """The network that the pattern was made on."""
        return "transfer" if self.transferred else "white box"

    def scaled(self, factor: float) -> Self:
        """The pattern in another unit."""
        return replace(self, pattern=self.pattern * factor)

    @torch.no_grad()
    def run(self, problem: AttackProblem) -> AttackResult:
        """The pattern on every image, within the threat model."""
        image, victim = problem.image, problem.victim
        if len(self.pattern) not in (1, image.shape[1]):
            raise ValueError(
                f"pattern must have one channel, or the image's {image.shape[1]}, got {len(self.pattern)}."
            )
        shown = with_pattern(image, self.pattern.to(image), self.layout, self.place)
        adversarial = problem.threat.project(shown, image)
        found = Trajectory(image)
        for point in (image, adversarial):
            prediction = victim.predict(point)
            if point is image:
                victim.check_label(prediction, problem.label)
            loss, damage = victim.checked_loss(prediction, problem.label), victim.damage(prediction, problem.label)
            found.add_loss(loss)
            found.add_size(point, image)
            if point is image:
                found.note_clean(damage)
        found.take(adversarial, damage, loss, torch.ones_like(damage, dtype=torch.bool))
        return replace(found.result(), cosine=image.new_zeros(0, len(image)))


def check_layout(layout: str, place: Sequence[float], axes: int | None) -> None:
    """Raise a ValueError where a layout is none, or a patch has no place along every axis."""
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {LAYOUTS}, got {layout!r}.")
    fits = layout != "patch" or (axes is None or len(place) == axes)
    if not fits or not all(0 <= float(where) <= 1 for where in place):
        raise ValueError(f"place must hold a number in [0, 1] for every axis of a patch, got {place!r}.")
