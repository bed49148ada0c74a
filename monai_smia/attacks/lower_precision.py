"""What of a perturbation the lower precision of an attack's network resolves."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from monai_smia.threat import ThreatModel, seeded_generators
from monai_smia.victims.base import Victim

UNRESOLVED = 0.25  # of a perturbation: an attack that does not see more than this may be weaker


def unresolved_share(
    precision: str | None, victim: Victim, threat: ThreatModel, clean: Tensor, found: Tensor
) -> Tensor | None:
    """The share of a perturbation that rounds away in the network's input, in lower precision.

    Changes are weighed by their squares. Those of a zero, such as background, are always resolved, and left out. Of a
    sample that comes back as it was, as where no step was seen to do anything, a random point of the ball is asked.

    Args:
        precision: of the attack's network, ``"bfloat16"`` or ``"float16"``; None for that of the image.
        victim: that was attacked.
        threat: of this call.
        clean: batch ``(B, C, *spatial)``.
        found: adversarial images, of the same shape.

    Returns:
        Of every sample ``(B,)``, from 0 to 1, NaN where nothing changes; None where precision is not below that of the
        network's input: autocast leaves double precision alone.
    """
    if precision is None:
        return None
    with torch.no_grad():
        before, after = victim.network_input(clean), victim.network_input(found)
        if before.dtype != torch.float32:
            return None
        if threat.eps is not None and not (before != after).flatten(1).any(1).all():
            other = victim.network_input(threat.random_start(clean, seeded_generators(0, len(clean))))
            after = torch.stack([a if (a != b).any() else o for b, a, o in zip(before, after, other, strict=True)])
    dtype = getattr(torch, precision)
    change = (after - before).square() * (before != 0)
    hidden = change * (before.to(dtype) == after.to(dtype))
    return hidden.flatten(1).sum(1) / change.flatten(1).sum(1)


def tell_unresolved(precision: str | None, share: Tensor | None) -> None:
    """Say of which samples lower precision hardly tells an adversarial image from the clean one."""
    lost = [] if share is None else (share > UNRESOLVED).nonzero().flatten().tolist()
    if lost:
        warnings.warn(
            f"autocast={precision!r} does not resolve the perturbation: more than a quarter of it rounds to what was "
            f"there in samples {lost}, and the attack may be weaker than in full precision.",
            RuntimeWarning,
            stacklevel=3,
        )
