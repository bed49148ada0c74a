"""Attacks on a network's embedding of an image, whatever it is prompted with afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from typing_extensions import Self

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.composite.base import OF_PARTS, CompositeAttack
from monai_smia.attacks.result import AttackResult
from monai_smia.victims.choice import PerSample
from monai_smia.victims.embedding import EmbeddingVictim


@dataclass(kw_only=True, eq=False)
class Embedding(CompositeAttack):
    """Drives the embedding of an image away from that of the clean one (after Croce & Hein, arXiv 2311.14450).

    For networks that are prompted: the attack sees no prompt, no label and no decision, and may hurt all of them. The
    objective is the squared distance of the outputs of one part of the network, summed over windows that slide over the
    whole image. `loss`, `damage` and what it does to decisions are the victim's, of the image returned; the history is
    that of the distance. At the clean image the distance has no gradient: the attack must start beside it, as `PGD`
    does.

    Args:
        attack: any attack with a gradient and a random start.
        of: name of the part, such as ``"image_encoder"``; it is given what the network is given.
        eps: radius; left out, that of the attack. So are `seed` and `progress`.

    The other arguments are those of `CompositeAttack` and `Attack`.

    Raises:
        ValueError: if `of` is no text, or the attack starts at the image; in use, if the network has no such part.

    Example:
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(4, 2, 1))
        >>> image, label = torch.rand(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
        >>> result = Embedding(PGD(eps=0.1, steps=3), of="0")(SegmentationVictim(network), image, label)
        >>> bool(result.loss_history[-1] > result.loss_history[0])
        True
    """

    attack: Attack = field(kw_only=False)
    of: str
    loss: str | PerSample | None = None
    seed: int | Sequence[int] = OF_PARTS
    progress: bool = OF_PARTS

    def __post_init__(self) -> None:
        for name in ("seed", "progress"):
            if getattr(self, name) is OF_PARTS:
                setattr(self, name, getattr(self.attack, name))
        super().__post_init__()
        if not isinstance(self.of, str) or not self.of:
            raise ValueError(f"of must be the name of a part of the network, got {self.of!r}.")
        if not getattr(self.attack, "random_start", True):
            raise ValueError(
                f"attack must have random_start=True, as a distance has no gradient where it is 0, got {self.attack!r}."
            )

    @property
    def parts(self) -> Sequence[Attack]:
        """The attack on the embedding."""
        return (self.attack,)

    def with_parts(self, parts: Sequence[Attack]) -> Self:
        """Another attack on the embedding."""
        (attack,) = parts
        return replace(self, attack=attack)

    def run(self, problem: AttackProblem) -> AttackResult:
        """The attack on the embedding, and what the victim makes of the image found."""
        victim = problem.victim
        victim.check_differentiable()
        inner = EmbeddingVictim.around(victim, problem.image, self.of)
        nothing = torch.zeros(len(problem.image), device=problem.image.device)
        result = self.attack.run(replace(problem, victim=inner, label=nothing).part(self.attack))
        with torch.no_grad():
            prediction = victim.predict(result.adversarial)
            victim.check_label(prediction, problem.label)
            loss = victim.checked_loss(prediction, problem.label)
        return replace(
            result,
            loss=loss,
            damage=victim.damage(prediction, problem.label).to(loss),
            clean_damage=torch.full_like(loss, torch.nan),
        )
