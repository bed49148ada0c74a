"""What is computed once of a batch, and that nothing is taken for it that it is not."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, ScaleIntensityRange, Spacing
from torch import Tensor

from monai_smia.victims import SegmentationVictim
from monai_smia.victims.batches import BatchPreprocessing, SameVoxels
from monai_smia.victims.grids import KnownGrids

AFFINE = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64))


def volume(seed: int = 0, affine: Tensor = AFFINE) -> MetaTensor:
    voxels = torch.rand(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(seed)) * 300
    return MetaTensor(voxels, affine=affine)


@pytest.fixture
def victim() -> SegmentationVictim:
    torch.manual_seed(0)
    chain = Compose([Spacing((2.0, 2.0, 2.0)), ScaleIntensityRange(-1000, 400, 0, 1, clip=True)])
    return SegmentationVictim(torch.nn.Conv3d(1, 2, 3, padding=1).requires_grad_(False), preprocessing=chain)


def label_of(image: MetaTensor) -> Tensor:
    return (image.as_tensor() > 150).long()


def test_a_bound_victim_is_not_frozen_again_on_the_same_batch(victim: SegmentationVictim) -> None:
    image = volume()
    first, target = victim.bind(image, label_of(image))
    again, _ = first.bind(image, label_of(image))
    assert again.frozen_preprocessing is first.frozen_preprocessing
    label = label_of(image).float()
    _, same = first.bind(image, label)
    assert first.bind(image, label)[1] is same
    assert torch.equal(same.long(), target)


def test_another_batch_and_one_that_was_written_to_are_frozen_anew(victim: SegmentationVictim) -> None:
    image = volume()
    label = label_of(image)
    bound, _ = victim.bind(image, label)
    frozen = bound.frozen_preprocessing
    for other in (image.clone(), volume(1), MetaTensor(image.as_tensor(), affine=AFFINE * 2)):
        assert bound.bind(other, label)[0].frozen_preprocessing is not frozen
    image.add_(1)
    assert bound.bind(image, label)[0].frozen_preprocessing is not frozen


def test_a_label_that_was_written_to_is_resampled_anew(victim: SegmentationVictim) -> None:
    image = volume()
    label = label_of(image)
    bound, before = victim.bind(image, label)
    label.fill_(1)
    assert bool(bound.bind(image, label)[1].all())
    assert not bool(before.all())


def test_what_is_inferred_is_what_the_chain_gives(victim: SegmentationVictim) -> None:
    image = volume()
    seen = torch.as_tensor(victim.preprocessing(image[0]))[None]
    bound, _ = victim.bind(image, label_of(image))
    plain = image.as_tensor()
    for _ in range(2):  # the first is known, the second computed
        assert torch.equal(bound.network_input(plain), seen)
    assert torch.equal(bound.predict(plain), victim.network(seen))
    changed = image.clone().add_(10)
    assert torch.equal(
        bound.network_input(changed.as_tensor()), torch.as_tensor(victim.preprocessing(changed[0]))[None]
    )
    written = image.clone()
    bound, _ = victim.bind(written, label_of(image))
    written.as_tensor().add_(10)
    assert torch.equal(bound.network_input(written.as_tensor()), bound.network_input(changed.as_tensor()))


def test_a_gradient_passes_the_batch_that_it_was_frozen_on(victim: SegmentationVictim) -> None:
    image = volume()
    bound, _ = victim.bind(image, label_of(image))
    point = image.as_tensor().requires_grad_(True)
    (gradient,) = torch.autograd.grad(bound.predict(point).sum(), point)
    assert bool(gradient.any())


def test_grids_are_those_that_torch_computes() -> None:
    grids = KnownGrids()
    thetas = [torch.eye(3, 4)[None] * factor for factor in (1.0, 0.5)]
    sizes = [[1, 1, 4, 5, 6], [1, 2, 3, 3, 3]]
    compute = torch.nn.functional.affine_grid
    for theta in thetas:
        for size in sizes:
            for corners in (False, True):
                with grids:
                    found = [compute(theta, size, align_corners=corners) for _ in range(2)]
                assert found[0] is found[1]
                assert torch.equal(found[0], compute(theta, size, align_corners=corners))
    assert len(grids.kept) == 8
    with grids:
        assert compute(thetas[0].clone().requires_grad_(True), sizes[0], align_corners=False).requires_grad
        assert KnownGrids().kept == {}


def test_tensors_that_do_not_count_what_is_written_are_never_known_again() -> None:
    """PyTorch's inference tensors have no version: they may have been written to."""
    plain = torch.zeros(3)
    with torch.inference_mode():
        uncounted = torch.zeros(3)
    assert SameVoxels(plain).are(plain)
    for ours, theirs in ((uncounted, uncounted), (uncounted, plain), (plain, uncounted)):
        assert not SameVoxels(ours).are(theirs)


def test_voxels_at_one_place_are_the_same_only_as_they_are_read() -> None:
    tensor = torch.zeros(4, 4)
    known = SameVoxels(tensor)
    for other in (tensor.view(2, 8), tensor.T, tensor.view(torch.int32), tensor[:2]):
        assert other.data_ptr() == tensor.data_ptr()
        assert not known.are(other)
    assert known.are(tensor.view(4, 4))


def test_what_was_computed_to_freeze_is_handed_over_once(victim: SegmentationVictim) -> None:
    image = volume()
    frozen = BatchPreprocessing(victim.preprocessing, image)
    calls = []
    for sample in frozen.samples:
        whole = sample._run
        sample._run = lambda *a, whole=whole: calls.append(1) or whole(*a)  # type: ignore[method-assign]
    first = frozen(image.as_tensor())
    assert calls == []
    second = frozen(image.as_tensor())
    assert calls == [1]
    assert torch.equal(first, second)
    again = BatchPreprocessing(victim.preprocessing, image)
    point = image.as_tensor().requires_grad_(True)
    assert again(point).requires_grad


def test_scales_of_a_batch_may_differ_by_rounding_alone() -> None:
    for factor in (1e-3, 1e3):
        for share, refused in ((0.8e-6, False), (1.3e-6, True)):
            batch = BatchPreprocessing(Compose([ScaleIntensityRange(0, 1, 0, factor)]), torch.rand(2, 1, 4, 4))
            batch.samples[1].__dict__["intensity_scale"] = -factor * (1 - share)
            batch.samples[0].__dict__["intensity_scale"] = -factor
            if refused:
                with pytest.raises(ValueError, match="scales the images of the batch differently"):
                    _ = batch.intensity_scale
            else:
                assert batch.intensity_scale == -factor


def test_whose_affine_is_not_known_is_the_same_by_its_voxels(victim: SegmentationVictim) -> None:
    plain = torch.rand(2, 1, 4, 4)
    batch = BatchPreprocessing(Compose([ScaleIntensityRange(0, 1, 0, 2)]), plain)
    assert batch.is_of(plain)
    assert not batch.is_of(plain.clone())
    assert not batch.is_of(MetaTensor(plain))
    assert not batch.subset(torch.tensor([True, True])).is_of(plain)
    assert torch.equal(batch.subset(torch.tensor([1]))(plain[1:]), 2 * plain[1:])
