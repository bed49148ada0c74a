"""Slices of an attacked volume for the page: three planes through the place of most added error."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from monai.data import MetaTensor
from monai.transforms import Orientation
from PIL import Image
from torch import Tensor

from monai_smia.files import write_text
from monai_smia.report.figures.panel import WINDOWS, Panel
from monai_smia.victims.preprocessing import as_plain

PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}  # the axis of LPS that is leafed through
MOST, PIXELS = 12, 192  # slices of a plane, pixels of their longer side
MISSED, INVENTED = (230, 159, 0), (86, 180, 233)  # of Okabe and Ito: told apart by who sees no red or no green
MARGIN = 2  # slices beyond what is of interest


def can_be_leafed_through(image: Tensor, label: Any, decision: Any) -> bool:
    """Whether a case is a volume of one channel whose label and decision are maps on its grid."""
    maps = isinstance(label, Tensor) and isinstance(decision, Tensor)
    return bool(image.ndim == 4 and image.shape[0] == 1 and maps and image.shape == label.shape == decision.shape)


def write_slices(
    path: Path, image: Tensor, label: Tensor, clean_decision: Tensor, panel: Panel, unit: str = ""
) -> None:
    """Write the slices of an attacked volume as JSON of WebP pictures.

    Of every plane, slices of the clean and the adversarial image, of the perturbation, of the reference's outline, of
    the errors of the clean decision, and of what the attack changed: voxels that were right and are missed or invented
    now. The patient's right is on the left, anterior or superior up, if the image is a MetaTensor.

    Args:
        path: to write.
        image: clean image ``(1, *spatial)``.
        label: label map ``(1, *spatial)``.
        clean_decision: decision on the clean image ``(1, *spatial)``.
        panel: the attack, with the decision ``(1, *spatial)``.
        unit: unit of the image.
    """
    volume = _Volume.of(image, label, clean_decision, panel, unit)
    planes = {name: volume.plane(axis) for name, axis in PLANES.items()}
    write_text(path, json.dumps({"bound": panel.bound, "unit": unit, "planes": planes}))


@dataclass(frozen=True)
class _Volume:
    """Layers ``(x, y, z)`` in LPS, by name; gray ones in [0, 255], masks true where something is."""

    pictures: Mapping[str, np.ndarray]
    truth: np.ndarray
    before: Mapping[str, np.ndarray]
    changed: Mapping[str, np.ndarray]
    spacing: tuple[float, float, float]

    @classmethod
    def of(cls, image: Tensor, label: Tensor, clean_decision: Tensor, panel: Panel, unit: str) -> _Volume:
        affine = image.affine if isinstance(image, MetaTensor) else None
        clean, attacked, truth, was, now = (
            _turned(each, affine) for each in (image, panel.image, label, clean_decision, panel.decision)
        )
        low, high = WINDOWS.get(unit, (float(clean.min()), float(clean.max())))
        scale = 255 / max(high - low, 1e-12)
        change = (attacked - clean) / (2 * panel.bound) + 0.5
        pictures = {
            "clean": ((clean - low) * scale).clip(0, 255).astype(np.uint8),
            "adversarial": ((attacked - low) * scale).clip(0, 255).astype(np.uint8),
            "perturbation": (change * 255).clip(0, 255).round().astype(np.uint8),
        }
        wrong, after = was != truth, now != truth
        before = {"missed": wrong & (truth > 0), "invented": wrong & (truth == 0)}
        changed = {"missed": after & ~wrong & (truth > 0), "invented": after & ~wrong & (truth == 0)}
        spacing = (1.0, 1.0, 1.0) if affine is None else _spacing(image, affine)
        return cls(pictures, truth > 0, before, changed, spacing)

    def plane(self, axis: int) -> dict[str, Any]:
        """One plane: where to begin, the slices' numbers, their width by their height, and the layers' pictures."""
        of_interest = self.changed["missed"] | self.changed["invented"]
        counts = of_interest.sum(tuple(i for i in range(3) if i != axis))
        start, numbers = _chosen(counts, (self.truth | of_interest).any(tuple(i for i in range(3) if i != axis)))
        across, up = (i for i in range(3) if i != axis)
        size = [self.truth.shape[i] * self.spacing[i] for i in (across, up)]
        layers: dict[str, list[str]] = {name: [] for name in (*self.pictures, "reference", "before", "changed")}
        for number in numbers:
            for name, volume in self.pictures.items():
                layers[name].append(_gray(_cut(volume, axis, number), colored=name == "perturbation"))
            layers["reference"].append(_outline(_cut(self.truth, axis, number)))
            for name, masks in (("before", self.before), ("changed", self.changed)):
                layers[name].append(_filled(*(_cut(masks[kind], axis, number) for kind in ("missed", "invented"))))
        of = int(self.truth.shape[axis])
        return {"start": start, "numbers": numbers, "of": of, "aspect": round(size[0] / size[1], 4), "layers": layers}


def _turned(value: Tensor, affine: Any) -> np.ndarray:
    plain = as_plain(value).detach().cpu()
    if affine is not None:
        plain = as_plain(Orientation("LPS", labels=None)(MetaTensor(plain, affine=affine)))
    return np.asarray(plain[0].float().numpy())


def _spacing(image: Tensor, affine: Any) -> tuple[float, float, float]:
    turned: Any = Orientation("LPS", labels=None)(MetaTensor(as_plain(image)[:, :1, :1, :1], affine=affine))
    x, y, z = (float(value) for value in turned.pixdim)
    return x, y, z


def _chosen(counts: np.ndarray, is_interesting: np.ndarray) -> tuple[int, list[int]]:
    """The place of the slice with most of what changed among those chosen, and their numbers."""
    places = np.flatnonzero(is_interesting) if is_interesting.any() else np.arange(len(counts))
    most = int(counts.argmax()) if counts.any() else int(places[len(places) // 2])
    low, high = max(0, int(places[0]) - MARGIN), min(len(counts) - 1, int(places[-1]) + MARGIN)
    numbers = sorted({most, *np.linspace(low, high, min(MOST, high - low + 1)).round().astype(int).tolist()})
    return numbers.index(most), numbers


def _cut(volume: np.ndarray, axis: int, number: int) -> np.ndarray:
    """A slice as it is looked at: anterior up of an axial one, superior up of the others."""
    picture = np.take(volume, number, axis).T
    return picture if axis == PLANES["axial"] else picture[::-1]


def _size(picture: np.ndarray) -> tuple[int, int]:
    scale = min(1.0, PIXELS / max(picture.shape))
    return max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))


def _gray(picture: np.ndarray, *, colored: bool) -> str:
    small = Image.fromarray(np.ascontiguousarray(picture)).resize(_size(picture), Image.Resampling.BOX)
    if colored:  # blue is less than before, red is more
        small = Image.fromarray((colormaps["RdBu_r"](np.asarray(small))[..., :3] * 255).astype(np.uint8))
    return _webp(small.convert("RGB"), quality=70)


def _small(mask: np.ndarray) -> np.ndarray:
    """A mask in the size of the page; of what is thin a quarter of a pixel is enough."""
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize(_size(mask), Image.Resampling.BOX)
    return np.asarray(small) >= 64


def _outline(mask: np.ndarray) -> str:
    inside = np.pad(_small(mask), 1, mode="edge")
    inner = inside[2:, 1:-1] & inside[:-2, 1:-1] & inside[1:-1, 2:] & inside[1:-1, :-2]
    return _overlay([(inside[1:-1, 1:-1] & ~inner, (255, 255, 255), 255)])


def _filled(missed: np.ndarray, invented: np.ndarray) -> str:
    return _overlay([(_small(missed), MISSED, 170), (_small(invented), INVENTED, 170)])


def _overlay(parts: list[tuple[np.ndarray, tuple[int, int, int], int]]) -> str:
    picture = np.zeros((*parts[0][0].shape, 4), np.uint8)
    for mask, color, alpha in parts:
        picture[mask] = (*color, alpha)
    return _webp(Image.fromarray(picture, "RGBA"), lossless=True)


def _webp(picture: Image.Image, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", method=2, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
