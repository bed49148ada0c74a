from __future__ import annotations

from typing import Any

import pytest
import torch
from chains import AFFINE, CHAINS, OTHER, PIXDIM, apply, batch_of, body
from helpers import assert_untouched, case, network, snapshot, unsettled
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Compose,
    NormalizeIntensity,
    Orientation,
    ScaleIntensity,
    ScaleIntensityRangePercentiles,
    Spacing,
    SpatialPad,
)
from torch import Tensor, nn

from monai_smia.attacks import BIM, PGD
from monai_smia.victims import ClassificationVictim, SegmentationVictim, Victim
from monai_smia.victims.base import check_same_grid
from monai_smia.victims.batches import BatchPreprocessing
from monai_smia.victims.preprocessing import FrozenPreprocessing


def test_looks_through_distributed_data_parallel() -> None:
    net = network("classification", 2)
    wrapped = nn.parallel.DistributedDataParallel.__new__(nn.parallel.DistributedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.module = net
    assert ClassificationVictim(wrapped).network is net


def test_infer_is_the_network_in_eval_mode() -> None:
    c = case("segmentation", 2)
    expected = c.victim.network(c.image).detach()
    net = unsettled(c.victim.network)
    before = snapshot(net)
    got = c.victim.infer(c.image)
    assert torch.equal(got, expected)
    assert not got.requires_grad
    assert_untouched(net, before)


def test_intensity_scale_without_preprocessing() -> None:
    assert case("segmentation", 2).victim.intensity_scale() == 1.0


@pytest.mark.parametrize("inferer", [None, SlidingWindowInferer(6, overlap=0.5)])
def test_a_compiled_network_is_a_victim_like_any_other(inferer: SlidingWindowInferer | None) -> None:
    """With the backend that changes nothing the attack is the same bit for bit; the network comes back untouched."""
    c = case("segmentation", 2, inferer=inferer)
    attack = PGD(eps=0.05, steps=3)
    expected = attack(c.victim, c.image, c.label)
    compiled = torch.compile(unsettled(c.victim.network), backend="eager")
    before = snapshot(c.victim.network)
    result = attack(SegmentationVictim(compiled, inferer=inferer), c.image, c.label)
    assert_untouched(c.victim.network, before)
    assert torch.equal(result.adversarial, expected.adversarial)


def segmenter(name: str) -> SegmentationVictim:
    net = network("segmentation", 3, channels=1, classes=2).eval()
    return SegmentationVictim(net, preprocessing=CHAINS[name]())


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["array", "dictionary lazy"])
def test_infer_answers_on_the_grid_of_the_image(name: str, context: Any) -> None:
    image, victim = body(), segmenter(name)
    with context():
        logits = victim.infer(MetaTensor(image.as_tensor()[None], meta=image.meta))
    assert logits.shape == (1, 2, *image.shape[1:])
    on_network = victim.network(apply(CHAINS[name](), image).as_tensor()[None]).detach()
    expected = FrozenPreprocessing(CHAINS[name](), image).back(on_network[0])
    torch.testing.assert_close(logits[0], expected, rtol=0, atol=1e-4)
    assert not logits.requires_grad


def test_infer_decides_anew() -> None:
    """Nothing of a clean image stays: the percentiles are those of the image that comes in."""
    chain = Compose([ScaleIntensityRangePercentiles(5, 95, 0, 1)])
    victim = SegmentationVictim(torch.nn.Identity(), preprocessing=chain)
    image = body().as_tensor()
    first, second = (victim.infer(x[None]) for x in (image, 2 * image))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["array", "array lazy", "dictionary", "dictionary lazy"])
def test_attack_in_hounsfield_on_the_grid_of_the_image(name: str) -> None:
    image, victim = body(), segmenter(name)
    batch = MetaTensor(image.as_tensor()[None], meta=image.meta)
    label = (victim.infer(batch).argmax(1, keepdim=True)).long()
    label[0, 0, 8:12, 5:9, 7:11] = 1
    result = PGD(eps=42.0, clip=(-1024.0, 3071.0), steps=5)(victim, batch, MetaTensor(label, meta=image.meta))
    assert isinstance(result.adversarial, MetaTensor)
    assert torch.equal(result.adversarial.affine, AFFINE)
    assert float(result.perturbation.abs().max()) == pytest.approx(42.0, rel=1e-4)
    assert bool((result.loss > result.loss_history[0]).all())
    bound, target = victim.bind(batch, label)
    after = bound.loss(bound.predict(result.adversarial.as_tensor()), target).detach()
    torch.testing.assert_close(result.loss, after)


