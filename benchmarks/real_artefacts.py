"""Real artefacts: how the detector that learned drawn ones finds highlights and overexposure in real frames.

    python benchmarks/real_artefacts.py ENDOSCOPY
    python benchmarks/real_artefacts.py ENDOSCOPY --find > candidates.csv

``real_artefacts.csv`` holds boxes of 69 frames of PolypGen's part val, onto which nothing was drawn for training.
`find` proposed them by brightness, on 88 frames taken evenly. Then a viewer, who did not know what the detector finds,
struck what is text, a tool, the rim of a cap, stool or pale tissue, and left out frames that brightness does not
decide: with dense or dyed highlights, with overexposure that was not found, or without a box. No box was added.

Two of the seven classes can be decided so. Blur and poor contrast have no border, and what is an instrument, a bubble
or a miscellaneous artifact is not a matter of brightness. Highlights of fewer than five pixels of the scaled frame have
no box, so that a box which meets none of the objects may still show a highlight; where flecks are near each other,
which of them share a box is the rule's choice. Hence, beside mAP, the share of objects whose center is covered.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from measured import ROOT, Claims, Row, Table, add_save, save
from monai.bundle import ConfigParser
from monai.data.box_utils import box_centers, box_iou, centers_in_boxes
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from monai_smia.data import EAD_CLASSES, endoscopy_datalist, write_artefact_frames
from monai_smia.metrics import DetectionMetrics
from monai_smia.targets.endoscopy.clean import tissue_field
from monai_smia.targets.endoscopy.shapes import enlarged

BUNDLE = ROOT / "bundles" / "endoscopic_artefact_detection"
BOXES = ROOT / "benchmarks" / "real_artefacts.csv"
COLUMNS = ("file", "class", "x1", "y1", "x2", "y2")
CLASSES = ("specularity", "saturation")
SIZE = (256, 192)  # what the detector sees
SURE = 0.3  # the score from which a box counts

Found = tuple[str, int, int, int, int]  # class, x1, y1, x2, y2


def candidates(frame: NDArray[np.float32]) -> Iterator[Found]:
    """Overexposed regions, then highlights, of a frame ``(H, W, 3)`` in [0, 1] scaled into `SIZE`.

    Overexposure is a region brighter than 0.9, of at least 0.8 % of the tissue and nowhere a mere line. A highlight is
    brighter and paler than its surroundings; flecks less than five pixels apart are one.
    """
    height, width = frame.shape[:2]
    dull = frame.min(2)
    tissue = ndimage.binary_erosion(ndimage.binary_closing(tissue_field(frame), iterations=6), iterations=3)
    bright = frame.mean(2) > 0.9
    wide = ndimage.binary_propagation(ndimage.binary_opening(bright, iterations=3), mask=bright) & tissue
    parts, _ = ndimage.label(ndimage.binary_closing(wide, iterations=3) & tissue)
    overexposed = np.zeros_like(wide)
    for number, place in enumerate(ndimage.find_objects(parts), 1):
        part = parts[place] == number
        if part.sum() >= 0.008 * tissue.sum():
            overexposed[place] |= part
            yield "saturation", *_box(part, place)
    around = enlarged(ndimage.median_filter(dull[::4, ::4], size=9), 4)[:height, :width]
    glare = (dull - around > 0.22) & (dull > 0.55) & tissue & ~ndimage.binary_dilation(overexposed, iterations=3)
    parts, _ = ndimage.label(ndimage.binary_dilation(glare, iterations=2))
    for number, place in enumerate(ndimage.find_objects(parts), 1):
        part = (parts[place] == number) & glare[place]
        x1, y1, x2, y2 = _box(part, place)
        near = np.s_[max(y1 - 4, 0) : y2 + 4, max(x1 - 4, 0) : x2 + 4]
        lit = np.median(frame[near][~glare[near]].max(1)) >= 0.2  # not text on black
        compact = part.sum() >= max(12, 0.12 * (x2 - x1) * (y2 - y1)) and max(x2 - x1, y2 - y1) <= 60
        if lit and compact and min(x2 - x1, y2 - y1) >= 5:
            yield "specularity", x1, y1, x2, y2


def _box(part: NDArray[np.bool_], place: tuple[slice, slice]) -> tuple[int, int, int, int]:
    """The extent of a part that was cut out of the frame at `place`."""
    rows, columns = np.nonzero(part)
    top, left = place[0].start, place[1].start
    return left + columns.min(), top + rows.min(), left + columns.max() + 1, top + rows.max() + 1


def find(path: str | Path) -> list[tuple[str, float, float, float, float]]:
    """`candidates` of a picture file, in its own pixels."""
    with Image.open(path) as picture:
        frame = picture.convert("RGB")
    scale = min(new / old for new, old in zip(SIZE, frame.size, strict=True))
    small = frame.resize([round(side * scale) for side in frame.size], Image.Resampling.BILINEAR)
    x, y = (old / new for old, new in zip(frame.size, small.size, strict=True))
    listed = candidates(np.asarray(small, np.float32) / 255)
    return [(name, *(round(float(v), 1) for v in (x1 * x, y1 * y, x2 * x, y2 * y))) for name, x1, y1, x2, y2 in listed]


def boxed_frames() -> dict[str, list[list[str]]]:
    """The committed boxes: file, relative to the folder of the frames -> class, x1, y1, x2, y2 of each."""
    with BOXES.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS, header
    frames: dict[str, list[list[str]]] = {}
    for name, *box in rows:
        frames.setdefault(name, []).append(box)
    return frames


def decisions(items: list[dict[str, Any]], output: Path) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """What the bundle's artefact detector decides on every frame, and the label, both of `CLASSES` alone."""
    parser = ConfigParser()
    parser.read_config([BUNDLE / "configs" / f"{name}.yaml" for name in ("evaluate", "artefacts")])
    parser.update({"bundle_root": str(BUNDLE), "output_dir": str(output), "datalist": items, "frame_size": list(SIZE)})
    network, victim = (parser.get_parsed_content(name) for name in ("network", "victim"))
    network.load_state_dict(torch.load(parser.get_parsed_content("weights"), weights_only=True))
    numbers = torch.tensor([EAD_CLASSES.index(name) for name in CLASSES])
    for batch in parser.get_parsed_content("dataloader"):
        with torch.no_grad():
            decided = victim.decide(victim.predict(batch["image"]))[0]
        yield tuple(
            {key: values[torch.isin(boxes["labels"], numbers)] for key, values in boxes.items()}
            for boxes in (decided, batch["label"][0])
        )


