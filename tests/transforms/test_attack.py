from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import Case, case
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose, EnsureTyped, Identityd

from monai_smia.attacks import BIM
from monai_smia.transforms import ApplyAttack, ApplyAttackD, ApplyAttackd, ApplyAttackDict

ATTACK = BIM(eps=0.05, steps=3)
AFFINE = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0], dtype=torch.float64))


def expected(c: Case, i: int = 0, **options: Any) -> torch.Tensor:
    return ATTACK(c.victim, c.image[i : i + 1], c.label[i : i + 1], **options).adversarial[0]


@pytest.mark.parametrize(("task", "dims"), [("segmentation", 2), ("segmentation", 3), ("classification", 2)])
@pytest.mark.parametrize("make", [lambda t: t, lambda t: t.numpy(), MetaTensor], ids=["tensor", "array", "meta"])
def test_array_form(make: Any, task: str, dims: int) -> None:
    c = case(task, dims)
    before = c.image.clone()
    got = ApplyAttack(ATTACK, c.victim)(make(c.image[0]), make(c.label[0]))
    assert torch.equal(torch.as_tensor(got), expected(c))
    assert not got.requires_grad
    assert torch.equal(c.image, before)


@pytest.mark.parametrize("number", [int, np.int64, torch.tensor])
def test_a_class_number(number: Any) -> None:
    c = case("classification", 2)
    got = ApplyAttack(ATTACK, c.victim)(c.image[0], number(int(c.label[0])))
    assert torch.equal(torch.as_tensor(got), expected(c))


def test_metadata_stays() -> None:
    c = case("segmentation", 2)
    image = MetaTensor(c.image[0], affine=AFFINE, meta={"filename_or_obj": "case.nii"})
    got = ApplyAttack(ATTACK, c.victim)(image, MetaTensor(c.label[0], affine=AFFINE))
    assert isinstance(got, MetaTensor)
    assert torch.equal(got.affine, AFFINE)
    assert got.meta["filename_or_obj"] == "case.nii"
    assert not got.is_batch


@pytest.mark.parametrize(("image_meta", "label_meta"), [(True, True), (True, False), (False, True)])
def test_affines_are_compared_where_both_are_known(image_meta: bool, label_meta: bool) -> None:
    c = case("segmentation", 2)
    image = MetaTensor(c.image[0], affine=AFFINE) if image_meta else c.image[0]
    label = MetaTensor(c.label[0], affine=AFFINE * 2) if label_meta else c.label[0]
    transform = ApplyAttack(ATTACK, c.victim)
    if image_meta and label_meta:
        with pytest.raises(ValueError, match="label must lie on the image's grid"):
            transform(image, label)
    else:
        assert torch.equal(torch.as_tensor(transform(image, label)), expected(c))


class TestDictionary:
    def test_aliases(self) -> None:
        assert ApplyAttackD is ApplyAttackDict is ApplyAttackd

    def test_attacks_its_keys_and_leaves_the_rest(self) -> None:
        c = case("segmentation", 2)
        data = {"image": c.image[0], "other": c.image[1], "label": c.label[0], "name": "case"}
        keep = dict(data)
        got = ApplyAttackd("image", ATTACK, c.victim)(data)
        assert torch.equal(torch.as_tensor(got["image"]), expected(c))
        assert all(got[key] is data[key] for key in ("other", "label", "name"))
        assert data == keep

    def test_several_keys(self) -> None:
        c = case("segmentation", 2)
        data = {"a": c.image[0], "b": c.image[1], "truth": c.label[0]}
        got = ApplyAttackd(["a", "b"], ATTACK, c.victim, label_key="truth")(data)
        other = ATTACK(c.victim, c.image[1:2], c.label[:1]).adversarial[0]
        assert torch.equal(torch.as_tensor(got["a"]), expected(c))
        assert torch.equal(torch.as_tensor(got["b"]), other)

    @pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (2, 8, 8)])
    def test_mask_key(self, shape: tuple[int, ...]) -> None:
        c = case("segmentation", 2)
        mask = torch.rand(shape, generator=torch.Generator().manual_seed(0)) > 0.5
        data = {"image": c.image[0], "label": c.label[0], "roi": mask}
        got = torch.as_tensor(ApplyAttackd("image", ATTACK, c.victim, mask_key="roi")(data)["image"])
        assert torch.equal(got, expected(c, mask=mask))
        assert torch.equal(got[~mask.expand_as(got)], c.image[0][~mask.expand_as(got)])

    def test_missing_keys(self) -> None:
        c = case("segmentation", 2)
        data = {"label": c.label[0]}
        with pytest.raises(KeyError, match="image"):
            ApplyAttackd("image", ATTACK, c.victim)(data)
        assert ApplyAttackd("image", ATTACK, c.victim, allow_missing_keys=True)(data) == data

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"label_key": "truth"}, "label_key must be .* got 'truth'"),
            ({"mask_key": "roi"}, "mask_key must be .* 'roi'"),
        ],
    )
    def test_missing_label_or_mask(self, options: dict[str, str], message: str) -> None:
        c = case("segmentation", 2)
        with pytest.raises(KeyError, match=message):
            ApplyAttackd("image", ATTACK, c.victim, **options)({"image": c.image[0], "label": c.label[0]})

    def test_in_a_pipeline(self) -> None:
        c = case("segmentation", 2)
        data = [
            {"image": MetaTensor(x, affine=AFFINE), "label": MetaTensor(y, affine=AFFINE)}
            for x, y in zip(c.image, c.label, strict=True)
        ]
        chain = Compose(
            [EnsureTyped(["image", "label"]), ApplyAttackd("image", ATTACK, c.victim), Identityd(["image", "label"])]
        )
        batches = list(DataLoader(Dataset(data, chain), batch_size=2, num_workers=0))
        got = torch.cat([batch["image"].as_tensor() for batch in batches])
        assert torch.equal(got, torch.stack([expected(c, i) for i in range(3)]))
        assert torch.equal(batches[0]["image"].affine[0], AFFINE)
        assert not got.requires_grad


@pytest.mark.parametrize("label", [None, "a_lung.nii.gz", [1, 0]])
def test_a_label_that_is_no_tensor(label: Any) -> None:
    c = case("segmentation", 2)
    for call in (
        lambda: ApplyAttack(ATTACK, c.victim)(c.image[0], label),
        lambda: ApplyAttackd("scan", ATTACK, c.victim)({"scan": c.image[0], "label": label}),
    ):
        with pytest.raises(ValueError, match=r"^label must be a tensor, .*, got (None|'a_l|a list)"):
            call()
    with pytest.raises(ValueError, match=r"^lung must be a tensor"):
        ApplyAttackd("scan", ATTACK, c.victim, label_key="lung")({"scan": c.image[0], "lung": label})


@pytest.mark.parametrize("image", [None, "a.nii.gz", [[0.5]], 0.5])
def test_an_image_that_is_no_tensor(image: Any) -> None:
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match=r"^img must be a tensor or an array, got (None|'a.nii.gz'|a list|a float)"):
        ApplyAttack(ATTACK, c.victim)(image, c.label[0])
    with pytest.raises(ValueError, match=r"^scan must be a tensor or an array, got"):
        ApplyAttackd("scan", ATTACK, c.victim)({"scan": image, "label": c.label[0]})
