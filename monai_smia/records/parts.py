"""Parts of a record, and the version of all that is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RECORD_VERSION = 2  # of everything that this package writes as records; 0.1.0 wrote no number

History = dict[str, list[float | None]]


class RecordVersionError(ValueError):
    """Records on disk are of a version that is not read."""


def check_version(data: Mapping[str, Any], name: str) -> None:
    """Refuse what another version has written.

    Args:
        data: JSON object with its ``version``.
        name: what it is, for the message.

    Raises:
        RecordVersionError: if the version is another, or there is none (0.1.0).
    """
    found = data.get("version")
    if found != RECORD_VERSION:
        was = "monai_smia 0.1.0 or none of its own" if found is None else f"format {found}"
        raise RecordVersionError(
            f"{name} is of {was}, and this version reads format {RECORD_VERSION} alone: evaluate into another "
            "output_dir, or start this one anew with resume=False."
        )


@dataclass(frozen=True)
class Costs:
    """Time and gradients that a row took of a case.

    Args:
        seconds: of attack and prediction; None where the image was attacked for another stage.
        gradients: that were taken; None without an attack.
        planned_gradients: that the attack would take without stopping early; None where the stage has no attack.
        zero_gradient_steps: steps whose gradient was zero everywhere; None where not counted.
    """

    seconds: float | None = None
    gradients: int | None = None
    planned_gradients: int | None = None
    zero_gradient_steps: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Flat, as in files; of a stage without an attack of its own the first two."""
        both = {"gradients": self.gradients, "seconds": self.seconds}
        if self.planned_gradients is None:
            return both
        return both | {
            "planned_gradients": self.planned_gradients,
            "zero_gradient_steps": self.zero_gradient_steps,
        }


COST_FIELDS = ("seconds", "gradients", "planned_gradients", "zero_gradient_steps")


@dataclass(frozen=True)
class Probe:
    """Measurements of a victim on one case, for the flags.

    Args:
        train_mode: a module stays in train mode though the network is in eval mode.
        repeated: largest difference of two predictions of the same image, relative to the largest value.
        gradient_gain: how much one step along the gradient raises the loss.
        noise_gain: the most that noise of the same size does.
    """

    train_mode: bool
    repeated: float
    gradient_gain: float
    noise_gain: float


@dataclass(frozen=True)
class Provenance:
    """Origin of a record: hashes (SHA-256) of its inputs, and versions of the packages that computed it."""

    input_sha256: str
    weights_sha256: str
    config_sha256: str
    versions: str


PROVENANCE_FIELDS = ("input_sha256", "weights_sha256", "config_sha256", "versions")
