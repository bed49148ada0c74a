from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_smia.targets.ct_lung import RandBowelGasd

LUNG, TISSUE = -850.0, 40.0


def chest(base: int = 30, side: int = 48) -> dict[str, torch.Tensor]:
    """Lung above soft tissue, its surface half in each; background and lung as labels."""
    lung = torch.zeros(1, side, side, side)
    lung[:, 6:-6, 6:-6, base:] = 1
    lung[:, 6:-6, 6:-6, base - 1] = 0.5
    return {"image": TISSUE + (LUNG - TISSUE) * lung, "label": torch.cat([1 - lung, lung])}


def paint(item: dict[str, torch.Tensor], seed: int, **options: object) -> torch.Tensor:
    return RandBowelGasd("image", prob=1.0, **options).set_random_state(seed)(item)["image"]  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(8))
def test_gas_lies_apart_from_the_lung_and_is_darker(seed: int) -> None:
    item = chest()
    painted = paint(item, seed)
    changed = painted != item["image"]
    near_lung = torch.from_numpy(ndimage.maximum_filter(item["label"][1].numpy(), 3) == 1)[None]
    assert not changed[near_lung].any()
    assert changed.any()
    gas = painted[painted < LUNG - 50]
    assert len(gas) > 30
    assert (painted <= item["image"]).all()  # nothing gets brighter than the tissue it replaces


def test_most_of_it_hugs_the_diaphragm() -> None:
    item = chest(base=40)
    painted = [paint(item, seed, pockets=(1, 1), radius=(5.0, 6.0)) for seed in range(60)]
    centers = [ndimage.center_of_mass((TISSUE - image[0, ..., :38]).numpy())[2] for image in painted]
    assert np.median(centers) > 24  # of 38 voxels below the lung; a uniform draw has 19


def test_noise_makes_nothing_darker_than_air() -> None:
    item = chest()
    item["image"] = ((item["image"] + 1000) / 1400).clamp(0, 1)
    painted = paint(item, 0, air=(0.0, 0.0), noise=0.1, tissue=(0.6, 0.9))
    assert painted.min() == 0
    assert ((painted > 0) & (painted < 0.05)).any()


def test_labels_and_the_input_stay_and_seeds_repeat() -> None:
    item = chest()
    before = {key: value.clone() for key, value in item.items()}
    painted = RandBowelGasd("image", prob=1.0).set_random_state(3)(item)
    assert all(torch.equal(item[key], before[key]) for key in item)
    assert torch.equal(painted["label"], before["label"])
    assert painted["image"].dtype == item["image"].dtype
    assert torch.equal(painted["image"], paint(item, 3))
    assert not torch.equal(painted["image"], paint(item, 4))


def test_without_soft_tissue_below_lung_nothing_is_painted() -> None:
    item = chest()
    upside_down = {key: value.flip(-1) for key, value in item.items()}
    for untouched in (upside_down, {**item, "image": torch.full_like(item["image"], -1000.0)}):
        assert torch.equal(paint(untouched, 0), untouched["image"])


def test_the_probability_decides() -> None:
    item = chest()
    transform = RandBowelGasd("image", prob=0.25).set_random_state(0)
    painted = sum(not torch.equal(transform(item)["image"], item["image"]) for _ in range(80))
    assert 10 <= painted <= 30
