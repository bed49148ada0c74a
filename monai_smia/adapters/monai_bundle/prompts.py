"""Networks that are prompted: classes, points and whatever else an inferer is given beside the image stays fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.inferers import Inferer


class Prompted(Inferer):
    """An inferer with the prompt that a bundle's evaluator gives it, of one case after the other.

    Args:
        inferer: the bundle's.
        prompt: what it is given beside image and network, by place and by name.
    """

    def __init__(self, inferer: Any, prompt: tuple[tuple[Any, ...], Mapping[str, Any]]) -> None:
        super().__init__()
        self.inferer, self.prompt = inferer, prompt

    def fingerprint_parts(self) -> dict[str, Any]:
        """What decides, for the fingerprint of records; the prompt is an item's, whose hash has it."""
        return {"inferer": self.inferer}

    def __call__(self, inputs: Any, network: Any, *args: Any, **kwargs: Any) -> Any:
        """What the bundle's inferer makes of inputs under the prompt."""
        return self.inferer(inputs, network, *self.prompt[0], **self.prompt[1])
