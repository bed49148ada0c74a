"""Calls that a type checker has to reject, marked ``# error``, and calls that it has to accept; never run."""

from __future__ import annotations

from dataclasses import replace

from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

from monai_smia.attacks import PGD, SMIA, Ensemble, NetworkSpaceAttack
from monai_smia.victims import ClassificationVictim, DetectionVictim, SegmentationVictim, degraded


def own_loss(prediction: Tensor, label: Tensor) -> Tensor:
    return prediction.flatten(1).sum(1)


def misspelt(net: nn.Module) -> None:
    PGD(epsilon=0.1)  # error
    SMIA(eps=0.1, stepsize=0.01)  # error
    PGD(0.1)  # error
    PGD(eps="0.1")  # error
    SegmentationVictim(net, inferrer=None)  # error
    SegmentationVictim(net, SlidingWindowInferer(8))  # error
    ClassificationVictim(net, loss=3)  # error
    ClassificationVictim(net, allow_empty=True)  # error
    DetectionVictim(net, found_iuo=0.5)  # error
    SegmentationVictim(net).loss = 3  # error
    SegmentationVictim(net).with_loss(None)  # error


def right(net: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    victim = SegmentationVictim(net, inferer=SlidingWindowInferer(8), loss="soft_jaccard", ignore_index=255)
    victim.divergence = "kl"
    other = replace(victim, loss=own_loss, degradation=lambda x: x / 2)
    attack = Ensemble(attacks=[PGD(eps=0.1, steps=20), NetworkSpaceAttack(attack=SMIA(eps=0.1, step_size=0.01))])
    result = attack(other, image, label, seed=3)
    prediction = victim.predict(result.adversarial)
    allowed: bool = degraded(victim, lambda x: x / 2).allow_empty  # of the victim's own class
    return victim.loss(prediction, label) + victim.divergence(prediction, prediction) * allowed
