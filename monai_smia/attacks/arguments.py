"""Checks of what attacks are made with: every argument is of the kind that its annotation says."""

from __future__ import annotations

import logging
import math
from dataclasses import fields
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_smia.checks import is_number
from monai_smia.threat import ThreatModel
from monai_smia.victims.gate import check_image
from monai_smia.victims.preprocessing import as_plain

LOGGER = logging.getLogger(__name__)

ROUNDING = 1e-6  # of a width

KINDS = {"int": "a whole number", "float": "a number", "bool": "True or False", "None": "None"}


def check_kinds(attack: Any) -> None:
    """Raise a ValueError where an argument that is annotated as a number or a switch is none.

    Text is no number ("0.1"), and no switch: "False" would be taken for true.

    Args:
        attack: a dataclass. Fields of other types are left alone.

    Example:
        >>> from monai_smia.attacks import PGD
        >>> PGD(eps=0.1, steps="ten")
        Traceback (most recent call last):
        ValueError: steps must be a whole number, got 'ten'.
    """
    for argument in fields(attack):
        kinds = getattr(argument.type, "__name__", str(argument.type)).split(" | ")
        value = getattr(attack, argument.name)
        if set(kinds) <= KINDS.keys() and not any(_is(value, kind) for kind in kinds):
            raise ValueError(f"{argument.name} must be {', or '.join(KINDS[kind] for kind in kinds)}, got {value!r}.")


def tell_reached(targets: bool, clean_damage: Tensor) -> None:
    """Say where a targeted attack has nothing to do, for the clean image decides on its target already."""
    if targets and (reached := (clean_damage == 0).nonzero().flatten().tolist()):
        LOGGER.warning(
            "The label is the target, and is what the clean image decides on already, in samples %s.", reached
        )


def check_radius(attack: Any, threat: ThreatModel, image: Tensor) -> None:
    """Raise where a radius or a step is wider than the valid range: it is in another unit than the images.

    A ball that the steps cannot leave, as in the SMIA paper's setting, is what they add up to, and no radius.

    Args:
        attack: with its steps; of a composite its parts are asked as well.
        threat: of this call.
        image: batch ``(B, C, *spatial)``.

    Raises:
        ValueError: that names radius or step, and the range.
    """
    if threat.clip is None:
        return
    width = widest(threat.clip, threat.norm, image[0].numel())
    radius = 0.0 if threat.eps is None else float(torch.as_tensor(threat.eps).max())
    for part in (attack, *getattr(attack, "parts", ())):
        stepping = hasattr(part, "default_step_size")  # in the unit of the image, and not in one of its own
        step = (getattr(part, "step_size", None) or 0.0) if stepping else 0.0
        reach = step * getattr(part, "steps", 0) + (getattr(part, "start_eps", None) or 0.0)
        bound = 0.0 if step and reach <= radius * (1 + ROUNDING) else radius
        for name, value in (("eps", bound), ("step_size", step)):
            if value > width * (1 + ROUNDING):
                raise ValueError(
                    f"{name} must be at most the width of the valid range clip=[{threat.clip[0]:g}, "
                    f"{threat.clip[1]:g}], {width:g} in {threat.norm}, got {value:g}: is it in the unit of the images?"
                )


def widest(clip: tuple[float, float], norm: str, voxels: int) -> float:
    """The largest perturbation within a valid range.

    Example:
        >>> widest((0.0, 255.0), "linf", 64), widest((0.0, 1.0), "l2", 64)
        (255.0, 8.0)
    """
    return (clip[1] - clip[0]) * (1.0 if norm == "linf" else math.sqrt(voxels))


def check_stop_at(stop_at: float | None) -> None:
    """Raise a ValueError where a damage to stop at is none."""
    if stop_at is not None and not (is_number(stop_at) and 0 < stop_at <= 1):
        raise ValueError(f"stop_at must lie in (0, 1], or be None, got {stop_at!r}.")


def plain_image(image: Tensor) -> Tensor:
    """The image as a checked plain tensor that autograd may use."""
    check_image(image)
    if image.dtype not in (torch.float32, torch.float64):
        hint = "autocast runs the network alone in lower precision" if image.is_floating_point() else "image.float()"
        raise ValueError(
            f"image must be floating point of 32 or 64 bits, which keeps to eps, got {image.dtype}; use {hint}."
        )
    return as_plain(image).detach()


def plain_start(start: Tensor, image: Tensor) -> Tensor:
    """The perturbation to begin from as a plain tensor like the image."""
    if not isinstance(start, Tensor) or start.shape != image.shape:
        got = tuple(start.shape) if isinstance(start, Tensor) else type(start).__name__
        raise ValueError(f"start must be a perturbation of the image's shape {tuple(image.shape)}, got {got}.")
    if not bool(start.isfinite().all()):
        raise ValueError("start must be finite, got NaN or infinite values.")
    return as_plain(start).detach().to(image)


def _is(value: Any, kind: str) -> bool:
    if kind == "None":
        return value is None
    if kind == "bool" or isinstance(value, (bool, np.bool_)):
        return kind == "bool" and isinstance(value, (bool, np.bool_))
    return isinstance(value, Real) and (kind == "float" or (math.isfinite(value) and value == math.floor(value)))
