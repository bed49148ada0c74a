"""Real endoscopy frames, prepared for drawing: where their tissue is, and without their own highlights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_smia.targets.endoscopy.shapes import Map, enlarged


def tissue_field(frame: Map) -> NDArray[np.bool_]:
    """Where a frame shows tissue: its largest lit part, colored panels left out ``(H, W)``."""
    red, green, blue = np.moveaxis(frame, 2, 0)
    lit = (frame.max(2) > 0.1) & (np.maximum(green, blue) < 1.6 * red + 0.05)
    lit = ndimage.binary_opening(lit, iterations=3)
    parts, count = ndimage.label(lit)
    if not count:
        return lit
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(parts == sizes.argmax()))


def suppress_highlights(frame: Map) -> Map:
    """A frame without its own small specular highlights, which would be artefacts without a box.

    What is much brighter and paler than its surroundings is filled from them; large overexposed parts stay.

    Args:
        frame: ``(H, W, 3)`` in [0, 1].

    Returns:
        A new frame of the same shape.
    """
    height, width = frame.shape[:2]
    dull = frame.min(2)
    coarse = ndimage.median_filter(dull[::4, ::4], size=max(height // 50 * 2 + 1, 5))
    background = enlarged(coarse, 4)[:height, :width]
    glare = (dull - background > 0.1) & ndimage.binary_erosion(tissue_field(frame), iterations=height // 40)
    glare = ndimage.binary_dilation(glare, iterations=max(height // 110, 2))
    # from the nearest pixels, and from further off where there are none; a quarter of the resolution is enough for that
    pad = ((0, -height % 4), (0, -width % 4), (0, 0))
    known = np.pad((~glare).astype(np.float32)[..., None], pad)
    sums = np.concatenate([np.pad(frame, pad) * known, known], 2)
    sums = sums.reshape(sums.shape[0] // 4, 4, sums.shape[1] // 4, 4, 4).mean((1, 3))
    filled, missing = frame.copy(), glare
    for sigma in (0.7, 1.5, 3.5):
        smooth = ndimage.gaussian_filter(sums, (sigma, sigma, 0))
        take = missing & (enlarged(smooth[..., 3], 4)[:height, :width] > 0.05)
        colors = np.moveaxis(smooth[..., :3] / np.maximum(smooth[..., 3:], 1e-6), 2, 0)
        filled[take] = np.stack([enlarged(c, 4)[:height, :width][take] for c in colors], 1)
        missing = missing & ~take
    return filled
