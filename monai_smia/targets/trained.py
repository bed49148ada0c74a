"""What a training leaves behind."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def finite(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights as they are, if all of them are finite: what a training writes.

    Args:
        state: of a network, as ``state_dict`` has it.

    Raises:
        ValueError: if a weight is NaN or infinite.

    Example:
        >>> import torch
        >>> list(finite(torch.nn.Linear(2, 1).state_dict()))
        ['weight', 'bias']
        >>> finite({"bias": torch.tensor([float("nan")])})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: weights are not finite after training, so not written: bias. ...
    """
    bad = [name for name, value in state.items() if not bool(value.isfinite().all())]
    if bad:
        more = f" and {len(bad) - 1} more" * (len(bad) > 1)
        raise ValueError(
            f"weights are not finite after training, so not written: {bad[0]}{more}. "
            "A smaller learning_rate may help, or full precision."
        )
    return state
