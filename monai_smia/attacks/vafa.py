"""Volumetric adversarial frequency attack."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import Self

from monai_smia.attacks.base import Attack, AttackProblem
from monai_smia.attacks.cosine_transform import blocks_of, image_of, transformed
from monai_smia.attacks.gradient import gradient_of
from monai_smia.attacks.measures import is_zero
from monai_smia.attacks.result import AttackResult
from monai_smia.attacks.steps import steps
from monai_smia.attacks.trajectory import Trajectory
from monai_smia.metrics.similarity import K1, K2
from monai_smia.threat import per_sample

ROUNDNESS = 0.1  # of the first step's rounding; it falls in a straight line, and 0 would be rounding itself
LEAST = 0.25  # of the largest table entry is the smallest: 5 of 20 in the paper
REACH = 4 / 3  # all steps together over the table's range: 20 steps of 1 for 15 gray levels
CENTER = 128 / 255  # of the range, about which coefficients are rounded
TINIEST = 1e-6  # of the range: what a radius of 0 quantizes by
TAPS, SPREAD = 3, 1.5  # of the window of the SSIM term


@dataclass(kw_only=True, eq=False)
class VAFA(Attack):
    """VAFA (Hanif et al., MICCAI 2023, Eq. 1): the image is quantized in blocks of its cosine transform, adversarially.

    Every block of 8 pixels or voxels an axis goes through the orthonormal DCT-II; every coefficient is divided by an
    entry of a table of its own, rounded (softly, by a tangent that steepens from step to step, as in AdvDrop, Duan et
    al., ICCV 2021), and multiplied again. The entries are what the attack learns, by the sign of the gradient of
    ``loss - ssim_weight * (1 - SSIM)``, between `q_min` and `q_max`; they begin at `q_max`. SSIM is that of the blocks,
    with a Gaussian window of 3 and without their borders.

    Rounding moves no coefficient by more than half an entry, so that the root mean square of a perturbation is at most
    half of `q_max`; by default that is the radius. The perturbation is cut to the L-inf ball as well, so that rows at
    equal radius are comparable. The paper's own setting for images in [0, 1] has ``eps=1.0, q_max=20 / 255``. The
    authors' code stretches every slice of the result to [0, 1], which is no part of Eq. 1 and may do more damage than
    the quantization: `stretch` does so, too. The last table is predicted, and with ``keep="best"`` the worst image of
    all steps is returned.

    Args:
        q_max: largest entry, in the unit of the image; None for twice the radius.
        q_min: smallest entry; None for a quarter of `q_max`.
        steps: of the table.
        step_size: length of a step, in the unit of the image; None for 4/3 of the table's range over all steps.
        block: pixels or voxels of a block along every axis.
        stretch: stretch every slice of the result, of its first two axes, to the valid range before anything cuts it.
        ssim_weight: weight of the SSIM term, 0 for none. Losses of segmentations are sums over voxels, and there the
            term is, too; 1 is the paper's with ``loss="soft_jaccard"``.

    The other arguments are those of `Attack`; the norm is ``"linf"``.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim, image = SegmentationVictim(torch.nn.Conv3d(1, 2, 3, padding=1)), torch.rand(1, 1, 16, 16, 12)
        >>> result = VAFA(eps=0.05, steps=4, loss="soft_jaccard")(victim, image, (image > 0.5).long())
        >>> result.gradients.tolist(), bool(result.perturbation.abs().max() <= 0.05 + 1e-6)
        ([4], True)
    """

    q_max: float | None = None
    q_min: float | None = None
    steps: int = 20
    step_size: float | None = None
    block: int = 8
    ssim_weight: float = 1.0
    stretch: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fixed(norm="linf")
        self.steps, self.block = self.require_count("steps", 0), self.require_count("block", 2)
        for name in ("q_max", "q_min", "step_size"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a finite number > 0, or None, got {value}.")
        if self.q_min is not None and self.q_max is not None and self.q_min > self.q_max:
            raise ValueError(f"q_min must be at most q_max, {self.q_max}, got {self.q_min}.")
        if not 0 <= self.ssim_weight < math.inf:
            raise ValueError(f"ssim_weight must be a finite number >= 0, got {self.ssim_weight}.")
        if self.ssim_weight and self.block < TAPS:
            raise ValueError(f"block must be at least {TAPS} for the SSIM term, got {self.block}.")

    @property
    def planned_gradients(self) -> int:
        """One a step."""
        return self.steps

    def scaled(self, factor: float) -> Self:
        """This attack with its table and its step times factor."""
        lengths = {name: getattr(self, name) for name in ("q_max", "q_min", "step_size")}
        return replace(self, **{name: value * factor for name, value in lengths.items() if value is not None})

    def run(self, problem: AttackProblem) -> AttackResult:
        """Descent of the table, from its largest entries on."""
        image, victim = problem.image, problem.victim
        low, high = _range(problem)
        blocks = blocks_of(image - (low + CENTER * (high - low)), self.block)
        coefficients = transformed(blocks)
        least, most = self._bounds(problem, high - low)
        length = REACH * (most - least) / max(self.steps, 1)
        if self.step_size is not None:
            length = torch.full_like(length, self.step_size)
        table = most.expand_as(coefficients).clone()
        found = Trajectory(image, targeted=self.targeted)
        for step in steps(self.steps + 1, name=self.name, show=self.progress):
            final = step == self.steps
            roundness = ROUNDNESS * (1 - min(step, self.steps - 1) / max(self.steps, 1))
            entries = table.requires_grad_(not final)
            lost = transformed(quantized(coefficients, entries, roundness) - coefficients, inverse=True)
            made = image + image_of(lost, image.shape, self.block)
            made = stretched(made, low, high) if self.stretch else made
            adversarial = problem.threat.project(made.detach(), image).requires_grad_(not final)
            found.add_size(adversarial.detach(), image)
            if final and self.keep == "last":
                found.return_as_is(adversarial)
                break
            with torch.set_grad_enabled(not final):
                prediction = victim.predict(adversarial)
                if step == 0:
                    victim.check_label(prediction, problem.label)
                loss = victim.checked_loss(prediction, problem.label)
            found.add_loss(loss)
            if self.keep == "best":
                found.take_better(adversarial, victim.damage(prediction, problem.label), loss)
            if final:
                break
            objective = (-loss if self.targeted else loss) - self._ssim_term(adversarial, problem, prediction)
            gradient = gradient_of(objective.sum(), adversarial)
            cut = (adversarial.detach() - made.detach()).abs() > TINIEST * (high - low)
            gradient = gradient.masked_fill(cut, 0)  # those voxels do not follow their coefficients
            if problem.threat.mask is not None:
                gradient = gradient * problem.threat.mask
            (of_table,) = torch.autograd.grad(made, entries, gradient)
            found.gradients += 1
            found.zero_gradient_steps += is_zero(gradient)
            table = torch.minimum(torch.maximum(table.detach() + length * of_table.sign(), least), most)
        return replace(found.result(), cosine=image.new_zeros(0, len(image)))

    def _bounds(self, problem: AttackProblem, width: Tensor) -> tuple[Tensor, Tensor]:
        """Smallest and largest entry of every sample, with an axis more than the image's range."""
        radius = torch.as_tensor(per_sample(problem.threat.radius, problem.image)).to(width) + torch.zeros_like(width)
        most = 2 * radius if self.q_max is None else torch.full_like(width, self.q_max)
        most = most.maximum(TINIEST * width)[..., None]
        least = LEAST * most if self.q_min is None else torch.full_like(most, self.q_min)
        return torch.minimum(least, most), most

    def _ssim_term(self, adversarial: Tensor, problem: AttackProblem, prediction: object) -> Tensor | float:
        """What the SSIM term takes from the loss ``(B,)``."""
        if not self.ssim_weight:
            return 0.0
        voxels = prediction[0, 0].numel() if isinstance(prediction, Tensor) else 1
        low, high = _range(problem)
        clean, ours = (blocks_of((each - low) / (high - low), self.block) for each in (problem.image, adversarial))
        return self.ssim_weight * voxels * (1 - block_ssim(ours, clean))


