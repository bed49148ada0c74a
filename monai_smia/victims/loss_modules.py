"""Loss modules of PyTorch and MONAI as losses of a victim: sample by sample, without the voxels that do not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.losses import (
    DiceCELoss,
    DiceFocalLoss,
    DiceLoss,
    FocalLoss,
    GeneralizedDiceFocalLoss,
    GeneralizedDiceLoss,
    TverskyLoss,
)
from torch import Tensor, nn

# of these a voxel that is taken out of prediction and label is taken out of the loss, wherever it lay
OF_VOXELS = (
    nn.CrossEntropyLoss,
    nn.BCEWithLogitsLoss,
    DiceCELoss,
    DiceFocalLoss,
    DiceLoss,
    FocalLoss,
    GeneralizedDiceFocalLoss,
    GeneralizedDiceLoss,
    TverskyLoss,
)


def module_loss(victim: Any, loss: Callable[..., Tensor], prediction: Tensor, label: Any) -> Tensor:
    """A loss module that reduces over the batch, taken one sample at a time ``(B,)``.

    `nn.CrossEntropyLoss` is given class numbers without their channel, `nn.BCEWithLogitsLoss` a label of the
    prediction's type. Voxels that do not count are taken out of prediction and label beforehand.

    Args:
        victim: its `ignore_index` says what does not count, its `target` what a label means.
        loss: the module, whose reduction must give one value.
        prediction: logits ``(B, K, ...)``.
        label: as the victim takes it.

    Raises:
        ValueError: if it gives more than one value, or cannot leave out voxels.

    Example:
        >>> from monai_smia.victims import SegmentationVictim
        >>> victim = SegmentationVictim(nn.Identity(), loss=nn.CrossEntropyLoss(), ignore_index=255)
        >>> label = torch.tensor([[[[0, 1, 255]]]])
        >>> round(float(victim.loss(torch.zeros(1, 2, 1, 3), label)), 4)
        0.6931
    """
    label = victim.as_label(label)
    ignored = getattr(victim, "ignore_index", None)
    values = []
    for logits, truth in zip(prediction.split(1), label.split(1), strict=True):
        if ignored is not None and bool((truth == ignored).any()):
            logits, truth = _without(loss, logits, truth, truth != ignored, ignored)
        if isinstance(loss, nn.CrossEntropyLoss):
            truth = truth.squeeze(1).long() if truth.ndim == logits.ndim and truth.shape[1] == 1 else truth
        elif isinstance(loss, nn.BCEWithLogitsLoss):
            truth = (truth.unsqueeze(1) if truth.ndim < logits.ndim else truth).to(logits.dtype)
        values.append(loss(logits, truth))
    if values[0].numel() != 1:
        raise ValueError(f"loss must reduce to one value, got {tuple(values[0].shape)}; set its reduction.")
    return torch.stack([value.reshape(()) for value in values])


def _without(
    loss: Callable[..., Tensor], logits: Tensor, truth: Tensor, counted: Tensor, ignored: int
) -> tuple[Tensor, Tensor]:
    """One sample's logits ``(1, K, n)`` and label ``(1, channels, n)`` at the n voxels that count."""
    name = type(loss).__name__
    if type(loss) not in OF_VOXELS:
        raise ValueError(
            f"loss {name} cannot leave out the voxels of ignore_index={ignored}: what it says of a voxel hangs on "
            "where the others lie; take a loss by name, or a callable of your own that leaves them out."
        )
    if bool((counted.all(1) == counted.any(1)).all()) and counted.ndim > 2:  # the same voxels in every channel
        kept = counted[:, 0].flatten()
        return logits.flatten(2)[:, :, kept], truth.flatten(2)[:, :, kept]
    if isinstance(loss, nn.BCEWithLogitsLoss) and loss.weight is None and loss.pos_weight is None:
        return logits[counted], truth[counted]  # every value is a task of its own
    raise ValueError(
        f"loss {name} cannot leave out ignore_index={ignored} where the channels ignore different voxels; take a loss "
        "by name, or nn.BCEWithLogitsLoss without weights."
    )
