"""Attacks one after the other, the last of them on what is deployed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from monai.inferers import SlidingWindowInferer

from monai_smia.attacks.base import AttackProblem
from monai_smia.attacks.composite.base import ListOfAttacks
from monai_smia.attacks.result import AttackResult
from monai_smia.victims.base import Victim


@dataclass(kw_only=True, eq=False)
class CoarseToFine(ListOfAttacks):
    """Attacks one after the other, each from where the one before ended; cheap ones first, the last as deployed.

    All but the last go through a sliding window with less overlap than the deployed one, and may run the network in
    lower precision (their own `autocast`). What is returned, its loss, its damage and the histories are the last one's,
    of the deployed window alone. Without a sliding window it is a chain of warm starts, such as one loss after another.

    Args:
        attacks: two or more; give the last one a short step, or it leaves the point that it begins from.
        overlap: of the windows of all but the last attack, a share in [0, 1).
        roi_size: size of those windows, where it is to be another than the deployed one. One window over the whole
            image takes least time, and memory for it; small ones see less around them, and may lead astray
            (``benchmarks/coarse_to_fine.py``).

    The other arguments are those of `CompositeAttack`.

    Raises:
        ValueError: if there are less than two attacks, they disagree, or `overlap` or `roi_size` is outside its range.

    Example:
        >>> from monai_smia.attacks import PGD
        >>> from monai_smia.victims import SegmentationVictim
        >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> victim = SegmentationVictim(network, inferer=SlidingWindowInferer((8, 8), overlap=0.5))
        >>> image = torch.rand(1, 1, 16, 16)
        >>> coarse, fine = PGD(eps=0.03, steps=8, autocast="bfloat16"), PGD(eps=0.03, steps=2, step_size=0.005)
        >>> result = CoarseToFine([coarse, fine])(victim, image, (image > 0.5).long())
        >>> result.gradients.tolist(), result.loss_history.shape
        ([10], torch.Size([3, 1]))
    """

    overlap: float = 0.0
    roi_size: Sequence[int] | None = None

    def __post_init__(self) -> None:
        self.attacks = tuple(self.attacks)
        if len(self.attacks) < 2:
            raise ValueError(f"attacks must hold two attacks or more, got {len(self.attacks)}.")
        super().__post_init__()
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must lie in [0, 1), got {self.overlap}.")
        if self.roi_size is not None and not all(int(n) == n and n > 0 for n in self.roi_size):
            raise ValueError(f"roi_size must hold whole numbers > 0, or be None, got {self.roi_size}.")

    @property
    def low_precision(self) -> str | None:
        """Of the last attack."""
        return self.autocast or self.attacks[-1].low_precision

    def run(self, problem: AttackProblem) -> AttackResult:
        """One after the other."""
        coarse, start = replace(problem, victim=self._coarse(problem.victim)), problem.start
        gradients = zero_gradient_steps = torch.zeros(len(problem.image), dtype=torch.long, device=problem.image.device)
        for number, attack in enumerate(self.attacks):
            stage = problem if number == len(self.attacks) - 1 else coarse
            result = attack.run(replace(stage.part(attack), start=start))
            start = result.perturbation
            gradients = gradients + result.gradients
            zero_gradient_steps = zero_gradient_steps + result.zero_gradient_steps
        return replace(result, gradients=gradients, zero_gradient_steps=zero_gradient_steps)

    def _coarse(self, victim: Victim) -> Victim:
        """The victim with the window of the first attacks; as it is where it has none."""
        inferer = victim.inferer
        if not isinstance(inferer, SlidingWindowInferer):
            return victim
        return victim.with_inferer(_with_window(inferer, self.overlap, self.roi_size))


def _with_window(inferer: SlidingWindowInferer, overlap: float, roi_size: Sequence[int] | None) -> SlidingWindowInferer:
    """The inferer with another window; one whose weights were made for its window is given those of the new one."""
    ours = object.__new__(type(inferer))
    ours.__dict__.update(vars(inferer), overlap=overlap)
    if roi_size is not None:
        ours.__dict__.update(roi_size=tuple(roi_size), roi_weight_map=None)
    return ours
