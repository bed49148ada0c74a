"""Basic iterative method."""

from __future__ import annotations

from dataclasses import dataclass

from monai_smia.attacks.iterative import IterativeAttack


@dataclass(kw_only=True, eq=False)
class BIM(IterativeAttack):
    """Basic iterative method (Kurakin et al., 2017): signed ascent on the deviation loss, from the image itself.

    The SMIA paper calls it DEV (Eq. 1), and its rows called FGSM are iterated as well. Arguments are those of
    `IterativeAttack` and `Attack`.

    Example:
        >>> import torch
        >>> from monai_smia.victims import ClassificationVictim
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> result = BIM(eps=0.1, steps=4)(ClassificationVictim(network), torch.rand(2, 1, 8, 8), torch.tensor([0, 2]))
        >>> result.loss_history.shape, bool((result.loss_history[-1] > result.loss_history[0]).all())
        (torch.Size([5, 2]), True)
    """
