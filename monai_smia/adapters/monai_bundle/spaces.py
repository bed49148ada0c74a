"""Where an attack on a bundle lives, and what its radius is in: decided once, for all cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from monai_smia.adapters.monai_bundle.builder import BundleBuilder
from monai_smia.adapters.monai_bundle.parts import is_dicom
from monai_smia.adapters.monai_bundle.units import IMAGE, NAMES, NETWORK, RANGE, STD, WORDS, OwnUnits, told_units
from monai_smia.dicom import read_dicom_series
from monai_smia.victims.preprocessing import FrozenPreprocessing

SPACES = ("native", "scanner", "network")
SHIFTS = "shifts"  # the preset without a radius
NO_NETWORK_UNITS = (
    "Every image is normalized by statistics of its own: a radius has no fixed size in network units, and what stands "
    "here as such is in the unit of the files."
)


@dataclass(frozen=True)
class Space:
    """Where an attack lives.

    Args:
        in_scanner: on the grid of the files; else what the network sees is attacked.
        reason: why not on the grid of the files; None where nobody need ask.
        scale: network units per unit of the attacked image.
        per_unit: network units per unit that `eps` is given in.
        unit: name of that, for tables, where it is of the case.
        limitations: what a report says of it.
        told: what is said before a run.
    """

    in_scanner: bool
    reason: str | None
    scale: float = 1.0
    per_unit: float = 1.0
    unit: str = ""
    limitations: tuple[str, ...] = ()
    told: str = ""

    def named(self, unit: str, *, series: bool) -> str:
        """The unit that radii are in, for tables.

        Args:
            unit: of the files, where the owner says it.
            series: whether all cases are DICOM series.
        """
        if not self.in_scanner or self.told:
            return self.unit
        return unit or "HU" * series


def space_of(builder: BundleBuilder, *, space: str | None, eps_unit: str, preset: str, radii: Sequence[float]) -> Space:
    """Where an attack lives, and what its radius is in; the builder's `units` are set.

    Args:
        builder: of the bundle.
        space: that was asked for; None for the grid of the files where it can be.
        eps_unit: one of `monai_smia.adapters.monai_bundle.units.KINDS`.
        preset: of attacks.
        radii: in that unit.

    Raises:
        ValueError: if it cannot be what was asked for; with the reason.
    """
    follows = builder.chain.loader is None or builder.chain.follows_the_image()
    kind = None if preset == SHIFTS or eps_unit == IMAGE or not (follows or eps_unit in (STD, RANGE)) else eps_unit
    if kind is not None:
        builder.units = OwnUnits(kind, builder.chain.steps(), builder.chain.image_key)
    reason, scale = None, 1.0
    if space != NETWORK:
        if not follows and kind is None:
            try:
                scale = builder.scale()
            except ValueError as error:
                reason = f"a radius in network units has no fixed size in the unit of the files; {error}"
        reason = reason or _why_not_scanner(builder)
    in_scanner = reason is None and space != NETWORK
    if space in ("native", "scanner") and reason is not None:
        raise ValueError(f"space must be 'network' for this bundle: {reason}")
    if not in_scanner:
        builder.units = None
        if eps_unit in (STD, RANGE):
            raise ValueError(
                f"eps_unit={eps_unit!r} is of the values of the files, and this attack is of what the network sees"
                f"{': ' + reason if reason else ', with space=network.'}"
            )
        per_unit = builder.scale() if eps_unit == IMAGE else 1.0
        return Space(False, reason, per_unit=per_unit)
    if builder.units is None:
        own = (NO_NETWORK_UNITS,) * (follows and preset != SHIFTS)
        return Space(True, None, scale, scale if eps_unit == IMAGE else 1.0, limitations=own)
    units = builder.units.measured(builder.first_image())
    assert kind is not None
    limitation = f"Radii are in {WORDS[kind]}; what they are in the unit of the files stands beside them, case by case."
    told = told_units(kind, radii, units)
    return Space(True, None, unit=NAMES[kind], limitations=(limitation,), told=told)


def _why_not_scanner(builder: BundleBuilder) -> str | None:
    """Why the attack cannot live on the grid of the files, or None."""
    item = builder.pipeline.items[builder.case]
    source = builder.chain.source(item)
    if not builder.chain.loaders:
        return f"an image is put together from {len(source)} files, and not as one is: {builder.chain.apart}"
    try:
        image = builder.first_image()
        if is_dicom(source):
            read_dicom_series(source, image.meta.get("series_uid"))
        attacked = image if builder.units is None else builder.units(image)
        twin = builder.twin(True)
        frozen = FrozenPreprocessing(twin.preprocessing, attacked, twin.image_key, statistics=twin.statistics)
        frozen.check_differentiable()
        builder.pipeline.twin = twin
        builder.pipeline.check_twin(builder.case, attacked[None], builder.pipeline.clean(builder.case)[1])
        builder.pipeline.chain.run(item, image)
    except Exception as error:  # a transform of any kind may refuse an image that lies alone
        return f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
    same = frozen.shape == image.shape[1:] and torch.allclose(frozen.affine, frozen.clean.affine)
    if builder.task == "detection" and not same:
        return "the preprocessing changes the grid, and boxes are not resampled."
    return None
