"""The contact sheet of docs/shifts.md: every shift at its five severities, on the synthetic cases of the bundles.

python docs/shifts.py [ct mri fundus endoscopy]        writes docs/shifts_ct.png and the others
python docs/shifts.py table                            prints the table of shifts into docs/shifts.md
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import torch
from matplotlib import pyplot as plt
from monai.data import MetaTensor
from monai.transforms import LoadImage
from torch import Tensor

from monai_smia.data import ct_datalist, write_ct_phantoms, write_fundus_phantoms, write_polyp_frames
from monai_smia.shifts import LEVELS, MODALITIES, Shift, shifts_for

HERE = Path(__file__).parent
BEGIN, END = "<!-- shifts -->", "<!-- end of shifts -->"
ZOOM = {"HUCalibration": (-200.0, 200.0), "Dose": (-200.0, 200.0), "MetalInsert": (-400.0, 400.0)}  # window in HU


def ct(folder: Path) -> MetaTensor:
    """A thorax ``(1, 1, *spatial)`` in HU."""
    place = write_ct_phantoms(str(folder / "ct"), 1, size=(112, 80, 32), spacing=(3.3, 3.3, 6.0), seed=1006)
    return LoadImage(image_only=True, ensure_channel_first=True)(
        ct_datalist(place, target="lung", split="all")[0]["image"]
    )[None]


def mri(folder: Path) -> MetaTensor:
    """The same anatomy with the contrast of a T1 image: a stand-in, since the package has no MRI phantom."""
    image = ct(folder)
    plain = image.as_tensor()
    tissue = torch.exp(-(((plain - 40) / 120) ** 2)) + 0.15 * (plain < -400) * (plain > -950)
    return MetaTensor(tissue, meta=image.meta)


def picture(path: Path) -> Tensor:
    """A picture ``(1, 3, H, W)`` in [0, 1]."""
    pixels = plt.imread(path)[..., :3]
    return torch.as_tensor(pixels / (255.0 if pixels.max() > 1 else 1.0)).float().movedim(-1, 0)[None]


def fundus(folder: Path) -> Tensor:
    """An eye."""
    place = Path(write_fundus_phantoms(str(folder / "fundus"), 1, grades=[3], size=320, seed=1000))
    return picture(sorted([*place.rglob("*.png"), *place.rglob("*.jpg"), *place.rglob("*.jpeg")])[0])


def endoscopy(folder: Path) -> Tensor:
    """A frame."""
    place = Path(write_polyp_frames(str(folder / "frames"), 1, seed=3000))
    return picture(sorted([*place.rglob("*.png"), *place.rglob("*.jpg")])[0])


def shown(image: Tensor) -> Tensor:
    """A plane as it is looked at: of a volume the middle slice along the patient, or a coronal one."""
    if image.ndim == 5:
        return image[0, 0, :, :, image.shape[-1] // 2].T
    return image[0].movedim(0, -1)


def coronal(image: Tensor) -> Tensor:
    """The middle plane with the patient's axis upright."""
    return image[0, 0, :, image.shape[3] // 2].T.flip(0)


def sheet(modality: str, image: Tensor, span: tuple[float, float]) -> Path:
    """One line for each shift: the image, and five severities."""
    shifts = shifts_for(modality, image.ndim - 2, span=None if modality == "ct" else span)
    spacing = image.pixdim.tolist() if isinstance(image, MetaTensor) else None
    plain = torch.as_tensor(image.as_tensor() if isinstance(image, MetaTensor) else image)  # projected once
    figure, axes = plt.subplots(len(shifts), LEVELS + 1, figsize=(12.5, 1.9 * len(shifts)), squeeze=False)
    for line, shift in zip(axes, shifts, strict=True):
        along = type(shift).__name__ in ("Breathing", "SliceThickness", "SmoothDeformation", "Anisotropy")
        view = coronal if along and image.ndim == 5 else shown
        low, high = ZOOM.get(type(shift).__name__, span)
        options = {"cmap": "gray", "vmin": low, "vmax": high} if image.ndim == 5 else {}
        if view is coronal:
            options["aspect"] = 6.0 / 3.3
        for level, axis in enumerate(line):
            values = shift.neutral(image.ndim - 2) if level == 0 else values_of(shift, level, image.ndim - 2)
            ends = span if modality != "ct" else (-1024.0, 3071.0)
            pixels = view(shift(plain, values, spacing=spacing).clamp(*ends))
            axis.imshow(pixels, **options)
            axis.set_axis_off()
            told = "as it was taken" if level == 0 else shift.describe(values, image.ndim - 2).replace(", ", "\n")
            axis.set_title(f"{type(shift).__name__}: {told}" if level == 0 else told, fontsize=6.5, pad=2)
    figure.subplots_adjust(0.005, 0.005, 0.995, 1 - 0.3 / len(shifts), wspace=0.02, hspace=0.32)
    path = HERE / f"shifts_{modality}.png"
    figure.savefig(path, dpi=72)
    plt.close(figure)
    return path


def values_of(shift: Shift, level: int, dims: int) -> Tensor:
    """A severity, its signs drawn alike at all levels."""
    return shift.at_severity(level, dims, torch.Generator().manual_seed(4))


def table() -> str:
    """All shifts: their parameters at the five severities, and where these come from."""
    lines = ["| shift | parameters at severity 1 / 2 / 3 / 4 / 5 | for | severities |", "|---|---|---|---|"]
    for kind in dict.fromkeys(kind for kinds in MODALITIES.values() for kind in kinds):
        dims = max(kind.dimensions)
        told = []
        for p in kind().parameters(dims):
            five = " / ".join(f"{value:.3g}" for value in p.severities)
            side = ("factor, either way " if p.factor else "+-") if p.signed else ""
            told.append(f"{p.name}{f' ({p.count} of them)' if p.count > 1 else ''}: {side}{five} {p.unit}".strip())
        where = ", ".join(name for name, kinds in MODALITIES.items() if kind in kinds)
        note = "" if kind.differentiable else " No gradient: searched at random."
        moves = " Moves labels." if kind.geometric else ""
        lines.append(f"| `{kind.__name__}` | {'; '.join(told)} | {where} | {kind.source}{moves}{note} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The page with the table of today between its marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Draw all sheets, or print the table."""
    if sys.argv[1:] == ["table"]:
        page = HERE / "shifts.md"
        page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for modality, make, span in (
            ("ct", ct, (-1000.0, 400.0)),
            ("mri", mri, (0.0, 1.1)),
            ("fundus", fundus, (0.0, 1.0)),
            ("endoscopy", endoscopy, (0.0, 1.0)),
        ):
            if modality in sys.argv[1:] or len(sys.argv) == 1:
                print(sheet(modality, make(folder), span).name)


if __name__ == "__main__":
    main()
