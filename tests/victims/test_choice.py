"""Losses and divergences as arguments of a victim and as its methods."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from chains import CHAINS, body
from detectors import cell_label, cells, colored, small_retina
from helpers import case
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceLoss
from torch import Tensor, nn

from monai_smia.victims import ClassificationVictim, DetectionVictim, SegmentationVictim, Victim, box_losses
from monai_smia.victims.voxel_losses import soft_jaccard


def drawn() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 1, 6, 6, generator=generator), torch.randint(0, 2, (2, 1, 6, 6), generator=generator)


def first_logit(prediction: Tensor, reference: Tensor) -> Tensor:
    return prediction[:, 0, 0, 0]


def test_copies_with_another_loss_share_the_network() -> None:
    c = case("classification", 2)
    other = c.victim.with_loss("margin").with_divergence("kl")
    prediction = c.victim.predict(c.image).detach()
    assert other.network is c.victim.network
    assert not torch.equal(other.loss(prediction, c.label), c.victim.loss(prediction, c.label))
    assert not torch.equal(other.divergence(prediction, prediction), c.victim.divergence(prediction, prediction))
    again = copy.copy(c.victim)
    assert torch.equal(again.loss(prediction, c.label), c.victim.loss(prediction, c.label))


@pytest.mark.parametrize("victim", [ClassificationVictim, SegmentationVictim])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, r"loss must be one of \[.*'cross_entropy', .* got 'hinge'"),
        ({"loss": 3}, "loss must be one of .* or a callable, got 3"),
        ({"divergence": "js"}, r"divergence must be one of \['cross_entropy', 'kl', 'reverse_kl'\].* got 'js'"),
        ({"activation": "relu"}, "activation must be one of .* got 'relu'"),
    ],
)
def test_bad_arguments(victim: type[Victim], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        victim(nn.Identity(), **options)
    if "activation" not in options:
        known = victim(nn.Identity())
        with pytest.raises(ValueError, match=message):
            replace(known, **options)


class TestReplace:
    @pytest.mark.parametrize("loss", ["cross_entropy", "soft_jaccard", "margin", "masked_cross_entropy"])
    def test_the_loss_is_that_of_the_new_output(self, loss: str) -> None:
        prediction, label = drawn()
        plain = SegmentationVictim(nn.Identity(), activation="sigmoid", loss=loss)
        made = SegmentationVictim(nn.Identity(), activation="sigmoid", ignore_index=0, loss=loss)
        replaced = replace(plain, ignore_index=0)
        assert torch.equal(replaced.loss(prediction, label), made.loss(prediction, label))
        assert not torch.equal(replaced.loss(prediction, label), plain.loss(prediction, label))

    def test_the_divergence_is_that_of_the_new_output(self) -> None:
        prediction = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
        softmax = SegmentationVictim(nn.Identity())
        sigmoid = replace(softmax, activation="sigmoid")
        expected = SegmentationVictim(nn.Identity(), activation="sigmoid").divergence(prediction, -prediction)
        assert torch.equal(sigmoid.divergence(prediction, -prediction), expected)
        assert not torch.equal(softmax.divergence(prediction, -prediction), expected)

    def test_of_the_loss_keeps_all_else(self) -> None:
        prediction, label = drawn()
        victim = SegmentationVictim(nn.Conv2d(1, 1, 1), activation="sigmoid", divergence="kl", allow_empty=True)
        other = replace(victim, loss="soft_jaccard")
        assert (other.network, other.activation, other.allow_empty) == (victim.network, "sigmoid", True)
        assert (victim.loss.spec, other.loss.spec, other.divergence.spec) == ("cross_entropy", "soft_jaccard", "kl")
        assert torch.equal(other.loss(prediction, label), soft_jaccard(other.output, prediction, label))

    def test_an_own_loss_goes_along(self) -> None:
        prediction, label = drawn()
        victim = replace(SegmentationVictim(nn.Identity(), loss=first_logit, divergence=first_logit), ignore_index=9)
        assert torch.equal(victim.loss(prediction, label), prediction[:, 0, 0, 0])
        assert torch.equal(victim.divergence(prediction, prediction), prediction[:, 0, 0, 0])

    def test_gives_an_unbound_victim(self) -> None:
        victim = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=CHAINS["array"]())
        bound, _ = victim.bind(body().unsqueeze(0), torch.ones(1, 1, *body().shape[1:]))
        assert bound.frozen_preprocessing is not None
        assert replace(bound, loss="soft_jaccard").frozen_preprocessing is None
        assert bound.with_loss("soft_jaccard").frozen_preprocessing is bound.frozen_preprocessing


def test_a_loss_that_another_victim_holds_is_taken_by_its_name() -> None:
    prediction, label = drawn()
    theirs = SegmentationVictim(nn.Identity(), activation="sigmoid", loss="margin")
    ours = SegmentationVictim(nn.Identity(), activation="sigmoid", ignore_index=0, loss=theirs.loss)
    expected = SegmentationVictim(nn.Identity(), activation="sigmoid", ignore_index=0, loss="margin")
    assert torch.equal(ours.loss(prediction, label), expected.loss(prediction, label))
    assert not torch.equal(ours.loss(prediction, label), theirs.loss(prediction, label))


def test_a_named_function_is_accepted_like_its_name() -> None:
    """`box_losses.ranking` takes an output layer, which a callable of one's own does not."""
    image, label = colored((0.9, 0.1, 0.1), (0.1, 0.7, 0.1)), [cell_label(0, 1)]
    by_name = cells(loss="ranking")
    prediction = by_name.predict(image)
    for victim in (cells(loss=box_losses.ranking), cells().with_loss(box_losses.ranking)):
        assert victim.loss.spec == "ranking"
        assert torch.equal(victim.loss(prediction, label), by_name.loss(prediction, label))
    divergence = cells(divergence=box_losses.cross_entropy_distance)
    assert divergence.divergence.spec == "bce"


