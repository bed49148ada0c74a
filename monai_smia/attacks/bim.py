"""Basic iterative method."""

from __future__ import annotations

from monai_smia.attacks.iterative import IterativeAttack


class BIM(IterativeAttack):
    """Basic iterative method (Kurakin et al., 2017): signed ascent on the deviation loss, from the image itself.

    The SMIA paper calls it DEV (Eq. 1), and its rows called FGSM are iterated as well.

    Args:
        **options: as for `IterativeAttack` and `Attack`.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import BIM
        >>> from monai_smia.victims import ClassificationVictim
        >>> _ = torch.manual_seed(0)
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        >>> image, label = torch.rand(2, 1, 8, 8), torch.tensor([0, 2])
        >>> result = BIM(eps=0.1, steps=4)(ClassificationVictim(network), image, label)
        >>> result.loss_history.shape, bool((result.loss_history[-1] > result.loss_history[0]).all())
        (torch.Size([5, 2]), True)
    """
