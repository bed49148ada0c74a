"""What a case is made of: voxels that may change, labels, patients and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from monai_smia.attacks import PGD
from monai_smia.evaluation.cases import Case, batch_of_one, load_case, patient_of, read_ahead, strata_of
from monai_smia.evaluation.fingerprint import files_of, input_hash, input_stat

CPU = torch.device("cpu")


def loaded(image: Any, **more: Any) -> Case:
    item = {"case": "c", "image": "none", "label": 1, **more.pop("item", {})}
    clips = more.pop("clips", ())
    return load_case(item, lambda item: {"image": image, "label": item["label"], **more}, CPU, clips)


def test_voxels_outside_of_the_range_are_left_alone() -> None:
    image = torch.tensor([[-5.0, 0.0, 3.0, 9.0]])
    case = loaded(image, clips=[(0.0, 9.0), (-9.0, 3.0)])
    assert case.mask[0, 0].tolist() == [False, True, True, False]
    assert case.frozen == 0.5
    own = loaded(image, clips=[(0.0, 9.0)], clip=(-5.0, 0.0))
    assert own.mask[0, 0].tolist() == [True, True, False, False]
    assert own.clip == (-5.0, 0.0)
    attack = PGD(eps=0.1, clip=(0.0, 1.0))
    assert own.own(attack).clip == (-5.0, 0.0)
    assert case.own(attack) is attack
    assert attack.clip == (0.0, 1.0)
    assert loaded(image).frozen == 0


def test_masks_and_padding_of_a_case() -> None:
    image = MetaTensor(torch.tensor([[-5.0, 0.0, 3.0, 9.0]]))
    image.meta["padding"] = [0.0, 3.0]
    case = loaded(image, mask=torch.tensor([[True, True, True, False]]), clips=[(-9.0, 9.0)])
    assert case.mask[0, 0].tolist() == [True, False, False, False]
    assert case.frozen == 0
    assert case.batch().keys() == {"image", "label", "mask"}
    other = case.with_image(case.image + 1)
    assert torch.equal(other.image, case.image + 1)
    assert other.name == "c"


def test_images_that_cannot_be_held() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="image must be finite"):
            loaded(torch.tensor([[0.0, value]]))
    for dtype in (torch.int32, torch.int64):
        assert loaded(torch.tensor([[2**24]], dtype=dtype)).image.dtype == torch.float32
        with pytest.raises(ValueError, match="image"):
            loaded(torch.tensor([[2**24 + 1]], dtype=dtype))
    assert loaded(torch.tensor([[32767]], dtype=torch.int16)).image.tolist() == [[[32767.0]]]


def test_whose_a_case_is_and_what_it_is_grouped_by() -> None:
    assert patient_of({"case": "a"}) == patient_of({"case": "a", "patient": ""}) == "a"
    assert patient_of({"case": "a", "patient": 7}) == "7"
    flat = MetaTensor(torch.zeros(1, 4, 4), affine=torch.eye(4))
    volume = MetaTensor(torch.zeros(1, 4, 4, 4), affine=torch.diag(torch.tensor([0.75, 1, 2.5, 1])))
    assert strata_of({}, flat) == strata_of({}, torch.zeros(1, 4, 4, 4)) == {}
    assert strata_of({"strata": {"site": 3}}, volume) == {"site": "3", "spacing (mm)": "0.75 x 1 x 2.5"}


def test_a_label_as_a_batch_of_one() -> None:
    image = torch.zeros(1, 4, 5)
    assert batch_of_one(None, image) is None
    assert batch_of_one([1, 2], image).tolist() == [[1, 2]]
    assert batch_of_one(torch.zeros(2, 4, 5), image).shape == (1, 2, 4, 5)
    with pytest.raises(ValueError, match="label must have the image's shape"):
        batch_of_one(torch.zeros(1, 5, 4), image)
    assert batch_of_one(torch.zeros(1, 5, 4), image, on_grid=False).shape == (1, 1, 5, 4)


def test_the_next_case_is_loaded_meanwhile_and_an_error_is_its_own() -> None:
    def load(item: dict[str, int]) -> float:
        return 6 / item["by"]

    items = [{"by": 2}, {"by": 0}, {"by": 3}]
    found = list(read_ahead(items, load))  # type: ignore[arg-type]
    assert [item for item, _ in found] == items
    assert (found[0][1], type(found[1][1]), found[2][1]) == (3.0, ZeroDivisionError, 2.0)


def test_files_that_a_value_names(tmp_path: Path) -> None:
    for name in ("a.hdr", "a.img", "b.mhd", "b.raw", "c.nii", "deep/d", "deep/e"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    def names(value: Any) -> list[str]:
        return [path.name for path in files_of(value)]

    assert names(tmp_path / "a.hdr") == ["a.hdr", "a.img"]
    assert names(str(tmp_path / "b.mhd")) == ["b.mhd", "b.raw"]
    assert names(tmp_path / "deep") == ["d", "e"]
    assert names([tmp_path / "c.nii", tmp_path / "deep"]) == ["c.nii", "d", "e"]
    for nothing in ("", None, 3, [], [1], tmp_path / "gone", {"a": 1}):
        assert names(nothing) == []
    item = {"case": "x", "image": str(tmp_path / "c.nii")}
    before, stat = input_hash(item), input_stat(item)
    assert (len(stat), stat[0][0]) == (2, 5)  # the file, and what else the item says
    assert input_stat({**item, "label": 1}) != stat
    assert input_hash({**item, "patient": "P"}) != before
    (tmp_path / "c.nii").write_text("c.nij")
    assert input_hash(item) != before
    (tmp_path / "c.nii").rename(tmp_path / "f.nii")
    assert input_hash({**item, "image": str(tmp_path / "f.nii")}) != input_hash(item)
