"""Steps of postprocessing that make one map of a network's independent channels, as a file wants it.

Such a map (of the tumor's parts, each a channel, one number for each) is no decision of exclusive classes and none of
channels: figures are of the channels before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.transforms import Invertd

from monai_smia.adapters.monai_bundle.chain import leaves
from monai_smia.adapters.monai_bundle.decisions import ChannelsError, decides
from monai_smia.adapters.monai_bundle.engine import Iteration, QuietEngine, is_saver
from monai_smia.adapters.monai_bundle.pipeline import BundlePipeline

MOST = 3  # steps


def before_merging(
    pipeline: BundlePipeline, make: Callable[[Sequence[Any]], QuietEngine], case: str, first: Iteration
) -> tuple[Iteration, str]:
    """A case whose decision can be read, the last steps of postprocessing left out where they make one map.

    Args:
        pipeline: whose engine is exchanged where steps are left out.
        make: an engine without some steps.
        case: name of a case.
        first: what the whole postprocessing makes of it.

    Returns:
        The iteration, and what is to be said; empty where nothing is left out.

    Raises:
        ChannelsError: if the decision is none, and leaving out the last steps does not make it one.
    """
    try:
        pipeline.decided(first)
        return first, ""
    except ChannelsError as error:
        refused = error
    whole = pipeline.engine
    steps = [t for part in whole.postprocessing for t in leaves(part) if not is_saver(t)]
    for count in range(1, min(MOST, len(steps)) + 1):
        left_out = steps[-count:]
        if decides(left_out[0]) or isinstance(left_out[0], Invertd):
            break
        pipeline.exchange(make(left_out))
        iteration = pipeline.clean(case)[1]
        try:
            pipeline.decided(iteration)
        except ChannelsError:
            continue
        names = ", ".join(type(t).__name__ for t in left_out)
        return iteration, (
            f"Postprocessing makes one map of the network's {iteration.raw.shape[1]} channels in the end ({names}): "
            "figures are of the channels before that."
        )
    pipeline.exchange(whole)
    raise refused
