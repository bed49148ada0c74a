"""An operator that shifts how an image was taken: image in, image out."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.deploy.core import Fragment
from monai.deploy.core.domain.image import Image
from torch import Tensor

from monai_smia.adapters.monai_deploy.degradation import DegradationOperator
from monai_smia.shifts import Shift

LOGGER = logging.getLogger(__name__)
SPACINGS = ("col_pixel_spacing", "row_pixel_spacing", "depth_pixel_spacing")  # of columns, rows, planes
AFFINES = ("nifti_affine_transform", "affine")
NEAR = 1e-3  # mm


class ShiftOperator(DegradationOperator):
    """Hands an application the image as it would have been taken otherwise: at another dose, kernel, position.

    It stands between DICOMSeriesToVolumeOperator and MonaiBundleInferenceOperator, as `DegradationOperator` does, and
    takes and gives the same: whole numbers stay whole, and stop at what their type can hold. Lengths are in mm, by the
    spacing of the image. What was done is said in the log, in physical units.

    Args:
        fragment: the application.
        shift: one of `monai_smia.shifts`, or a `ShiftChain` of several.
        values: of its parameters, in their units; None for those of its severity, to a drawn side where there are two.
        seed: of the sides that are drawn.

    Raises:
        ValueError: if `shift` is none, or the values or the seed do not fit; in use, if the spacing of the image is not
            known, or it says two of them.

    Example:
        >>> from monai_smia.shifts import Dose
        >>> low_dose = ShiftOperator(self, shift=Dose(severity=3), name="low_dose")  # doctest: +SKIP
        >>> self.add_flow(series_to_vol_op, low_dose, {("image", "image")})  # doctest: +SKIP
        >>> self.add_flow(low_dose, seg_op, {("image", "image")})  # doctest: +SKIP
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        shift: Shift,
        values: Sequence[float] | float | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(shift, Shift) or 3 not in shift.dimensions:
            raise ValueError(f"shift must be one of monai_smia.shifts that takes volumes, got {shift!r}.")
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"seed must be a whole number >= 0, got {seed!r}.")
        drawn = shift.at_severity(shift.severity, 3, torch.Generator().manual_seed(seed))
        self.shift = shift
        self.values = drawn if values is None else torch.as_tensor(values, dtype=torch.float64).reshape(-1)
        shift.checked(self.values, torch.zeros(1, 1, 1, 1, 1, dtype=torch.float64))
        super().__init__(fragment, *args, degradation=self._shifted, **kwargs)

    def degraded(self, image: Image) -> Image:
        """The image, as it would have been taken.

        Raises:
            ValueError: if its spacing is not known, or it says two of them.
        """
        self._spacing = spacing_of(image)
        after = super().degraded(image)
        LOGGER.info("The image was shifted: %s, %s.", self.shift.title, self.shift.describe(self.values, 3))
        return after

    def _shifted(self, batch: Tensor) -> Tensor:
        return self.shift(batch, self.values, spacing=self._spacing)


def spacing_of(image: Image) -> tuple[float, float, float]:
    """Size of a voxel along columns, rows and planes in mm, as the application's own affine says it.

    Raises:
        ValueError: if it is not known, or the affine says another one than the pixels' spacing.
    """
    metadata = image.metadata()
    told = tuple(float(metadata.get(name) or math.nan) for name in SPACINGS)
    affine = next((metadata[name] for name in AFFINES if metadata.get(name) is not None), None)
    if affine is None:
        if not all(value > 0 for value in told):
            raise ValueError("the image must say the size of its voxels: its metadata have no affine and no spacing.")
        return told[0], told[1], told[2]
    sizes = np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0)
    columns, rows, planes = (float(size) for size in sizes)
    for got, said in zip((columns, rows), told[:2], strict=True):
        if not math.isnan(said) and abs(got - said) > NEAR:
            raise ValueError(
                f"the image's affine must have the spacing of its pixels, {told[1]:g} x {told[0]:g}, and has "
                f"{rows:g} x {columns:g} (DICOMSeriesToVolumeOperator swaps them in the plane): lengths would be wrong."
            )
    return columns, rows, planes