def test_the_parameters_are_shown() -> None:
    victim = SegmentationVictim(nn.Identity(), loss="soft_jaccard", ignore_index=9)
    assert repr(victim.loss) == "'soft_jaccard'"
    assert repr(victim) == (
        "SegmentationVictim(inferer=None, preprocessing=None, image_key='image', straight_through=False, "
        "statistics='freeze', degradation=None, loss='soft_jaccard', divergence='cross_entropy', "
        "activation='softmax', ignore_index=9, allow_empty=False)"
    )
    assert "loss='ranking', divergence='focal'" in repr(small_retina())
    assert "Conv2d" not in repr(small_retina())


def test_defaults_are_read_from_the_class() -> None:
    assert (SegmentationVictim.loss, DetectionVictim.loss, DetectionVictim.divergence) == (
        "cross_entropy",
        "ranking",
        "focal",
    )


def repr_of(loss: Any) -> str:
    return getattr(loss, "__name__", str(loss))


class TestPickle:
    @pytest.mark.parametrize("loss", [*SegmentationVictim.losses, DiceLoss(sigmoid=True), first_logit], ids=repr_of)
    def test_of_a_segmenter(self, loss: Any) -> None:
        victim = SegmentationVictim(nn.Conv2d(1, 1, 1), activation="sigmoid", ignore_index=9, loss=loss)
        prediction, label = drawn()
        copied = pickle.loads(pickle.dumps(victim))
        assert torch.equal(copied.loss(prediction, label), victim.loss(prediction, label))
        assert torch.equal(copied.divergence(prediction, -prediction), victim.divergence(prediction, -prediction))
        assert torch.equal(copied.predict(prediction), victim.predict(prediction))

    @pytest.mark.parametrize("loss", DetectionVictim.losses)
    def test_of_a_detector(self, loss: str) -> None:
        victim = cells(loss=loss, found_score=0.2)
        image, label = colored((0.9, 0.1, 0.1), (0.1, 0.7, 0.1)), [cell_label(0, 1)]
        copied = pickle.loads(pickle.dumps(victim))
        prediction = copied.predict(image)
        assert torch.equal(copied.loss(prediction, label), victim.loss(victim.predict(image), label))
        assert torch.equal(copied.divergence(prediction, prediction), victim.divergence(prediction, prediction))

    def test_of_one_with_inferer_and_preprocessing(self) -> None:
        inferer, chain = SlidingWindowInferer(12, overlap=0.5), CHAINS["resize and smooth"]()
        victim = SegmentationVictim(nn.Conv3d(1, 2, 1), inferer=inferer, preprocessing=chain)
        image = body().unsqueeze(0)
        assert torch.equal(pickle.loads(pickle.dumps(victim)).infer(image), victim.infer(image))

    @pytest.mark.parametrize("name", ["array", "dictionary"])
    def test_of_one_that_is_bound(self, name: str) -> None:
        victim = SegmentationVictim(nn.Conv3d(1, 2, 1), preprocessing=CHAINS[name]())
        image = body().unsqueeze(0)
        bound, _ = victim.bind(image, torch.ones(image.shape))
        moved = image.as_tensor() + 50
        assert torch.equal(pickle.loads(pickle.dumps(bound)).predict(moved), bound.predict(moved))
