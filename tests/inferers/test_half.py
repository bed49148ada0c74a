"""Predictions stitched in half precision: values to its rounding, the gradient in full, half the memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

from monai_smia.attacks import BIM, SMIA, CosPGD
from monai_smia.inferers.sliding_window import CheckpointedSlidingWindowInferer
from monai_smia.victims import SegmentationVictim, slabs
from monai_smia.victims.slabs import in_full

TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
LOSSES = ("cross_entropy", "soft_jaccard", "sharp_jaccard", "masked_cross_entropy", "balanced_cross_entropy")
LOSSES += ("jensen_shannon", "margin", "volume_down")


def network(classes: int = 5, gain: float = 4.0) -> nn.Module:
    """Small, smooth and frozen."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv3d(1, 6, 3, padding=1), nn.Tanh(), nn.Conv3d(6, classes, 3, padding=1))
    with torch.no_grad():
        layers[2].weight *= gain
    return layers.requires_grad_(False).eval()


def volume(*shape: int) -> Tensor:
    return torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(1))


def victim(dtype: str, loss: Any = "cross_entropy", mode: str = "gaussian") -> Any:
    inferer = SlidingWindowInferer(8, sw_batch_size=3, overlap=0.5, mode=mode)
    return SegmentationVictim(network(), inferer=inferer, loss=loss).with_logits(dtype)


@pytest.mark.parametrize("mode", ["gaussian", "constant"])
@pytest.mark.parametrize("dtype", TYPES)
def test_values_are_those_of_float32_to_its_rounding(dtype: str, mode: str) -> None:
    """Eight windows meet in a voxel, so that it is rounded eight times at most."""
    image = volume(20, 16, 12)
    full, half = (victim(name, mode=mode).infer(image) for name in ("float32", dtype))
    assert (full.dtype, half.dtype) == (torch.float32, TYPES[dtype])
    bound = 8 * torch.finfo(TYPES[dtype]).eps / 2 * full.abs().amax()
    assert float((half.float() - full).abs().max()) <= float(bound)
    assert not torch.equal(half.float(), full)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", TYPES)
def test_the_gradient_is_that_of_the_loss_at_the_rounded_values(dtype: str, loss: str) -> None:
    """By plain autograd through MONAI's own window, the rounding passed straight through."""
    image = volume(16, 12, 12)
    label = victim("float32").decide(victim("float32").infer(image)).roll(2, 2)
    bound, target = victim(dtype, loss).bind(image, label)
    leaf = image.clone().requires_grad_(True)
    prediction = bound.predict(leaf)
    assert prediction.dtype == TYPES[dtype]
    value = bound.checked_loss(prediction, target)
    (ours,) = torch.autograd.grad(value.sum(), leaf)
    again = image.clone().requires_grad_(True)
    plain = SlidingWindowInferer(8, sw_batch_size=3, overlap=0.5, mode="gaussian")(again, bound.network)
    rounded = plain + (prediction.detach().float() - plain).detach()
    expected = victim("float32", loss).bind(image, label)[0].checked_loss(rounded, target)
    (theirs,) = torch.autograd.grad(expected.sum(), again)
    assert value.dtype == torch.float32
    assert torch.allclose(value, expected, rtol=1e-5)
    assert float(theirs.abs().max()) > 0
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_a_loss_of_ones_own_is_given_float32_and_its_gradient_is_not_rounded() -> None:
    """A cotangent of 1e-9 would be 0 in half precision."""
    image = volume(16, 12, 12).requires_grad_(True)
    seen = []

    def tiny(prediction: Tensor, label: Tensor) -> Tensor:
        seen.append(prediction.dtype)
        return 1e-9 * prediction.flatten(1).sum(1)

    half, full = victim("float16", tiny), victim("float32", tiny)
    gradients = [
        torch.autograd.grad(each.loss(each.predict(image), image.detach().long()).sum(), image)[0]
        for each in (half, full)
    ]
    assert seen == [torch.float32] * 2
    assert float(gradients[1].abs().max()) > 0
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-14)


@pytest.mark.parametrize("attack", [BIM(eps=0.05, steps=3), CosPGD(eps=0.05, steps=3), SMIA(eps=0.05, steps=3)])
def test_attacks_do_as_much_damage(attack: Any) -> None:
    image = volume(16, 12, 12)
    label = victim("float32").decide(victim("float32").infer(image))
    damages = [float(attack(victim(dtype), image, label, seed=0).damage) for dtype in ("float32", "float16")]
    assert damages[0] > 0.05
    assert damages[1] == pytest.approx(damages[0], abs=0.02)


def test_a_prediction_takes_half_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of its size in full is made on the way, in either direction."""
    monkeypatch.setattr(slabs, "SLAB", 2**16)
    image, sizes = volume(16, 16, 16), []
    inferer = CheckpointedSlidingWindowInferer(8, overlap=0.5, logits=torch.float16)

    class Largest(torch.overrides.TorchFunctionMode):
        """Notes the bytes of what functions return."""

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = function(*args, **(kwargs or {}))
            if isinstance(found, Tensor):
                sizes.append(found.numel() * found.element_size())
            return found

    with Largest():
        prediction = inferer(image.requires_grad_(True), network(classes=64))
        whole = prediction.numel() * prediction.element_size()
        SegmentationVictim(nn.Identity()).loss(prediction, torch.zeros(1, 1, 16, 16, 16).long()).sum().backward()
    assert whole == 64 * 16**3 * 2
    assert max(sizes) == whole


def test_what_cannot_be_held_is_said() -> None:
    image = volume(16, 12, 12)
    with pytest.raises(ValueError, match=r"logits must lie within 65504 to be held in float16, got .*bfloat16 holds"):
        SegmentationVictim(network(gain=1e7), inferer=SlidingWindowInferer(8)).with_logits("float16").infer(image)
    with pytest.raises(ValueError, match="does not return one tensor of a window's size"):
        CheckpointedSlidingWindowInferer(8, logits=torch.float16)(image, nn.AvgPool3d(2))
    with pytest.raises(ValueError, match=r"logits must be one of \('float32', 'float16', 'bfloat16'\), got 'half'"):
        victim("half")
    with pytest.raises(ValueError, match="logits must be 'float32' where no SlidingWindowInferer stitches them"):
        SegmentationVictim(network()).with_logits("float16")


def test_an_image_smaller_than_a_window_keeps_float32() -> None:
    assert victim("float16").infer(volume(6, 12, 12)).dtype == torch.float32


def test_what_is_in_full_stays_as_it_is() -> None:
    value = torch.ones(1, 2)
    assert in_full(value) is value
    assert in_full(value.half()).dtype == torch.float32
