"""A product for the tests: a script that segments what is dark, and ways in which it goes wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_smia.adapters.product.queries import Query

SCRIPT = """
import os, sys, time
import nibabel as nib
import numpy as np

source, target, how = sys.argv[1:4]
image = nib.load(source)
mask = (image.get_fdata() < -620).astype(np.uint8)
answer = nib.Nifti1Image(mask, image.affine)
if how == "status":
    sys.exit("no licence for SECRET server")
elif how == "nothing":
    pass
elif how == "empty":
    open(target, "w").close()
elif how in ("half", "half_plain"):
    target = target if how == "half" else target.removesuffix(".gz")
    nib.save(answer, target)
    os.truncate(target, os.path.getsize(target) // 2)
elif how == "shape":
    nib.save(nib.Nifti1Image(mask[1:], image.affine), target)
elif how == "affine":
    nib.save(nib.Nifti1Image(mask, image.affine @ np.diag([-1.0, 1, 1, 1])), target)
elif how == "fractions":
    nib.save(nib.Nifti1Image(mask.astype(np.float32) / 2, image.affine), target)
elif how == "classes":
    nib.save(nib.Nifti1Image(mask * 7, image.affine), target)
elif how == "yesterday":
    nib.save(answer, target)
    os.utime(target, (time.time() - 86400,) * 2)
elif how == "two":
    nib.save(answer, target)
    nib.save(answer, os.path.join(os.path.dirname(target), "other.nii.gz"))
elif how == "slow":
    time.sleep(60)
else:
    nib.save(answer, target)
"""


def command(folder: Path, how: str = "well") -> tuple[str, ...]:
    """Arguments of a product that goes wrong in a way, or goes well."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "product.py"
    script.write_text(SCRIPT)
    return (sys.executable, str(script), "{input}", "{output}", how)


class InProcess:
    """The same product without a process."""

    def __init__(self, threshold: float = -620) -> None:
        self.threshold = threshold

    def fingerprint_parts(self) -> dict[str, str]:
        return {"product": "called alike whatever it does"}

    def ask(self, query: Query, folder: Path, classes: int) -> np.ndarray:
        return (nib.load(query.path).get_fdata() < self.threshold).astype(np.uint16)  # type: ignore[attr-defined]


def cases(folder: Path, count: int = 1) -> tuple[Path, Path]:
    """Images and labels: a dark box in a CT."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, label = np.full((12, 10, 8), -520, np.int16), np.zeros((12, 10, 8), np.uint8)
        image[3:9, 2:8, 2:6], label[3:9, 2:8, 2:6] = -700, 1
        image += np.random.default_rng(number).integers(-60, 61, image.shape, dtype=np.int16)
        affine = np.diag([-0.7, -0.7, 2.5, 1.0])
        nib.save(nib.Nifti1Image(image, affine), folder / "images" / f"case{number}.nii.gz")
        nib.save(nib.Nifti1Image(label, affine), folder / "labels" / f"case{number}.nii.gz")
    return folder / "images", folder / "labels"
