"""Seeded thorax CT phantoms in Hounsfield units: demo data that needs no download, and extra training cases.

The anatomy (`ct_anatomy`) is a set of implicit shapes: a ramp as wide as a voxel gives every edge its partial volume,
and grids of any size and spacing cut the same patient. Axes are RAS+, the origin lies in the middle of the lungs.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from monai_smia.files import replacing
from monai_smia.targets.ct_lung.anatomy import LEFT, RIGHT, Patient, add_opacities, draw_tubes, vessel_tree
from monai_smia.targets.ct_lung.shapes import paint, smooth_noise

__all__ = ["ThoraxPhantom", "thorax_phantom", "write_ct_phantoms"]

_VERSION = 2  # raise it whenever the same seed gives other voxels: write_ct_phantoms then renews its folders


@dataclass(frozen=True)
class ThoraxPhantom:
    """One synthetic chest CT.

    Attributes:
        image: int16 HU in [-1024, 3071], shape (X, Y, Z).
        lung_mask: uint8, 1 in both lungs with the vessels and opacities inside them, 0 in trachea and main bronchi.
        infection_mask: uint8, 1 in ground glass and consolidation; a subset of ``lung_mask``.
        affine: 4x4 float64, voxel indices to RAS+ mm; the center of the volume is the origin.
    """

    image: NDArray[np.int16]
    lung_mask: NDArray[np.uint8]
    infection_mask: NDArray[np.uint8]
    affine: NDArray[np.float64]


def thorax_phantom(
    size: Sequence[int] = (128, 128, 96),
    spacing: Sequence[float] = (2.6, 2.6, 3.0),
    *,
    seed: int = 0,
    opacities: bool = True,
    noise_hu: float = 20.0,
) -> ThoraxPhantom:
    """Draw the chest CT of a random patient.

    The seed decides the patient: body and lung shape, position and roll in the scanner, densities, vessels, opacities.
    The same seed shows the same patient on every grid; texture and noise alone differ from grid to grid.

    Args:
        size: voxels along x, y, z, each at least 32.
        spacing: voxel size in mm along x, y, z. The volume is centered on the middle of the lungs, whatever its extent.
        seed: a non-negative integer.
        opacities: add a pneumonia's ground glass (-700 to -300 HU) and consolidation, mostly peripheral and posterior.
        noise_hu: standard deviation of the scanner noise in HU, correlated over about 2.4 mm.

    Returns:
        The image with its masks and affine.

    Raises:
        ValueError: if an argument is out of its range; the message names it.

    Example:
        >>> phantom = thorax_phantom((48, 48, 32), (7.0, 7.0, 9.0), seed=1)
        >>> phantom.image.shape, str(phantom.image.dtype)
        ((48, 48, 32), 'int16')
        >>> bool((phantom.infection_mask <= phantom.lung_mask).all())
        True
    """
    shape, voxel, seed = _checked(size, spacing, seed)
    if not (math.isfinite(noise_hu) and noise_hu >= 0):
        raise ValueError(f"noise_hu must be a finite standard deviation >= 0 in HU, got {noise_hu!r}")

    # Separate streams: switching the opacities off or changing the grid must not change the patient.
    anatomy, trees, disease, texture = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4))
    patient = Patient(anatomy)
    world = [((np.arange(n) - (n - 1) / 2) * v).astype(np.float32) for n, v in zip(shape, voxel, strict=True)]
    x, y, z = patient.coordinates(*np.ix_(*world))
    edge = sum(voxel) / 3

    right, left = patient.lung(x, y, z, RIGHT), patient.lung(x, y, z, LEFT)
    lungs = np.minimum(right, left)
    airway = patient.airway(x, y, z)
    # As masks thresholded at about -320 HU, this one reaches 0.3 mm into the wall; 1.5 mm are the bronchi's.
    lung_mask = (lungs < 0.3) & (airway > 1.5)

    image = np.full(shape, -1000, np.float32)
    patient.paint_body(image, x, y, z, edge)
    soft_tissue = smooth_noise(texture, shape, voxel, 7.0)
    image += np.where(image > -200, 8 * soft_tissue, 0)

    parenchyma = patient.lung_hu - 0.35 * y + 12 * soft_tissue  # gravity: the back of a lying patient's lung is denser
    parenchyma += 25 * smooth_noise(texture, shape, voxel, 2.0)
    for side in (RIGHT, LEFT):
        vessels = patient.to_world(vessel_tree(trees, patient.hilum(side), side))
        draw_tubes(parenchyma, vessels, world, edge, 40.0)
    infected = np.zeros(shape, bool)
    if opacities:
        rough = smooth_noise(disease.spawn(1)[0], shape, voxel, 14.0)
        infected = add_opacities(disease, patient, parenchyma, (x, y, z), rough) & lung_mask
    paint(image, lungs, parenchyma, edge)
    paint(image, airway - 1.5, 20.0, edge)
    paint(image, airway, -990.0, edge)

    if noise_hu:
        image += float(noise_hu) * smooth_noise(texture, shape, voxel, 2.4)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = [axis[0] for axis in world]
    return ThoraxPhantom(
        image=np.clip(np.rint(image), -1024, 3071).astype(np.int16),
        lung_mask=lung_mask.astype(np.uint8),
        infection_mask=infected.astype(np.uint8),
        affine=affine,
    )


def write_ct_phantoms(
    folder: str | os.PathLike[str],
    count: int = 2,
    *,
    size: Sequence[int] = (128, 128, 96),
    spacing: Sequence[float] = (2.6, 2.6, 3.0),
    seed: int = 0,
) -> Path:
    """Write phantoms as a dataset in the ``labels.csv`` layout of :func:`monai_smia.data.ct_datalist`.

    Case i is ``thorax_phantom(seed=seed + i)`` in ``phantom_00i.nii.gz`` (int16), ``..._lung.nii.gz`` and
    ``..._infection.nii.gz`` (uint8). The last quarter of the cases, at least one of two, is the split
    "test", the rest "train". A complete folder with the same parameters is left as it is.

    Args:
        folder: where to write; made if absent.
        count: number of cases, at least 1.
        size: voxels along x, y, z, each at least 32.
        spacing: voxel size in mm.
        seed: seed of the first case.

    Returns:
        The absolute path of the folder.

    Raises:
        ValueError: if an argument is out of its range.
        FileExistsError: if ``folder`` holds a ``labels.csv`` that is not of this function's making.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as tmp:
        ...     folder = write_ct_phantoms(tmp, 1, size=(32, 32, 32), spacing=(10.0, 10.0, 9.0))
        ...     sorted(path.name for path in folder.glob("*.nii.gz"))
        ['phantom_000.nii.gz', 'phantom_000_infection.nii.gz', 'phantom_000_lung.nii.gz']
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count must be an integer >= 1, got {count!r}")
    shape, voxel, seed = _checked(size, spacing, seed)
    folder = Path(folder).resolve()
    table, receipt = folder / "labels.csv", folder / "phantoms.json"
    parameters = {"version": _VERSION, "count": count, "size": shape, "spacing": voxel, "seed": seed}
    text = json.dumps(parameters, indent=2) + "\n"
    names = [[f"phantom_{i:03d}{part}.nii.gz" for part in ("", "_lung", "_infection")] for i in range(count)]
    if table.exists():
        if not receipt.exists():
            raise FileExistsError(
                f"folder {folder} holds another dataset (labels.csv, no phantoms.json): choose another"
            )
        if receipt.read_text() == text and all((folder / name).exists() for row in names for name in row):
            return folder
        table.unlink()  # first: a folder without labels.csv is never mistaken for a complete one

    folder.mkdir(parents=True, exist_ok=True)
    for i, row in enumerate(names):
        phantom = thorax_phantom(shape, voxel, seed=seed + i)
        for name, array in zip(row, (phantom.image, phantom.lung_mask, phantom.infection_mask), strict=True):
            nifti: Any = nib.Nifti1Image(array, phantom.affine)
            nifti.header.set_xyzt_units("mm")
            with replacing(folder / name) as path:
                nib.save(nifti, path)
    with replacing(receipt) as path:
        path.write_text(text)
    n_train = count - max(count // 4, min(count - 1, 1))
    with replacing(table) as path, path.open("w", newline="") as file:
        rows = [[*row, "train" if i < n_train else "test"] for i, row in enumerate(names)]
        csv.writer(file).writerows([["file", "lung_mask", "infection_mask", "split"], *rows])
    return folder


def _checked(
    size: Sequence[int], spacing: Sequence[float], seed: int
) -> tuple[tuple[int, ...], tuple[float, ...], int]:
    if len(size) != 3 or any(int(n) != n or n < 32 for n in size):
        raise ValueError(f"size must be three whole numbers of voxels, each at least 32, got {size!r}")
    if len(spacing) != 3 or not all(math.isfinite(v) and v > 0 for v in spacing):
        raise ValueError(f"spacing must be three positive numbers in mm, got {spacing!r}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed!r}")
    return tuple(int(n) for n in size), tuple(float(v) for v in spacing), int(seed)