def measure(items: list[dict[str, Any]], output: Path) -> list[Row]:
    """A row of every class."""
    metrics, pairs = DetectionMetrics(EAD_CLASSES), list(decisions(items, output))
    summary = metrics.summary([metrics.compare(*pair) for pair in pairs])
    rows: list[Row] = []
    for name in CLASSES:
        of_class = [[boxes_of(boxes, name) for boxes in pair] for pair in pairs]
        covered = torch.cat([within(truth, found) for found, truth in of_class])
        meeting = torch.cat([(box_iou(found, truth) > 0).any(1) for found, truth in of_class])
        rows.append({"class": name, "frames": len(pairs), "objects": len(covered), "boxes": len(meeting)})
        rows[-1] |= {"map50": summary[f"map50_{name}"], "covered": float(covered.float().mean())}
        rows[-1]["meeting"] = float(meeting.float().mean()) if len(meeting) else None
    return rows


def boxes_of(boxes: dict[str, Tensor], name: str) -> Tensor:
    """Those of a class ``(N, 4)``, of a decision the ones that count."""
    chosen = boxes["labels"] == EAD_CLASSES.index(name)
    return boxes["boxes"][chosen & (boxes["scores"] >= SURE) if "scores" in boxes else chosen]


def within(truth: Tensor, found: Tensor) -> Tensor:
    """Whether the center of each object lies in a box ``(N,)``."""
    centers = box_centers(truth)
    inside = [centers_in_boxes(centers, box.expand(len(centers), 4)) for box in found]
    return torch.stack(inside).any(0) if inside else torch.zeros(len(truth), dtype=torch.bool)


def claims(rows: list[Row]) -> Claims:
    """How far what was drawn stands for what is real."""
    real, drawn = ({row["class"]: row for row in rows if row["artefacts"] == kind} for kind in ("real", "drawn"))
    for name in CLASSES:
        ours, theirs = real[name], drawn[name]
        yield (
            f"{name.capitalize()}: mAP@0.5 {ours['map50']:.2f} on real ones and {theirs['map50']:.2f} on drawn ones; "
            f"covered are {ours['covered']:.0%} of the real ones and {theirs['covered']:.0%} of the drawn ones.",
            ours["map50"] < theirs["map50"],
        )


TABLES = {
    "table": Table(
        {
            "artefacts": "{artefacts}",
            "class": "{class}",
            "frames": "{frames}",
            "objects": "{objects}",
            "mAP@0.5": "{map50:.3f}",
            "covered": "{covered:.2f}",
            "boxes": "{boxes}",
            "of these meet an object": "{meeting:.2f}",
        },
        claims=claims,
    )
}


def main() -> None:
    """Print the table of real and drawn artefacts on the same frames, or the candidates of all frames of val."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endoscopy", type=Path, help="the folder of PolypGen's frames, with labels.csv")
    parser.add_argument("--find", action="store_true", help="print the candidates of the part val, and measure nothing")
    add_save(parser)
    args = parser.parse_args()
    if args.find:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(COLUMNS)
        for item in endoscopy_datalist(args.endoscopy, classes=["polyp"], split="val"):
            picture = Path(item["image"])
            table.writerows((picture.relative_to(args.endoscopy.resolve()), *box) for box in find(picture))
        return
    frames = boxed_frames()
    pictures = [(args.endoscopy / name).resolve() for name in frames]
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        real, drawn = Path(folder, "real.csv"), Path(folder, "drawn")
        with real.open("w", newline="", encoding="utf-8") as file:
            lines = ((path, *box) for path, boxes in zip(pictures, frames.values(), strict=True) for box in boxes)
            csv.writer(file).writerows([COLUMNS, *lines])
        write_artefact_frames(drawn, len(pictures), frames=pictures, seed=3000)
        for kind, source in (("real", real), ("drawn", drawn)):
            items = endoscopy_datalist(source, classes=EAD_CLASSES)
            rows += [{"artefacts": kind, **row} for row in measure(items, Path(folder, f"{kind}_cases"))]
    print(*rows, sep="\n")
    weights = [BUNDLE / "models" / "model_artefacts.pt", BOXES]
    save(args.save, rows, seeds=[3000], weights=weights, data=[args.endoscopy])


if __name__ == "__main__":
    main()
