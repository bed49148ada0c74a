"""Calibration of a trained network by one number."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURES = tuple(float(t) for t in torch.logspace(-1, 1, 41, dtype=torch.float64))


@torch.no_grad()
def fold_temperature(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Temperature scaling (Guo et al., 2017), folded into the network's last layer.

    The logits are divided by the temperature of least cross entropy on the batches, out of 41 from 0.1 to 10. The
    decisions stay; the confidence becomes as large as the accuracy warrants. Label smoothing leaves logits too small,
    long training too large, and a gradient attack is misled by either: saturated voxels have no gradient.

    Args:
        network: ends with a linear layer or a (transposed) convolution that makes the logits ``(B, K, *spatial)``;
            changed in place.
        batches: pairs of images ``(B, C, *spatial)`` and classes ``(B, *spatial)``, on the network's device.

    Returns:
        The temperature.

    Raises:
        ValueError: if there are no batches, or the last layer is of another kind.

    Example:
        >>> network = nn.Linear(1, 2)
        >>> network.load_state_dict({"weight": torch.tensor([[-9.0], [9.0]]), "bias": torch.zeros(2)})
        <All keys matched successfully>
        >>> image = torch.ones(4, 1)
        >>> fold_temperature(network, [(image, torch.tensor([1, 1, 1, 0]))])  # three in four are right: log 3 = 18 / T
        10.0
    """
    layers = [m for m in network.modules() if isinstance(m, (nn.Linear, nn.modules.conv._ConvNd))]
    if not layers:
        raise ValueError(f"network must end with a linear layer or a convolution, got {type(network).__name__}.")
    losses = torch.zeros(len(TEMPERATURES), dtype=torch.float64)
    training = network.training
    network.eval()
    count = 0
    for image, label in batches:
        logits = network(image)
        count += 1
        losses += torch.stack([F.cross_entropy(logits / t, label).cpu().double() for t in TEMPERATURES])
    network.train(training)
    if not count:
        raise ValueError("batches must hold at least one batch, got none.")
    temperature = TEMPERATURES[int(losses.argmin())]
    last = layers[-1]
    last.weight.div_(temperature)
    if last.bias is not None:
        last.bias.div_(temperature)
    return temperature
