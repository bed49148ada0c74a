"""The CT bundle's robust weights; how they are trained is in test_train_robust.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bundles.shipped import CT

from monai_smia.attacks import PGD
from monai_smia.victims import SegmentationVictim


@pytest.mark.slow
def test_the_robust_weights_stand_where_the_standard_ones_fall(shared_data: Callable[[str], Path]) -> None:
    """A cube of 96 voxels of the held-out patient, 42 HU, on the network's grid."""
    parser = CT.parser("attack_eval", dataset_dir=str(shared_data("ct")), space="network")
    case = parser.get_parsed_content("evaluation").loading(parser.get_parsed_content("datalist")[0])
    image, label = (case[key].as_tensor()[None] for key in ("image", "label"))
    place = [slice(None), slice(None)]
    for axis, size in zip(label[0, 0].nonzero().T, label.shape[2:], strict=True):
        start = max(0, min(int(axis.float().mean()) - 48, size - 96))
        place.append(slice(start, start + 96))
    image, label = image[tuple(place)].clone(), label[tuple(place)].clone()
    network = parser.get_parsed_content("network")
    victim = SegmentationVictim(network)
    jaccard = {}
    for name in ("model", "model_robust"):
        network.load_state_dict(torch.load(CT.root / "models" / f"{name}.pt", weights_only=True))
        attack = PGD(eps=0.03, steps=20, loss="soft_jaccard", autocast="bfloat16", progress=False)
        attacked = victim.infer(attack(victim, image, label).adversarial)
        jaccard[name] = [1 - float(victim.damage(seen, label)) for seen in (victim.infer(image), attacked)]
    assert jaccard["model"][1] < 0.5
    assert jaccard["model_robust"][1] >= 0.8
    assert jaccard["model_robust"][0] >= jaccard["model"][0] - 0.05
