from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.nn import functional as F

from monai_smia.targets.ct_lung import fold_temperature
from monai_smia.targets.ct_lung.calibration import TEMPERATURES


def batches(count: int = 4) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(2, 1, 16, 16, generator=generator) for _ in range(count)]
    noisy = [image[:, 0] + 0.2 * torch.randn(image[:, 0].shape, generator=generator) for image in images]
    return [(image, (guess > 0.5).long()) for image, guess in zip(images, noisy, strict=True)]


def cross_entropy(network: nn.Module) -> float:
    with torch.no_grad():
        return float(sum(F.cross_entropy(network(image), label) for image, label in batches()))


def threshold(sharpness: float) -> nn.Module:
    """Two logits whose difference is sharpness * (image - 0.5)."""
    network = nn.Conv2d(1, 2, 1)
    network.load_state_dict(
        {
            "weight": torch.tensor([0.0, sharpness]).view(2, 1, 1, 1),
            "bias": torch.tensor([0.0, -sharpness / 2]),
        }
    )
    return network


@pytest.mark.parametrize("sharpness", [2.0, 10.0, 60.0])
def test_no_other_temperature_has_less_cross_entropy(sharpness: float) -> None:
    network = threshold(sharpness)
    temperature = fold_temperature(network, batches())
    least = cross_entropy(network)
    assert temperature in TEMPERATURES[1:-1]
    assert all(least <= cross_entropy(threshold(sharpness / t)) + 1e-6 for t in TEMPERATURES)


def test_over_and_underconfident_networks_end_alike() -> None:
    weights = []
    for sharpness in (2.0, 60.0):
        network = threshold(sharpness)
        fold_temperature(network, batches())
        weights.append(network.weight[1].item())
    assert weights[0] == pytest.approx(weights[1], rel=0.13)  # a step of the grid


def test_decisions_mode_and_other_layers_stay() -> None:
    torch.manual_seed(0)
    network = UNet(2, 1, 2, (4, 8), (2,), norm="batch").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    image = batches(1)[0][0]
    logits = network.eval()(image)
    network.train()
    temperature = fold_temperature(network, batches())
    assert network.training
    torch.testing.assert_close(network.eval()(image) * temperature, logits)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert len(changed) == 2


def test_nothing_to_calibrate_on() -> None:
    with pytest.raises(ValueError, match="batches must hold at least one batch"):
        fold_temperature(threshold(1.0), [])
    with pytest.raises(ValueError, match="network must end with a linear layer or a convolution, got Sigmoid"):
        fold_temperature(nn.Sigmoid(), batches())
