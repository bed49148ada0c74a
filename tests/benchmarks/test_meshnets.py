"""Networks of other people under PGD: what a plain loop of signed steps does, voxel for voxel."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.inferers import SlidingWindowInferer, sliding_window_inference
from torch.nn import functional

from monai_smia.attacks import PGD
from monai_smia.victims import SegmentationVictim

HERE = all(name in os.environ for name in ("MONAI_SMIA_MODELS", "MONAI_SMIA_DATA"))
READS = importlib.util.find_spec("safetensors") is not None


@pytest.fixture(scope="module")
def script() -> Any:
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import meshnets
    finally:
        sys.path.remove(folder)
    return meshnets


@pytest.mark.parametrize("weights", ["drawn", "real"])
def test_steps_at_four_grey_levels_are_those_of_a_plain_loop(script: Any, weights: str) -> None:
    """Three classes, cross entropy through MONAI's own window, no random start; every step was scored."""
    if weights == "real" and not (HERE and READS):
        pytest.skip("needs the networks of brainchop, its scan and safetensors")
    torch.manual_seed(0)
    network = script.meshnet("model5_gw_ae") if weights == "real" else script.drawn_meshnet(3, channels=5)
    image = script.scan(24) if weights == "real" else torch.rand(1, 1, 24, 24, 24)
    eps, size, steps = 4 / 255, 1 / 255, 3

    def predicted(volume: torch.Tensor) -> Any:
        return sliding_window_inference(volume, 16, 4, network, overlap=0.25)

    with torch.no_grad():
        label = predicted(image).argmax(1, keepdim=True)
    point, losses = image.clone(), []
    for _ in range(steps):
        leaf = point.clone().requires_grad_(True)
        loss = functional.cross_entropy(predicted(leaf), label[:, 0], reduction="sum")
        losses.append(float(loss))
        (gradient,) = torch.autograd.grad(loss, leaf)
        point = (image + (point + size * gradient.sign() - image).clamp(-eps, eps)).clamp(0, 1)
    victim = SegmentationVictim(network, inferer=SlidingWindowInferer(16, 4, overlap=0.25), allow_empty=True)
    attack = PGD(eps=eps, steps=steps, step_size=size, random_start=False, keep="last", loss="cross_entropy")
    result = attack(victim, image, label)
    assert result.loss_history[:steps, 0].tolist() == pytest.approx(losses, rel=1e-5)
    turned = (result.adversarial - point).abs() > 1e-6  # a gradient of nearly 0, whose sign is rounding
    assert float(turned.float().mean()) < 1e-3
    assert float(result.perturbation.abs().max()) <= eps + 1e-6
