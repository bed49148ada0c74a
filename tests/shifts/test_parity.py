"""Shifts against MONAI's transforms at equal parameters."""

from __future__ import annotations

import math

import numpy as np
import torch
from monai.transforms import (
    AdjustContrast,
    Affine,
    GaussianSmooth,
    GibbsNoise,
    KSpaceSpikeNoise,
    RandBiasField,
    RandRicianNoise,
    Rotate,
    ScaleIntensityFixedMean,
)
from torch import Tensor

from monai_smia.shifts import BiasField, Blur, Contrast, Gamma, Gibbs, RicianNoise, RigidMotion, Spike, Zoom
from monai_smia.shifts.intensity import TO_SIGMA
from monai_smia.shifts.mri import degrees


def picture(*shape: int) -> Tensor:
    axes = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return (1.5 + (3 * places + 0.4).sin().prod(0) + (-4 * places.square().sum(0)).exp())[None, None]


def test_rigid_motion_is_monai_s_affine() -> None:
    """MONAI's say where the output comes from; hence the inverse motion, in voxels.

    Affine turns a picture that is not square a thousandth otherwise than Rotate, which is as scipy's.
    """
    image = picture(40, 36)
    ours = RigidMotion()(image, [8.0, 3.0, -2.0], spacing=(1, 1))[0]
    rotated = RigidMotion()(image, [8.0, 0.0, 0.0], spacing=(1, 1))[0]
    options = {"padding_mode": "border", "image_only": True, "dtype": torch.float64, "align_corners": True}
    turned = Rotate(-math.radians(8.0), keep_size=True, padding_mode="border", dtype=torch.float64, align_corners=True)(
        image[0]
    )
    torch.testing.assert_close(rotated, turned.as_tensor().double(), atol=1e-4, rtol=0)
    moved = Affine(translate_params=(-3.0, 2.0), **options)(turned)
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(
        ours[inside], moved.as_tensor().double()[inside], atol=0.02, rtol=0
    )  # interpolated twice


def test_zoom_is_monai_s_affine() -> None:
    image = picture(30, 30, 24)
    ours = Zoom()(image, [1.1], spacing=(2, 2, 2))[0]
    options = {"padding_mode": "border", "image_only": True, "dtype": torch.float64, "align_corners": True}
    theirs = Affine(scale_params=(1 / 1.1,) * 3, **options)(image[0])
    torch.testing.assert_close(ours, theirs.as_tensor().double(), atol=1e-4, rtol=0)


def test_blur_is_monai_s_gaussian_smoothing_but_for_its_border() -> None:
    """Theirs cuts the Gaussian at four standard deviations and pads with zeros."""
    image = picture(64, 48)
    ours = Blur()(image, [1.5 / TO_SIGMA], spacing=(1, 1))[0]
    theirs = torch.as_tensor(GaussianSmooth(1.5, approx="sampled")(image[0]))
    inside = (..., slice(10, -10), slice(10, -10))
    torch.testing.assert_close(ours[inside], theirs[inside].to(ours), atol=2e-3, rtol=0)


def test_gamma_is_monai_s_contrast() -> None:
    image = picture(24, 20, 16)
    theirs = torch.as_tensor(AdjustContrast(1.3)(image[0]))
    torch.testing.assert_close(Gamma()(image, [1.3])[0], theirs.to(image), atol=1e-5, rtol=0)


def test_contrast_is_monai_s_scaling_about_the_mean() -> None:
    image = picture(24, 20)
    theirs = torch.as_tensor(ScaleIntensityFixedMean(factor=0.2, preserve_range=False, fixed_mean=True)(image[0]))
    torch.testing.assert_close(Contrast()(image, [20.0, 0.0])[0], theirs.to(image), atol=1e-5, rtol=0)


def test_bias_field_is_monai_s() -> None:
    """Theirs has other degrees in 2-D, (3, 3) but not (0, 1): those are compared that both have."""
    for shape in ((20, 16), (12, 10, 8)):
        image = picture(*shape)
        generator = np.random.default_rng(0)
        powers = degrees(len(shape))
        ours = dict(zip(powers, generator.uniform(-0.1, 0.1, len(powers)), strict=True))
        coefficients, order = [], RandBiasField(degree=3)
        if len(shape) == 2:
            places = list(zip(*np.tril_indices(4), strict=True))
            ours = {place: value if place in places else 0.0 for place, value in ours.items()}
        else:
            places = [(i, j, k) for i in range(4) for j in range(4 - i) for k in range(4 - i - j)]
        coefficients = [ours.get(place, 0.0) for place in places]
        field = np.exp(order._generate_random_field(shape, 3, coefficients))
        values = [100 * ours[place] for place in powers]
        shifted = BiasField(span=(0.0, 4.0))(image, values)
        torch.testing.assert_close(shifted[0, 0], image[0, 0] * torch.as_tensor(field), atol=1e-5, rtol=0)


def test_gibbs_is_monai_s_where_no_frequency_lies_at_the_edge() -> None:
    """Theirs has a hard edge; a radius with a gap of frequencies around it makes both the same."""
    image = picture(32, 32)
    grid = np.hypot(*np.meshgrid(np.arange(-16, 16), np.arange(-16, 16)))
    radii = np.unique(grid)
    cut = np.linspace(4, 20, 4000)
    gaps = np.abs(cut[:, None] - radii).min(1)
    radius = float(cut[gaps.argmax()])
    alpha = 1 - radius * 2 / (32 * math.sqrt(2))
    theirs = torch.as_tensor(GibbsNoise(alpha)(image[0].float()))
    ours = Gibbs()(image, [alpha])[0]
    ringing = (theirs.double() - image[0]).abs().max()
    assert float(ringing) > 1e-3
    torch.testing.assert_close(ours, theirs.double(), atol=0.35 * float(ringing), rtol=0)
    together = torch.corrcoef(torch.stack([(ours - image[0]).flatten(), (theirs.double() - image[0]).flatten()]))
    assert float(together[0, 1]) > 0.97


def test_a_spike_is_the_wave_of_monai_s() -> None:
    image = picture(32, 32)
    theirs = torch.as_tensor(KSpaceSpikeNoise(loc=(16 + 7, 16 + 11), k_intensity=7.0)(image[0].float())).double()
    wave = theirs[0] - image[0, 0]
    ours = Spike(span=(0.0, 1.0))(image, [10.0])[0, 0] - image[0, 0]
    spectrum, own = torch.fft.fft2(wave).abs(), torch.fft.fft2(ours).abs()
    assert int(spectrum[1:].argmax()) in torch.topk(own[1:].flatten(), 2).indices.tolist()


def test_rician_noise_has_the_moments_of_monai_s() -> None:
    image = torch.full((1, 1, 200, 200), 0.3)
    image[..., :100] = 0
    ours = RicianNoise(span=(0.0, 1.0))(image, [10.0])[0]
    transform = RandRicianNoise(prob=1.0, mean=0.0, std=0.1, sample_std=False)
    theirs = torch.as_tensor(transform.set_random_state(0)(image[0]))
    for half in (slice(0, 100), slice(100, 200)):
        a, b = ours[..., half], theirs[..., half]
        assert abs(float(a.mean() - b.mean())) < 0.003
        assert abs(float(a.std() - b.std())) < 0.003
