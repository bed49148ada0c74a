"""An attack made on one network and evaluated on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from typing_extensions import Self

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.composite.base import OF_PARTS, CompositeAttack
from monai_smia.attacks.result import AttackResult
from monai_smia.victims.base import Victim


@dataclass(kw_only=True, eq=False)
class Transfer(CompositeAttack):
    """Transfer attack: the images are made on a surrogate; the victim is only asked for their damage.

    A victim that falls to transferred images but not to attacks on itself hides its gradient.

    Args:
        attack: the attack that is run on the surrogate.
        surrogate: victim to make the images on; it takes the same images and labels.
        eps: radius; left out, that of the attack.
        seed: left out, that of the attack.
        progress: left out, that of the attack.

    The other arguments are those of `CompositeAttack` and `Attack`.

    Raises:
        ValueError: if `norm`, `clip` or `targeted` is not that of the attack.

    Example:
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, surrogate = (SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1)) for _ in range(2))
        >>> image, label = torch.rand(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
        >>> transferred = Transfer(PGD(eps=0.03), surrogate=surrogate)(victim, image, label)
        >>> bool(torch.equal(transferred.adversarial, PGD(eps=0.03)(surrogate, image, label).adversarial))
        True
    """

    attack: Attack = field(kw_only=False)
    surrogate: Victim
    seed: int | Sequence[int] = OF_PARTS
    progress: bool = OF_PARTS

    def __post_init__(self) -> None:
        for name in ("seed", "progress"):
            if getattr(self, name) is OF_PARTS:
                setattr(self, name, getattr(self.attack, name))
        super().__post_init__()

    @property
    def parts(self) -> Sequence[Attack]:
        """The attack on the surrogate."""
        return (self.attack,)

    @property
    def knowledge(self) -> str:
        """Another network."""
        return "transfer"

    def scaled(self, factor: float) -> Self:
        """The attack scaled.

        Raises:
            ValueError: if the surrogate holds a preprocessing, which would take another unit for the image's.
        """
        if self.surrogate.preprocessing is not None:
            raise ValueError(
                "surrogate must hold no preprocessing inside NetworkSpaceAttack, which hands it what the network sees; "
                "put NetworkSpaceAttack into Transfer instead."
            )
        return super().scaled(factor)

    def with_parts(self, parts: Sequence[Attack]) -> Self:
        """The transfer of another attack."""
        (attack,) = parts
        return replace(self, attack=attack)

    def run(self, problem: AttackProblem) -> AttackResult:
        """The surrogate's adversarial images, scored on the victim."""
        victim, target = problem.victim, problem.label
        result = self.made(problem)
        with torch.no_grad():
            prediction = victim.predict(result.adversarial)
            victim.check_label(prediction, target)
            loss = victim.checked_loss(prediction, target).to(result.loss)
            damage = victim.damage(prediction, target).to(result.damage)
        return replace(result, loss=loss, damage=damage, clean_damage=torch.full_like(damage, torch.nan))

    def made(self, problem: AttackProblem) -> AttackResult:
        """The images, as the surrogate is attacked for them."""
        with self.surrogate.frozen():
            surrogate, label = self.surrogate.bind(problem.source_image, problem.source_label)
            return self.attack.run(replace(problem, victim=surrogate, label=label).part(self.attack))
