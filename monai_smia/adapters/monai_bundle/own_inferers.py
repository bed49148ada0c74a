"""Inferers of a bundle's own, such as test-time augmentation: whether a gradient comes back, and whether they draw."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from monai_smia.adapters.monai_bundle.engine import Iteration
from monai_smia.adapters.monai_bundle.outputs import selected
from monai_smia.victims.frozen_network import frozen_network
from monai_smia.victims.in_place import protected
from monai_smia.victims.preprocessing import as_plain

ALIKE = 1e-3  # of the largest value, by which two answers to one image may differ
MEND = (
    "An average of mirrored predictions in torch (flip, infer, flip back, mean) has an exact gradient; MONAI's "
    "TestTimeAugmentation has none, and draws."
)


def check_inferer(inferer: Any, network: nn.Module, first: Iteration, output_key: str | None) -> None:
    """Raise where an inferer that is none of MONAI's lets no gradient through, or answers otherwise when asked again.

    One that is prompted is not asked: `Prompted` has windows of its own.

    Args:
        inferer: of the evaluator.
        network: its network.
        first: what the evaluator made of a case.
        output_key: of the output that counts, where the network returns several.

    Raises:
        ValueError: that names the inferer, and says what has a gradient.
    """
    if type(inferer).__module__.split(".")[0] in ("monai", "monai_smia") or any(first.prompt):
        return
    name = type(inferer).__name__
    image = as_plain(first.seen).detach().clone().float().requires_grad_(True)
    try:
        with frozen_network(network), protected(network, image, windows=True) as seen:
            again = selected(inferer(seen, network), output_key)
    except Exception as error:  # whatever an inferer of somebody's raises
        text = " ".join(str(error).split())[:200]
        raise ValueError(
            f"no gradient comes back through the bundle's inferer {name} ({type(error).__name__}: {text}). {MEND}"
        ) from error
    if not isinstance(again, Tensor) or not again.requires_grad:
        raise ValueError(f"no gradient comes back through the bundle's inferer {name}. {MEND}")
    before, after = (as_plain(value).detach().double().cpu() for value in (first.raw, again))
    if before.shape != after.shape or float((before - after).abs().max()) > ALIKE * float(before.abs().max()):
        raise ValueError(
            f"the bundle's inferer {name} answers otherwise when it is asked again: it draws at random or keeps a "
            f"state, and every figure would be one draw. {MEND}"
        )
