"""A MONAI evaluator under attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.engines import SupervisedEvaluator, default_prepare_batch
from monai.utils import CommonKeys

from monai_smia.attacks.base import Attack
from monai_smia.handlers.attack import AttackHandler
from monai_smia.inferers.victim import VictimInferer
from monai_smia.victims.base import Victim


def prepare_batch(batch: Any, device: Any = None, non_blocking: bool = False, **kwargs: Any) -> tuple[Any, Any]:
    """MONAI's, which leaves out a label that is no tensor: here a detector's list of boxes comes through as it is."""
    image, label = default_prepare_batch(batch, device, non_blocking, **kwargs)
    if label is None and isinstance(batch, Mapping):
        label = batch.get(CommonKeys.LABEL)
    return image, label


class AttackEvaluator(SupervisedEvaluator):
    """MONAI's SupervisedEvaluator that attacks every batch first; all of its handlers, metrics and postprocessing work.

    Args:
        *args: as for `monai.engines.SupervisedEvaluator`.
        attack: the attack, or None to evaluate the clean images.
        victim: what is attacked; required with an attack. It also predicts, on the image's own grid, unless an
            `inferer` is given.
        mask_key: key of a mask of voxels that may change, or None.
        **kwargs: as for `monai.engines.SupervisedEvaluator`.

    Raises:
        ValueError: if there is an attack without a victim.

    Example:
        >>> import torch
        >>> from monai_smia.attacks import FGSM
        >>> from monai_smia.victims import SegmentationVictim
        >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
        >>> data = [{"image": torch.rand(1, 1, 8, 8), "label": torch.randint(0, 2, (1, 1, 8, 8))}]
        >>> evaluator = AttackEvaluator(
        ...     torch.device("cpu"), data, network, attack=FGSM(eps=0.03), victim=SegmentationVictim(network)
        ... )
        >>> evaluator.run()
        >>> sorted(map(str, evaluator.state.output[0]))
        ['image', 'label', 'perturbation', 'pred']
    """

    def __init__(
        self,
        *args: Any,
        attack: Attack | None = None,
        victim: Victim | None = None,
        mask_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        if victim is not None:
            kwargs.setdefault("inferer", VictimInferer(victim))
        kwargs.setdefault("prepare_batch", prepare_batch)
        super().__init__(*args, **kwargs)
        self.attack = attack
        self.victim = victim
        if attack is not None:
            if victim is None:
                raise ValueError("victim must be given with an attack, got None.")
            AttackHandler(attack, victim, mask_key=mask_key).attach(self)
