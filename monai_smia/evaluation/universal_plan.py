"""The plan of a universal perturbation: made on some patients, measured on others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monai_smia.attacks import Noise, Universal, make_universal
from monai_smia.evaluation.cases import load_case, patient_of
from monai_smia.evaluation.fingerprint import digest, input_hash, weights_hash
from monai_smia.evaluation.plan import PlannedAttack, in_input_unit, radii_of
from monai_smia.files import MARK, replacing
from monai_smia.records.rows import EQUAL_RADIUS, PATCH
from monai_smia.victims.base import Victim

LOGGER = logging.getLogger(__name__)
KIND = "universal perturbation"


def universal_rows(
    victim: Victim,
    cases: Sequence[Mapping[str, Any]],
    against: Sequence[Mapping[str, Any]],
    loading: Callable[[Any], Any],
    *,
    folder: str | Path,
    eps: float | Sequence[float],
    unit_scale: float = 1.0,
    clip: tuple[float, float] | None = (0.0, 1.0),
    layout: str = "whole",
    sizes: Sequence[int] | None = None,
    place: Sequence[float] = (),
    method: str = "sgd",
    epochs: int = 10,
    loss: str | None = None,
    target: int | None = None,
    patterns: str | Path | None = None,
    device: torch.device | str = "cpu",
    seed: int = 0,
    progress: bool = True,
) -> list[PlannedAttack]:
    """Clean images, noise, and a universal perturbation at every radius, made on patients that are not evaluated.

    The pattern is written as ``universal_ADVERSARIAL_eps<radius>.pt`` and taken from there where nothing that it hangs
    on has changed: the images that it was made on, the weights and the settings.

    Args:
        victim: what it is made on, its weights loaded.
        cases: items that it is made on, as an `AttackEvaluation` takes them.
        against: items that it will be measured on; no patient may be in both.
        loading: transform from an item to its image and label.
        folder: where patterns are written.
        eps: radius in network units, or several; of a patch it is the width of the valid range.
        unit_scale: network units per unit of the images.
        clip: valid range of the images, or None.
        layout: ``"whole"``, ``"tiled"`` or ``"patch"``.
        sizes: of the pattern along every axis; None for those of an image.
        place: of a patch along every axis, in [0, 1].
        method: ``"sgd"`` or ``"uap"``.
        epochs: passes over the images.
        loss: that is ascended; None for the victim's.
        target: class that all images shall be decided as; None for any wrong decision.
        patterns: folder of patterns made in another run, such as on another network: nothing is made, and `cases` may
            be empty.
        device: of the network.
        seed: of the noise.
        progress: show it.

    Raises:
        ValueError: if a patient is in both, no pattern of a radius is there, or an argument is outside its range.
    """
    if layout == "patch":
        if clip is None:
            raise ValueError("clip must be the valid range of the images for a patch, got None.")
        width = float(clip[1] - clip[0])
        balls = [(float(f"{width * unit_scale:.9g}"), width)]
    else:
        balls = [(radius, in_input_unit(radius, unit_scale)) for radius in radii_of(eps)]
        balls = [ball for ball in balls if ball[1] > 0]
    if both := {patient_of(item) for item in cases} & {patient_of(item) for item in against}:
        raise ValueError(
            f"cases must be of other patients than those that the perturbation is measured on; {len(both)} are in both."
        )
    own: dict[str, Any] = {"layout": layout, "place": tuple(place), "sizes": None if sizes is None else list(sizes)}
    own |= {"method": method, "epochs": epochs, "loss": loss, "target": target, "clip": clip}
    rows = [PlannedAttack()]
    for radius, ball in balls:
        path = Path(patterns or folder) / _name(None if layout == "patch" else radius)
        if patterns is None:
            found = _made(victim, cases, loading, path, ball, own, torch.device(device), progress)
        else:
            found = read_universal(path)
            own |= {"layout": found["layout"], "place": tuple(found["place"])}
        attack = Universal(
            pattern=found["pattern"],
            eps=ball,
            clip=clip,
            layout=own["layout"],
            place=own["place"],
            transferred=found["weights_sha256"] != weights_hash(victim.network),
            seed=seed,
        )
        made = f"made on {found['patients']} patients"
        size = " x ".join(str(n) for n in found["pattern"].shape[1:])
        if layout != "patch":
            rows.append(PlannedAttack(Noise(eps=ball, clip=clip, seed=seed), radius, EQUAL_RADIUS))
        rows.append(PlannedAttack(attack, radius, f"{PATCH} of {size}, {made}" if layout == "patch" else made))
    return rows


def read_universal(path: str | Path) -> dict[str, Any]:
    """A pattern that `universal_rows` has written: ``pattern``, ``layout``, ``place`` and what it was made of.

    Raises:
        ValueError: if the file is missing, or none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"patterns must be a folder that holds {path.name}, got {path.parent.name or '.'} without it.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises of bytes that are none of its own
        raise ValueError(f"{path.name} must be a {KIND} as it was written here; it cannot be read.") from error
    if not isinstance(found, dict) or found.get("kind") != KIND or not isinstance(found.get("pattern"), Tensor):
        raise ValueError(f"{path.name} must be a {KIND} as it was written here.")
    return found


def _made(
    victim: Victim,
    cases: Sequence[Mapping[str, Any]],
    loading: Callable[[Any], Any],
    path: Path,
    ball: float,
    own: dict[str, Any],
    device: torch.device,
    progress: bool,
) -> dict[str, Any]:
    """The pattern of one radius, from its file where that is of the same images, weights and settings."""
    if not cases:
        raise ValueError("cases must hold at least one case to make a universal perturbation on, got none.")
    weights = weights_hash(victim.network)
    print_of = digest({"inputs": [input_hash(item) for item in cases], "weights": weights, "eps": ball, **own})
    if path.is_file():
        found = read_universal(path)
        if found.get("fingerprint") == print_of:
            return found
    clips = [] if own["clip"] is None else [own["clip"]]

    def loaded() -> Iterator[tuple[Tensor, Any]]:
        for item in cases:
            case = load_case(item, loading, device, clips)
            if case.label is None:
                raise ValueError("cases must have labels to make a universal perturbation on.")
            yield case.image, case.label

    made = make_universal(victim, loaded, eps=ball, progress=progress, **own)
    patients = len({patient_of(item) for item in cases})
    LOGGER.info(
        "Universal perturbation, made on %d cases of %d patients: mean damage there %.3f in the first epoch, "
        "%.3f in the last; %s.",
        made.cases,
        patients,
        made.damages[0],
        made.damages[-1],
        path.name,
    )
    found = {"mark": MARK, "kind": KIND, "pattern": made.pattern.cpu(), "damages": list(made.damages), "eps": ball}
    found |= {"layout": own["layout"], "place": list(own["place"]), "cases": made.cases, "patients": patients}
    found |= {"weights_sha256": weights, "fingerprint": print_of}
    with replacing(path) as temporary:
        torch.save(found, temporary)
    return found


def _name(radius: float | None) -> str:
    return "universal_ADVERSARIAL_patch.pt" if radius is None else f"universal_ADVERSARIAL_eps{radius:g}.pt"
