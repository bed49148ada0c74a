"""An operator that degrades: image in, image out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.deploy.core import Fragment, Operator, OperatorSpec
from monai.deploy.core.domain.image import Image
from torch import Tensor


class DegradationOperator(Operator):
    """Degrades the image of an application on its way to the model: noise, smoothing, compression, an offset.

    It stands between DICOMSeriesToVolumeOperator and MonaiBundleInferenceOperator. An image of whole numbers stays one:
    values are rounded, and stop at what its type can hold.

    Named input:
        image: `Image`, axes ``(planes, rows, columns)``.

    Named output:
        image: degraded `Image` of the same type, shape and metadata.

    Args:
        fragment: the application.
        degradation: from a batch ``(1, 1, columns, rows, planes)`` in HU to one of the same shape, such as those of
            `monai_smia.degradations`.

    Raises:
        ValueError: in use, if the degraded image has another shape or is not finite.

    Example:
        >>> from monai_smia.degradations import Smooth
        >>> smooth = DegradationOperator(self, degradation=Smooth(sigma=1.0), name="smooth")  # doctest: +SKIP
        >>> self.add_flow(series_to_vol_op, smooth, {("image", "image")})  # doctest: +SKIP
        >>> self.add_flow(smooth, seg_op, {("image", "image")})  # doctest: +SKIP
    """

    def __init__(self, fragment: Fragment, *args: Any, degradation: Callable[[Tensor], Tensor], **kwargs: Any) -> None:
        self.degradation = degradation
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Image in, image out."""
        spec.input("image")
        spec.output("image")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Degrade one image."""
        op_output.emit(self.degraded(op_input.receive("image")), "image")

    def degraded(self, image: Image) -> Image:
        """The image, degraded.

        Raises:
            ValueError: if the degraded image has another shape or is not finite.
        """
        volume = np.asarray(image.asnumpy())
        batch = torch.from_numpy(np.swapaxes(volume, 0, 2).astype(np.float32))[None, None]
        after = torch.as_tensor(self.degradation(batch)).detach().cpu()
        if after.shape != batch.shape or not bool(after.isfinite().all()):
            raise ValueError(
                f"degradation must give finite values of shape {tuple(batch.shape)}, got {tuple(after.shape)}."
            )
        values = np.swapaxes(after[0, 0].numpy(), 0, 2)
        if volume.dtype.kind in "iu":
            limits = np.iinfo(volume.dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return Image(values.astype(volume.dtype), dict(image.metadata()))
