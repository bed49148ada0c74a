"""An attack made on one network and evaluated on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks.base import Attack, AttackResult
from monai_smia.threat import ThreatModel
from monai_smia.victims.base import Victim


class Transfer(Attack):
    """Transfer attack: the images are made on a surrogate; the victim is only asked for their damage.

    A victim that falls to transferred images but not to attacks on itself hides its gradient.

    Args:
        attack: the attack that is run on the surrogate; radius, norm, clip, direction and seed are its own.
        surrogate: victim to make the images on; it takes the same images and labels.
        eps: radius; None for the attack's.
        **options: as for `Attack`; all default to the attack's.

    Raises:
        ValueError: if `targeted` is not the attack's.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import PGD, Transfer
        >>> from monai_smia.victims import SegmentationVictim
        >>> _ = torch.manual_seed(0)
        >>> victim, surrogate = (SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1)) for _ in range(2))
        >>> image, label = torch.rand(1, 1, 16, 16), torch.randint(0, 2, (1, 1, 16, 16))
        >>> transferred = Transfer(attack=PGD(eps=0.03), surrogate=surrogate)(victim, image, label)
        >>> bool(torch.equal(transferred.adversarial, PGD(eps=0.03)(surrogate, image, label).adversarial))
        True
    """

    def __init__(self, *, attack: Attack, surrogate: Victim, eps: float | None = None, **options: Any) -> None:
        inherited = {name: getattr(attack, name) for name in ("norm", "clip", "targeted", "seed", "progress")}
        if options.get("targeted", attack.targeted) != attack.targeted:
            raise ValueError(f"targeted must be that of the attack, {attack.targeted}.")
        super().__init__(eps=attack.eps if eps is None else eps, **{**inherited, **options})
        self.attack = attack
        self.surrogate = surrogate

    @property
    def planned_gradients(self) -> int:
        """Of the attack on the surrogate."""
        return self.attack.planned_gradients

    def bind(self, victim: Victim, image: Tensor, label: Any) -> tuple[Victim, Any]:
        """The surrogate's own label, and the surrogate, ride on the label."""
        surrogate = self.attack.victim_for(self.surrogate)
        bound, target = victim.bind(image, label, differentiable=False)
        with surrogate.frozen():
            return bound, (target, *self.attack.bind(surrogate, image, label))

    def run(
        self,
        victim: Victim,
        image: Tensor,
        label: Any,
        threat: ThreatModel,
        generators: Sequence[torch.Generator],
    ) -> AttackResult:
        """The surrogate's adversarial images, scored on the victim."""
        target, surrogate, surrogate_label = label
        with surrogate.frozen():
            result = self.attack.run(surrogate, image, surrogate_label, threat, generators)
        with torch.no_grad():
            prediction = victim.predict(result.adversarial)
            victim.check_label(prediction, target)
            loss = victim.checked_loss(prediction, target).to(result.loss)
            return replace(result, loss=loss, damage=victim.damage(prediction, target).to(result.damage))
