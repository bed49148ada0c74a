from __future__ import annotations

import pytest
import torch

from monai_smia.targets.fundus import RandPaintLesionsd, random_color


def healthy(**more: object) -> dict[str, object]:
    return {"image": torch.full((3, 96, 96), 120, dtype=torch.uint8), "label": 0, "paint": 1, **more}


def test_painted_grades_follow_their_shares() -> None:
    paint = RandPaintLesionsd("image", grade_share=(1, 0, 1, 2, 0))
    paint.set_random_state(0)
    grades = [paint(healthy())["label"] for _ in range(120)]
    counts = [grades.count(g) for g in range(5)]
    assert counts[1] == counts[4] == 0
    assert abs(counts[0] - 30) < 14
    assert abs(counts[3] - 60) < 16


def test_the_map_is_where_the_photograph_changed() -> None:
    paint = RandPaintLesionsd("image", grade_share=(0, 0, 0, 1, 0))
    paint.set_random_state(0)
    item = paint(healthy())
    changed = (item["image"] - 120).abs().amax(0) > 1
    assert changed.any()
    assert bool((item["lesions"].amax(0)[changed] > 0).all())
    assert item["image"].dtype == torch.float32
    assert not torch.equal(item["image"], paint(healthy())["image"]), "anew at every draw"


def test_others_are_left_alone() -> None:
    paint = RandPaintLesionsd("image")
    item = paint(healthy(paint=0, label=3))
    assert item["label"] == 3
    assert torch.equal(item["image"], torch.full((3, 96, 96), 120.0))
    assert not item["lesions"].any()


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="label must be 0 where lesions are painted, got 2"):
        RandPaintLesionsd("image")(healthy(label=2))
    for share in ((1, 1), (0, 0, 0, 0, 0), (1, 1, 1, 1, -1)):
        with pytest.raises(ValueError, match="grade_share must be five shares"):
            RandPaintLesionsd("image", grade_share=share)


def test_color_stays_in_its_bounds() -> None:
    color = random_color("image", brightness=0.2, tint=0.1, gamma=0.0).set_random_state(0)
    images = torch.stack([color({"image": torch.full((3, 2, 2), 0.5)})["image"][:, 0, 0] for _ in range(50)])
    assert float(images.min()) >= 0.5 * 0.8 * 0.9 - 1e-6
    assert float(images.max()) <= 0.5 * 1.2 * 1.1 + 1e-6
    assert images.std(0).min() > 0.03


def test_color_does_not_leave_the_unit_interval() -> None:
    color = random_color("image", brightness=0.2, tint=0.1, gamma=0.2).set_random_state(0)
    ramp = torch.linspace(0, 1, 16).expand(3, 4, 16)
    images = torch.stack([color({"image": ramp})["image"] for _ in range(50)])
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    middle = images[:, :, 0, 8] / images[:, :, 0, 15].clamp(max=0.999)  # the exponent alone, where nothing was cut
    assert middle.std() > 0.02
