"""The fundus bundle's robustly trained grader, and the unit that its radii are in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bundles.shipped import FUNDUS
from monai.transforms import LoadImage

from monai_smia.attacks import BIM
from monai_smia.data import fundus_datalist
from monai_smia.targets.fundus import LocalContrast


def test_its_file_is_the_one_that_the_documents_name() -> None:
    found = hashlib.sha256((FUNDUS.root / "models" / "model_robust.pt").read_bytes()).hexdigest()
    assert found in (FUNDUS.root / "docs" / "README.md").read_text()


def test_a_grey_level_is_as_much_contrast_as_the_config_says(
    shared_data: Callable[[str], Path],
) -> None:
    """0.04, the median over the fields of view of twelve photographs."""
    text = (FUNDUS.root / "configs" / "train_robust.yaml").read_text()
    assert "where one grey level is 0.04 (the median over the field of view)" in text
    contrast, changes = LocalContrast(), []
    for item in fundus_datalist(shared_data("fundus"), split="train")[::35]:
        image = LoadImage(image_only=True, ensure_channel_first=True)(item["image"]).as_tensor()
        change = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).sign()
        before, after = contrast(image / 255), contrast((image + change) / 255)
        changes.append((after - before).abs()[:, image.amax(0) > 40].flatten())
    assert float(torch.cat(changes).median()) == pytest.approx(0.04, abs=0.005)


@pytest.mark.slow
def test_it_stands_where_the_standard_one_falls(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Thirteen photographs of its held-out fold, a quarter of a grey level; the standard one, which it began with, was
    trained on most of them."""
    options = {"dataset_dir": str(shared_data("fundus")), "output_dir": str(tmp_path)}
    held = FUNDUS.parser("train", fold=0, **options).get_parsed_content("held_out_fold")
    parser = FUNDUS.parser("attack_eval", **options)
    victim, run = parser.get_parsed_content("victim"), parser.get_parsed_content("evaluation")
    attack = BIM(eps=0.25, steps=10, clip=(0.0, 255.0), progress=False)
    cases = [(run.loading(item)["image"][None].as_tensor(), torch.tensor([item["label"]])) for item in held[::7]]
    right = {}
    for name in ("model", "model_robust"):
        victim.network.load_state_dict(torch.load(FUNDUS.root / "models" / f"{name}.pt", weights_only=True))
        for way in ("clean", "attacked"):
            pairs = [(attack(victim, *case).adversarial if way == "attacked" else case[0], case[1]) for case in cases]
            right[name, way] = sum(int(victim.decide(victim.infer(image))) == int(label) for image, label in pairs)
    assert right["model", "attacked"] <= 1
    assert right["model_robust", "attacked"] >= 4
    assert right["model_robust", "clean"] >= right["model", "clean"] - 2
