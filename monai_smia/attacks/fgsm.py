"""Fast gradient sign method."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from monai_smia.attacks.iterative import IterativeAttack


@dataclass(kw_only=True, eq=False)
class FGSM(IterativeAttack):
    """Fast gradient sign method (Goodfellow et al., 2015): one step of length `eps` along the gradient's sign.

    The rows called FGSM in the SMIA paper are iterated: they are `BIM` here. Arguments are those of `IterativeAttack`
    and `Attack`, with `steps` 1.

    Example:
        >>> import torch
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim = SegmentationVictim(torch.nn.Conv2d(1, 2, 3, padding=1))
        >>> result = FGSM(eps=0.1)(victim, torch.rand(1, 1, 8, 8), torch.ones(1, 1, 8, 8))
        >>> bool((result.perturbation.abs() <= 0.1 + 1e-6).all()), result.gradients.tolist()
        (True, [1])
    """

    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps != 1:
            raise ValueError(f"steps must be 1 for FGSM, got {self.steps}; BIM is its iterated form.")
        super().__post_init__()

    def default_step_size(self, eps: float | Tensor) -> float | Tensor:
        """The whole radius."""
        return eps
