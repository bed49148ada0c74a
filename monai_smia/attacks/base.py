"""The base of all attacks: the checks, and the problem that is handed to an algorithm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from numbers import Integral, Real
from typing import Any, ClassVar, TypeVar, final

import torch
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type
from torch import Tensor
from typing_extensions import Self

from monai_smia.attacks.arguments import check_kinds, check_radius, plain_image, plain_start, tell_reached
from monai_smia.attacks.lower_precision import tell_unresolved, unresolved_share
from monai_smia.attacks.result import AttackResult
from monai_smia.threat import ThreatModel, checked_seeds, seeded_generators
from monai_smia.victims.base import PerSample, Victim

KEEP = ("best", "last")
AUTOCAST = (None, "bfloat16", "float16")
VictimT = TypeVar("VictimT", bound=Victim)


@dataclass(frozen=True)
class AttackProblem:
    """One batch to attack: all that an algorithm is given, checked.

    Args:
        victim: bound to the clean batch, its network frozen.
        image: clean batch ``(B, C, *spatial)``, a plain tensor.
        label: truth or target on the network's grid, as the bound victim takes it.
        threat: allowed perturbations of this batch.
        generators: one per sample, of the CPU, for every random draw.
        seed: that the call was given, which holds for all parts of a composite; None where each has its own.
        source_image: the batch as it was handed to the attack, a MetaTensor where it has an affine.
        source_label: the label on the image's own grid; with `source_image` what another victim is bound to.
        start: perturbation to begin from, as it was handed over; None for the attack's own beginning.
    """

    victim: Victim
    image: Tensor
    label: Any
    threat: ThreatModel
    generators: Sequence[torch.Generator]
    seed: int | Sequence[int] | None
    source_image: Tensor
    source_label: Any
    start: Tensor | None = None

    @property
    def beginning(self) -> Tensor:
        """The image, or the image with `start`, brought into the threat model."""
        return self.image if self.start is None else self.threat.project(self.image + self.start, self.image)

    def part(self, attack: Attack) -> AttackProblem:
        """The problem of an attack that is a part of another: its own loss, precision and random draws.

        Raises:
            ValueError: if the attack needs a gradient that the preprocessing blocks.
        """
        victim = attack.victim_for(self.victim)
        if attack.needs_gradient:
            victim.check_differentiable()
        seed = attack.seed if self.seed is None else self.seed
        generators = seeded_generators(seed, len(self.image))
        return replace(self, victim=victim, generators=generators)

    def subset(self, index: Tensor) -> AttackProblem:
        """The problem of some samples, by a boolean mask ``(B,)``."""
        victim = self.victim.subset(index)
        taken, seed = index.tolist(), self.seed
        if not isinstance(seed, Integral | None):
            seed = list(compress(checked_seeds(seed), taken))
        return AttackProblem(
            victim=victim,
            image=self.image[index],
            label=victim.select_label(self.label, index),
            threat=self.threat.subset(index),
            generators=list(compress(self.generators, taken)),
            seed=seed,
            source_image=self.source_image[index],
            source_label=victim.select_label(self.source_label, index),
            start=None if self.start is None else self.start[index],
        )


@dataclass(kw_only=True, eq=False)
class Attack(ABC):
    """An attack: calling it checks the input, freezes the victim, runs the algorithm and returns an `AttackResult`.

    A new attack is a keyword-only dataclass that implements `run`, or subclasses `IterativeAttack` and says its
    objective.

    Args:
        eps: radius of the ball around the image, in the image's own unit (HU for a victim that holds its
            preprocessing, network units otherwise). None, no ball, for an attack that minimizes the perturbation.
        norm: ``"linf"`` or ``"l2"``.
        clip: valid range of the image, or None.
        targeted: take the label as the target to reach instead of the truth to leave.
        loss: deviation loss instead of the victim's: a name it knows, or a callable ``(prediction, label) -> (B,)``.
        seed: of every random draw: one that every sample starts from, so that no image's fate hangs on its batch, or
            one per sample, as `AttackHandler` and evaluations give.
        keep: ``"best"`` returns per sample the iterate of most damage, then of highest deviation loss, for one more
            forward pass at the end; ``"last"`` the last iterate, as the papers and other libraries do.
        progress: show a progress bar once a run has taken five seconds.
        autocast: ``"bfloat16"`` or ``"float16"`` runs the network in that precision, for attacks in half the time;
            losses keep full precision. A perturbation that rounds away in the network's input, such as a fifth of a
            grey level in bfloat16, makes a weaker attack, and a warning. float16 underflows where the loss's gradient
            at a voxel is tiny, as soft Jaccard's on a volume is.
        channels_last: with `autocast`, hand images over with their channels last in memory; False for a network that
            takes `view` of its feature maps, which PyTorch then refuses.

    Raises:
        ValueError: if an argument is outside its range.
    """

    minimizes: ClassVar[bool] = False  # whether it looks for the smallest perturbation when there is no ball
    needs_gradient: ClassVar[bool] = True  # where False, preprocessing may block the gradient

    eps: float | None
    norm: str = "linf"
    clip: tuple[float, float] | None = (0.0, 1.0)
    targeted: bool = False
    loss: str | PerSample | None = None
    seed: int | Sequence[int] = 0
    keep: str = "best"
    progress: bool = True
    autocast: str | None = None
    channels_last: bool = True

    def __post_init__(self) -> None:
        self.clip = ThreatModel(self.eps, self.norm, self.clip).clip  # checks all three
        if not isinstance(self.eps, Real) and not (self.eps is None and self.minimizes):
            raise ValueError(
                f"eps must be a finite number >= 0 for {type(self).__name__}, got {self.eps!r}; one per sample is "
                "given to the call."
            )
        check_kinds(self)
        if self.keep not in KEEP:
            raise ValueError(f"keep must be one of {KEEP}, got {self.keep!r}.")
        checked_seeds(self.seed)
        if self.autocast not in AUTOCAST:
            raise ValueError(f"autocast must be one of {AUTOCAST}, got {self.autocast!r}.")

    @final
    def __call__(
        self,
        victim: Victim,
        image: Tensor,
        label: Any,
        *,
        mask: Tensor | None = None,
        eps: float | Tensor | None = None,
        seed: int | Sequence[int] | None = None,
        start: Tensor | None = None,
    ) -> AttackResult:
        """Attack one batch.

        Args:
            victim: what is attacked. Its network is in eval mode and frozen during the call and comes back untouched.
            image: clean batch ``(B, C, *spatial)``, floating point, on the network's device; never written to.
            label: truth (or target) as the victim takes it.
            mask: voxels that may change, any shape that broadcasts to the image.
            eps: radius for this call, a number or ``(B,)``.
            seed: seed for this call, an integer or one per sample.
            start: perturbation to begin from, of the image's shape, such as another attack's or a smaller radius's
                (a warm start); brought into the threat model first. It takes the place of the image or of the first
                random point (of Square's stripes; restarts stay random), so that ``keep="best"`` returns nothing that
                does less damage. Noise, DAG and DeepFool, which follow from the image itself, take no notice.

        Raises:
            ValueError: if an input is malformed: not floating point, NaN or infinite, outside of `clip`, a radius wider
                than it, a start of another shape, a label that does not fit, a loss that is not one value per sample, a
                prediction that does not depend on the image or is not finite.
        """
        if not isinstance(victim, Victim):
            raise ValueError(f"victim must be a Victim around the network, got {type(victim).__name__}.")
        victim = self.victim_for(victim)
        with torch.inference_mode(False), torch.enable_grad(), victim.frozen():
            plain = plain_image(image)
            threat = ThreatModel(self.eps if eps is None else eps, self.norm, self.clip, mask).on(plain)
            check_radius(self, threat, plain)
            generators = seeded_generators(self.seed if seed is None else seed, len(plain))
            bound, target = victim.bind(image, label)
            if self.needs_gradient:
                bound.check_differentiable()
            begin = None if start is None else plain_start(start, plain)
            result = self.run(AttackProblem(bound, plain, target, threat, generators, seed, image, label, begin))
            result = _with_clean_damage(result, bound, plain, target)
            share = unresolved_share(self.low_precision, bound, threat, plain, result.adversarial)
            tell_unresolved(self.low_precision, share)
        if share is not None:
            result = replace(result, unresolved=share)
        tell_reached(self.targeted, result.clean_damage)
        if isinstance(image, MetaTensor):
            both = {
                name: convert_to_dst_type(getattr(result, name), image)[0] for name in ("adversarial", "perturbation")
            }
            result = replace(result, **both)
        return result

    @abstractmethod
    def run(self, problem: AttackProblem) -> AttackResult:
        """The algorithm, on checked plain tensors and a frozen victim, with gradients enabled."""

    @property
    @abstractmethod
    def planned_gradients(self) -> int:
        """Gradients that a call takes per sample, unless it stops early."""

    @property
    def name(self) -> str:
        """Name in tables and reports: that of the class."""
        return type(self).__name__

    @property
    def knowledge(self) -> str:
        """What the attacker knows: ``"white box"``, ``"transfer"``, ``"black box"`` or ``"none"``."""
        return "white box"

    @property
    def low_precision(self) -> str | None:
        """In which the network answers, where that is `autocast` and the attack asks it anything."""
        return self.autocast if self.planned_gradients or self.knowledge == "black box" else None

    def victim_for(self, victim: Victim) -> Victim:
        """The victim with this attack's loss and precision."""
        if self.loss is not None:
            victim = victim.with_loss(self.loss)
        if self.autocast is None:
            return victim
        return victim.with_autocast(getattr(torch, self.autocast), channels_last=self.channels_last)

    def reseeded(self, derive: Callable[[int | Sequence[int]], int | Sequence[int]]) -> Self:
        """This attack, and all of its parts, with other seeds.

        Args:
            derive: from a seed to the one that takes its place, as that of a case.
        """
        return replace(self, seed=derive(self.seed))

    def scaled(self, factor: float) -> Self:
        """This attack for images in another unit: every length but the radius, which a problem brings, times factor."""
        return self

    def require_victim(self, victim: Victim, kind: type[VictimT]) -> VictimT:
        """The victim, known to be of the task that the attack is made for.

        Raises:
            ValueError: if it is of another one.
        """
        if not isinstance(victim, kind):
            raise ValueError(f"victim must be a {kind.__name__} for {self.name}, got {type(victim).__name__}.")
        return victim

    def require_count(self, name: str, least: int) -> int:
        """An argument that is a whole number, checked.

        Raises:
            ValueError: if it is not, or below `least`.
        """
        count = getattr(self, name)
        if count < least:
            raise ValueError(f"{name} must be a whole number >= {least}, got {count}.")
        return int(count)

    def require_fixed(self, **values: Any) -> None:
        """Check arguments that this attack leaves no choice for.

        Raises:
            ValueError: if one of them has another value.
        """
        for name, value in values.items():
            if getattr(self, name) != value:
                raise ValueError(f"{name} must be {value} for {self.name}, or left out; got {getattr(self, name)}.")


def _with_clean_damage(result: AttackResult, victim: Victim, image: Tensor, label: Any) -> AttackResult:
    """The result with the damage of the clean image, where the attack scored its own and not that one."""
    missing = result.clean_damage.isnan() & ~result.damage.isnan()
    if not bool(missing.any()):
        return result
    with torch.no_grad():
        return replace(result, clean_damage=victim.damage(victim.predict(image), label).to(result.damage))