def test_a_batch_of_cases_gives_what_each_gives() -> None:
    chain = Compose(
        [Orientation("RAS", labels=None), Spacing((2.0, 2.0, 2.0)), NormalizeIntensity(), SpatialPad((24, 24, 24))]
    )
    net = network("segmentation", 3, channels=1, classes=2).double().eval()

    class InDouble(torch.nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return net(image.double())

    victim = SegmentationVictim(InDouble(), preprocessing=chain)
    images = [body((16, 16, 16)), body((16, 16, 16), OTHER, seed=1)]
    label = torch.stack([(i.as_tensor() > -500).long() for i in images])
    attack = PGD(eps=42.0, norm="l2", clip=None, steps=4, step_size=20.0)
    together = attack(victim, batch_of(images), label)
    for i, image in enumerate(images):
        alone = attack(victim, MetaTensor(image.as_tensor()[None], meta=image.meta), label[i : i + 1])
        torch.testing.assert_close(
            together.perturbation.as_tensor()[i], alone.perturbation.as_tensor()[0], rtol=0, atol=1e-2
        )


def test_an_attack_through_a_transform_that_blocks_the_gradient_is_refused() -> None:
    victim = SegmentationVictim(torch.nn.Conv3d(1, 2, 1), preprocessing=Compose([Spacing(PIXDIM, mode=3)]))
    image = body().unsqueeze(0)
    with pytest.raises(ValueError, match="Spacing blocks the gradient"):
        BIM(eps=10.0, clip=None)(victim, image, torch.ones(image.shape))


class TestBinding:
    def test_freezes_on_the_clean_batch(self) -> None:
        victim = SegmentationVictim(nn.Identity(), preprocessing=Compose([ScaleIntensity()]))
        image = torch.rand(2, 1, 8, 8)
        assert victim.frozen_preprocessing is None
        bound, _ = victim.bind(image, torch.zeros(2, 1, 8, 8))
        assert isinstance(bound.frozen_preprocessing, BatchPreprocessing)
        assert victim.frozen_preprocessing is None
        torch.testing.assert_close(bound.predict(2 * image), 2 * bound.predict(image) - bound.predict(0 * image))
        assert not torch.allclose(victim.predict(2 * image), bound.predict(2 * image))

    def test_without_preprocessing_there_is_nothing_to_freeze_or_to_check(self) -> None:
        c = case("segmentation", 2)
        bound, target = c.victim.bind(c.image, MetaTensor(c.label))
        assert bound.network is c.victim.network
        assert type(target) is Tensor
        assert bound.frozen_preprocessing is None
        bound.check_differentiable()

    def test_a_label_on_another_grid_is_refused(self) -> None:
        image = MetaTensor(torch.rand(1, 1, 8, 8, 8), affine=AFFINE)
        label = MetaTensor(torch.ones(1, 1, 8, 8, 8), affine=OTHER)
        check_same_grid(image, MetaTensor(label.as_tensor(), affine=AFFINE))
        with pytest.raises(ValueError, match="the affines differ"):
            SegmentationVictim(nn.Identity()).bind(image, label)

    def test_what_blocks_the_gradient_is_named_on_request(self) -> None:
        victim = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=Compose([Spacing(PIXDIM, mode=3)]))
        image = body().unsqueeze(0)
        with pytest.raises(ValueError, match="must be bound to an image"):
            victim.check_differentiable()
        bound, target = victim.bind(image, torch.ones(image.shape))  # to predict it will do
        assert bound.predict(image.as_tensor()).shape[2:] == target.shape[2:]
        with pytest.raises(ValueError, match=r"Spacing blocks the gradient.*NetworkSpaceAttack"):
            bound.check_differentiable()


@pytest.mark.parametrize("name", ["loss", "divergence"])
def test_a_subclass_that_defines_a_loss_as_a_method_is_told(name: str) -> None:
    with pytest.raises(TypeError, match=rf"Own.{name} is an argument, no method.*`{name[:4]}"):
        type("Own", (Victim,), {name: lambda self, prediction, label: prediction})