def quantized(coefficients: Tensor, table: Tensor, roundness: float) -> Tensor:
    """Coefficients after division by the table, soft rounding and multiplication (Duan et al., ICCV 2021).

    Args:
        coefficients: of any shape.
        table: entries > 0, of the same shape.
        roundness: in (0, 1); the smaller, the nearer to rounding.
    """
    ratio = coefficients / table
    whole = ratio.floor()
    steep = math.log(2 / roundness - 1)
    return table * (whole + 0.5 + 0.5 * torch.tanh((ratio - whole - 0.5) * steep) / (1 - roundness))


def stretched(image: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Every slice of the first two spatial axes brought to a range; one that is flat stays.

    Args:
        image: ``(B, C, *spatial)``.
        low, high: ends of the range ``(B, 1, ...)``.
    """
    least, most = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    wide = most > least
    scaled = low + (image - least) / (most - least).where(wide, 1) * (high - low)
    return torch.where(wide, scaled, image)


def block_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean over blocks of their SSIM, at least 0 each ``(B,)``: a Gaussian window of 3, and no borders.

    Args:
        first, second: ``(B, C, blocks, *block)``, values in [0, 1].
    """
    dims = first.ndim - 3
    taps = torch.exp(-((torch.arange(TAPS, dtype=first.dtype, device=first.device) - TAPS // 2) ** 2) / (2 * SPREAD**2))
    taps = taps / taps.sum()
    convolve = F.conv2d if dims == 2 else F.conv3d
    kernel = taps
    for _ in range(dims - 1):
        kernel = kernel[..., None] * taps

    def mean(values: Tensor) -> Tensor:
        return convolve(values.flatten(0, 2)[:, None], kernel[None, None])

    mine, theirs = mean(first), mean(second)
    of_mine, of_theirs = mean(first * first) - mine**2, mean(second * second) - theirs**2
    both = mean(first * second) - mine * theirs
    structure = (2 * both + K2**2) / (of_mine + of_theirs + K2**2)
    similarity = (2 * mine * theirs + K1**2) / (mine**2 + theirs**2 + K1**2) * structure
    return similarity.flatten(1).mean(1).relu().view(*first.shape[:3]).flatten(1).mean(1)


def _range(problem: AttackProblem) -> tuple[Tensor, Tensor]:
    """Black and white of every sample ``(B, 1, ...)``: the valid range, or its own extremes."""
    image = problem.image
    shape = (-1, *[1] * (image.ndim - 1))
    if problem.threat.clip is not None:
        low, high = (image.new_full((len(image),), end).view(shape) for end in problem.threat.clip)
        return low, high
    flat = image.flatten(1)
    low, high = flat.amin(1).view(shape), flat.amax(1).view(shape)
    return low, high.where(high > low, low + 1)
