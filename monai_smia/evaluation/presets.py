"""Plans by name: the attack that needs no choices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai_smia.attacks import APGD, APGDT, DAG, SEA_SCHEDULE, Attack, CosPGD, Ensemble, Square

TASKS = ("classification", "segmentation", "detection")


def standard_attack(
    task: str,
    *,
    eps: float,
    norm: str = "linf",
    clip: tuple[float, float] | None = (0.0, 1.0),
    steps: int = 100,
    seed: int = 0,
    progress: bool = False,
) -> Ensemble:
    """The preset ``standard`` as one attack: per sample the worst case of attacks that complement each other.

    Classification has what AutoAttack has (Croce & Hein, ICML 2020), without a second minimum-norm attack: Auto-PGD on
    the cross entropy, targeted Auto-PGD toward the nearest classes, and Square, which needs no gradient. Samples that
    are decided wrongly are left out of what follows. Segmentation: Auto-PGD on soft Jaccard with most of the
    gradients, CosPGD at its paper's step, Auto-PGD on the Jensen-Shannon divergence through larger balls, and Square.
    Detection: Auto-PGD on the smooth average precision and on the detector's own loss, and DAG inside of the ball.

    Args:
        task: ``"classification"``, ``"segmentation"`` or ``"detection"``.
        eps: radius in the unit of the image.
        norm: ``"linf"`` or ``"l2"``; Square and DAG are of L-inf alone.
        clip: valid range of the image, or None.
        steps: gradients of the first member; the others take shares of it.
        seed: of every member.
        progress: show progress bars.

    Raises:
        ValueError: if `task` is none of them, or another argument is outside its range.

    Example:
        >>> standard_attack("classification", eps=0.1).name
        'Ensemble(APGD, APGDT, Square)'
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {TASKS}, got {task!r}.")
    shared: dict[str, Any] = {"eps": eps, "norm": norm, "clip": clip, "seed": seed, "progress": progress}
    members: dict[str, Callable[[], list[Attack]]] = {
        "classification": lambda: [
            APGD(steps=steps, stop_at=1.0, **shared),
            APGDT(steps=max(steps // 2, 1), **shared),
            *([Square(queries=2 * steps, loss="margin", stop_at=1.0, **shared)] if norm == "linf" else []),
        ],
        "segmentation": lambda: [
            APGD(steps=steps, loss="soft_jaccard", **shared),
            CosPGD(steps=max(steps // 4, 1), step_size=eps / 3, **shared) if eps > 0 else CosPGD(steps=1, **shared),
            APGD(steps=max(steps // 4, 1), loss="jensen_shannon", schedule=SEA_SCHEDULE, **shared),
            *([Square(queries=steps, loss="soft_jaccard", **shared)] if norm == "linf" else []),
        ],
        "detection": lambda: [
            APGD(steps=steps, loss="ranking", **shared),
            APGD(steps=max(steps // 2, 1), loss="focal", **shared),
            *([DAG(steps=max(steps // 2, 1), **shared)] if norm == "linf" else []),
        ],
    }
    return Ensemble(attacks=members[task](), stop_at=1.0, seed=seed, progress=progress)
