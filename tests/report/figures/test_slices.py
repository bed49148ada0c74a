"""Slices of the page: what lies where, and in which color."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from monai_smia.records import RowKey
from monai_smia.records.rows import EQUAL_RADIUS
from monai_smia.report.figures.panel import Panel
from monai_smia.report.figures.slices import INVENTED, MISSED, can_be_leafed_through, write_slices

ROW = RowKey("BIM", EQUAL_RADIUS, eps=0.05, eps_input=70.0, unit="HU", norm="linf")
AFFINE = torch.diag(torch.tensor([2.0, 3.0, 6.0, 1.0])).double()  # RAS: to the right, anterior, superior
SHAPE = (1, 10, 8, 5)
RIGHT, FRONT, TOP = (0, 9, 2, 1), (0, 4, 7, 1), (0, 4, 2, 4)  # a voxel at the patient's right, in front, at the top


def written(tmp_path: Path, *, shape: tuple[int, ...] = SHAPE, affine: Any = AFFINE, **changes: Any) -> dict[str, Any]:
    """The slices of a volume of -300 HU, attacked by +70 HU, with label, clean decision and decision as given."""
    image = MetaTensor(torch.full(shape, -300.0), affine=affine) if affine is not None else torch.full(shape, -300.0)
    maps = {}
    for name in ("label", "before", "after"):
        maps[name] = torch.zeros(shape, dtype=torch.long)
        for place in changes.get(name, ()):
            maps[name][place] = 1
    panel = Panel(ROW, image + changes.get("by", 70.0), maps["after"])
    path = tmp_path / "figures" / "a.slices.json"
    write_slices(path, image, maps["label"], maps["before"], panel, "HU")
    found: dict[str, Any] = json.loads(path.read_text())
    assert (found["bound"], found["unit"]) == (70.0, "HU")
    planes: dict[str, Any] = found["planes"]
    return planes


def picture(plane: dict[str, Any], layer: str, place: int | None = None) -> np.ndarray:
    """A picture of a layer: that where most changed."""
    data = plane["layers"][layer][plane["start"] if place is None else place]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def colored(overlay: np.ndarray, color: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Row and column of the pixels of a color."""
    return [(int(y), int(x)) for y, x in np.argwhere((overlay[..., :3] == color).all(-1) & (overlay[..., 3] > 0))]


def test_planes_are_turned_as_they_are_looked_at(tmp_path: Path) -> None:
    """The patient's right on the left, anterior up, superior up; of the sagittal plane anterior on the left."""
    planes = written(tmp_path, label=[RIGHT, FRONT, TOP], before=[RIGHT, FRONT, TOP])
    assert [planes[name]["of"] for name in ("axial", "coronal", "sagittal")] == [5, 8, 10]
    axial = picture(planes["axial"], "changed")
    assert axial.shape == (8, 10, 4)
    assert planes["axial"]["numbers"][planes["axial"]["start"]] == 1  # two of the three voxels
    assert colored(axial, MISSED) == [(0, 5), (5, 0)]  # in front: up; right: on the left
    assert colored(picture(planes["coronal"], "changed"), MISSED) == [(0, 5), (3, 0)]  # at the top: up
    assert picture(planes["sagittal"], "changed").shape == (5, 8, 4)
    assert colored(picture(planes["sagittal"], "changed"), MISSED) == [(0, 5), (3, 0)]  # in front: on the left


def test_pictures_have_the_shape_of_the_body(tmp_path: Path) -> None:
    planes = written(tmp_path, label=[RIGHT], before=[RIGHT])
    assert planes["axial"]["aspect"] == pytest.approx(20 / 24, abs=1e-4)
    assert planes["coronal"]["aspect"] == pytest.approx(20 / 30, abs=1e-4)
    assert planes["sagittal"]["aspect"] == pytest.approx(24 / 30, abs=1e-4)
    assert written(tmp_path, affine=None, label=[RIGHT])["axial"]["aspect"] == pytest.approx(10 / 8)


