"""Noise that is the same in every call."""

from __future__ import annotations

import pytest
import torch

from monai_smia.degradations import AddNoise


def test_noise_is_the_same_in_every_call_and_has_its_size() -> None:
    image = torch.zeros(1, 1, 100, 100)
    assert float(AddNoise(0.3)(image).std()) == pytest.approx(0.3, rel=0.03)
    assert not torch.equal(AddNoise(0.3)(image), AddNoise(0.3, seed=1)(image))


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"sigma must be a finite number >= 0, got -0\.1"):
        AddNoise(-0.1)


def test_every_channel_has_noise_of_its_own_and_every_image_of_a_batch_the_same() -> None:
    noise = AddNoise(0.5)(torch.zeros(2, 3, 4, 4))
    assert not torch.equal(noise[0, 0], noise[0, 1])
    assert torch.equal(noise[0], noise[1])
