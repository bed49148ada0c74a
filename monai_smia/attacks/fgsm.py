"""Fast gradient sign method."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from monai_smia.attacks.iterative import IterativeAttack


class FGSM(IterativeAttack):
    """Fast gradient sign method (Goodfellow et al., 2015): one step of length `eps` along the gradient's sign.

    The rows called FGSM in the SMIA paper are iterated: they are `BIM` here.

    Args:
        **options: as for `Attack`; `random_start`, `restarts` as for `IterativeAttack`.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import FGSM
        >>> from monai_smia.victims import ClassificationVictim
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> image, label = torch.rand(2, 1, 8, 8), torch.tensor([0, 2])
        >>> result = FGSM(eps=0.1)(ClassificationVictim(network), image, label)
        >>> bool((result.perturbation.abs() <= 0.1 + 1e-6).all()), result.gradients.tolist()
        (True, [1, 1])
    """

    def __init__(self, **options: Any) -> None:
        if options.pop("steps", 1) != 1:
            raise ValueError("steps must be 1 for FGSM; BIM is its iterated form.")
        super().__init__(steps=1, **options)

    def default_step_size(self, eps: float | Tensor) -> float | Tensor:
        """The whole radius."""
        return eps