def test_what_was_wrong_already_is_not_the_attacks(tmp_path: Path) -> None:
    """Missed and invented by the clean decision, and by the attack: each in its own layer."""
    label, wrong_already, broken = (0, 1, 1, 2), (0, 2, 2, 2), (0, 3, 3, 2)
    planes = written(
        tmp_path, label=[label, (0, 5, 5, 2)], before=[label, wrong_already], after=[wrong_already, broken]
    )
    before, changed = (picture(planes["axial"], layer) for layer in ("before", "changed"))
    assert colored(before, INVENTED) == [(5, 7)]  # (2, 2), turned
    assert colored(before, MISSED) == [(2, 4)]
    assert colored(changed, MISSED) == [(6, 8)]
    assert colored(changed, INVENTED) == [(4, 6)]


def test_gray_values_and_the_colors_of_a_change(tmp_path: Path) -> None:
    """-300 HU is the middle of the window; the radius has the full color, red where it is more."""
    for by, low, high in ((70.0, 0, 2), (-70.0, 2, 0)):
        plane = written(tmp_path, by=by)["axial"]
        assert np.abs(picture(plane, "clean").astype(int) - 127).max() <= 2
        more = 127 + by * 255 / 1400
        assert np.abs(picture(plane, "adversarial").astype(float) - more).max() <= 3
        perturbation = picture(plane, "perturbation").reshape(-1, 3).mean(0)
        assert perturbation[low] > 80 > perturbation[high]


def test_the_reference_is_outlined(tmp_path: Path) -> None:
    label = [(0, x, y, z) for x in range(2, 7) for y in range(2, 7) for z in range(5)]
    outline = picture(written(tmp_path, label=label, affine=None)["axial"], "reference")
    assert len(colored(outline, (255, 255, 255))) == 25 - 9


def test_few_slices_of_a_long_volume_and_the_most_changed_one_among_them(tmp_path: Path) -> None:
    label = [(0, 4, 4, z) for z in range(20, 180)]
    planes = written(tmp_path, shape=(1, 8, 8, 200), label=label, before=label, after=[p for p in label if p[-1] != 77])
    axial = planes["axial"]
    assert axial["numbers"][axial["start"]] == 77
    assert 12 <= len(axial["numbers"]) <= 13
    assert (axial["numbers"][0], axial["numbers"][-1]) == (18, 181)
    assert all(len(pictures) == len(axial["numbers"]) for pictures in axial["layers"].values())


def test_what_is_thin_is_seen_in_a_large_volume(tmp_path: Path) -> None:
    """A line of one voxel in a picture of half the size."""
    line = [(0, x, 150, 1) for x in range(384)]
    plane = written(tmp_path, shape=(1, 384, 300, 3), affine=None, label=line, before=line)["axial"]
    assert picture(plane, "changed").shape == (150, 192, 4)
    assert len(colored(picture(plane, "changed"), MISSED)) == 192


def test_nothing_labeled_nothing_changed(tmp_path: Path) -> None:
    plane = written(tmp_path)["axial"]
    assert plane["numbers"] == [0, 1, 2, 3, 4]
    assert plane["start"] == 2


@pytest.mark.parametrize(
    ("image", "label", "decision", "can"),
    [
        (torch.zeros(SHAPE), torch.zeros(SHAPE), torch.zeros(SHAPE), True),
        (torch.zeros(1, 8, 8), torch.zeros(1, 8, 8), torch.zeros(1, 8, 8), False),
        (torch.zeros(2, 8, 8, 8), torch.zeros(1, 8, 8, 8), torch.zeros(1, 8, 8, 8), False),
        (torch.zeros(SHAPE), torch.zeros(1, 5, 8, 5), torch.zeros(1, 5, 8, 5), False),
        (torch.zeros(SHAPE), 1, 0, False),
        (torch.zeros(SHAPE), {"boxes": torch.zeros(1, 6)}, {"boxes": torch.zeros(1, 6)}, False),
    ],
)
def test_which_cases_have_slices(image: Any, label: Any, decision: Any, can: bool) -> None:
    assert can_be_leafed_through(image, label, decision) is can
