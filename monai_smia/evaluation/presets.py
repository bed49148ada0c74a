"""Plans by name, and the attack that needs no choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from monai_smia.attacks import (
    APGD,
    APGDT,
    DAG,
    FMN,
    FMNT,
    SMIA,
    Attack,
    CosPGD,
    CriticalRadius,
    Ensemble,
    Noise,
    Square,
)
from monai_smia.attacks.arguments import check_stop_at
from monai_smia.checks import check_number
from monai_smia.evaluation.blackbox_plan import QUERIES, blackbox_plan
from monai_smia.evaluation.frequency_plan import frequency_rows
from monai_smia.evaluation.paper_plan import paper_comparison
from monai_smia.evaluation.plan import PlannedAttack, in_input_unit, radii_of
from monai_smia.evaluation.shift_plan import shift_rows
from monai_smia.nearest import nearest
from monai_smia.records.rows import CRITICAL_RADIUS, EQUAL_RADIUS, ROUND

TASKS = ("classification", "segmentation", "detection", "regression")
# gradients of the first strong attack, in the last round; "radius" has no rounds, "blackbox" queries
PRESETS = {
    "paper": None,
    "quick": 20,
    "standard": 100,
    "thorough": 400,
    "radius": 20,
    "shifts": 8,
    "frequency": 20,
    "blackbox": QUERIES,
}
# that their task's attacks are strongest on
LOSSES = {"segmentation": "soft_jaccard", "detection": "ranking", "regression": "soft_beyond"}
FIRST = 10  # gradients, below which an attack that stands still has hardly begun
CURVE = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # radii of the preset "radius", over the largest

# Of the two strong attacks on segmentations, chosen on networks that no table reports: little time in larger balls, and
# the second half on voxels that are about to turn.
SHARP = (1.0, 0.5, "sharp_jaccard")
SCHEDULES = (((3.0, 0.1), (2.0, 0.1), (1.0, 0.3), SHARP), ((2.0, 0.1), (1.5, 0.1), (1.0, 0.3), SHARP))


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

    Classification has what AutoAttack has (Croce & Hein, ICML 2020): Auto-PGD on the cross entropy, targeted Auto-PGD
    toward the nearest nine classes (of two classes, toward the other one: on the difference of their scores), the fast
    minimum-norm attack on the margin, and Square, which needs no gradient. Samples that are decided wrongly are left
    out of what follows. Segmentation: Auto-PGD on soft Jaccard, Auto-PGD on the balanced cross entropy of the voxels
    still right, steered by soft Jaccard, both with as many gradients, of which the second half ascends the sharp
    Jaccard, that of the voxels about to turn; CosPGD at its paper's step, and Square.
    Detection: Auto-PGD on the smooth average precision, with less on a hinge at the deployed score threshold and on
    the detector's own loss, and DAG inside of the ball. Regression: Auto-PGD on the smooth share of values that are too
    far off, with half as much on the mean error, and Square.

    Every sample draws from `seed`; give a seed per sample to the call (``seed=range(len(image))``) for starts that
    differ.

    Args:
        task: ``"classification"``, ``"segmentation"``, ``"detection"`` or ``"regression"``.
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
        'Ensemble(APGD, APGDT, FMN, Square)'
    """
    attacks = _members(task, steps, {"eps": eps, "norm": norm, "clip": clip, "seed": seed, "progress": progress})
    return Ensemble(attacks=attacks, stop_at=1.0, seed=seed, progress=progress)


def _members(task: str, steps: int, shared: dict[str, Any]) -> list[Attack]:
    """The attacks of `standard_attack`, each with the shared arguments."""
    if task not in TASKS:
        raise ValueError(f"task must be one of {TASKS}, got {task!r}{nearest(task, TASKS)}")
    norm = shared["norm"]
    half, quarter = max(steps // 2, 1), max(steps // 4, 1)
    if task == "classification":
        attacks: list[Attack] = [
            APGD(steps=steps, stop_at=1.0, **shared),
            APGDT(steps=half if norm == "linf" else steps, **shared),  # without Square there is time for more
            FMN(steps=half, loss="margin", **shared),
        ]
        search: list[Attack] = (
            [Square(queries=5 * steps, loss="margin", stop_at=1.0, **shared)] if norm == "linf" else []
        )
    elif task == "segmentation":
        attacks = [
            APGD(steps=steps, loss="soft_jaccard", schedule=SCHEDULES[0], **shared),
            APGD(steps=steps, loss="balanced_cross_entropy", steer_by="soft_jaccard", schedule=SCHEDULES[1], **shared),
            CosPGD(steps=half, **shared),
        ]
        search = [Square(queries=steps, loss="soft_jaccard", **shared)] if norm == "linf" else []
    elif task == "regression":
        attacks = [APGD(steps=steps, loss="soft_beyond", **shared), APGD(steps=half, loss="mean_error", **shared)]
        search = [Square(queries=steps, loss="soft_beyond", **shared)] if norm == "linf" else []
    else:
        attacks = [
            APGD(steps=steps, loss="ranking", **shared),
            APGD(steps=half, loss="found", **shared),
            APGD(steps=quarter, loss="focal", **shared),
        ]
        search = [DAG(steps=quarter, **shared)] if norm == "linf" else []
    return attacks + search


def preset_plan(
    preset: str,
    task: str,
    eps: float | Sequence[float],
    *,
    steps: int = 10,
    alpha: float = 1.0,
    unit_scale: float = 1.0,
    gradients: int | None = None,
    clip: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
    shifts: Mapping[str, Any] | None = None,
    **paper: Any,
) -> list[PlannedAttack]:
    """A plan by its name.

    ``"paper"`` is `paper_comparison`. ``"quick"``, ``"standard"`` and ``"thorough"`` hold the clean images, noise, the
    paper's SMIA, and the members of the task's `standard_attack` in rounds of a quarter (where that is at least 10), a
    half and all of 20, 100 or 400 gradients, of which an evaluation runs as many as it takes until its headline stands
    still; what counts is the worst case over all of them, image by image.

    ``"radius"`` has noise and the strongest attack at six radii up to the largest of `eps` (or at the six or more that
    `eps` holds), and looks for the smallest radius that leaves half of what is right, by bisection; of a decision from
    the smallest perturbation that `FMNT` finds toward one of the nearest classes.

    ``"shifts"`` has acquisition shifts on average and at their worst, see `shift_rows`, beside noise and the strongest
    attack at the radii.

    ``"frequency"`` has the strongest attack free, on low frequencies and on a B-spline, with SurvivalSMIA and VAFA, see
    `frequency_rows`.

    ``"blackbox"`` has attacks that ask for predictions alone, `gradients` queries each (200): `blackbox_plan`.

    Args:
        preset: one of `PRESETS`.
        task: ``"classification"``, ``"segmentation"``, ``"detection"`` or ``"regression"``.
        eps: radius in network units, or several.
        steps: steps of the paper's attacks.
        alpha: weight of SMIA's stabilization term.
        unit_scale: network units per unit of the images.
        gradients: of the first strong attack, in the last round; None for the preset's.
        clip: valid range of the images, or None.
        seed: of all attacks.
        shifts: of the preset ``"shifts"``: arguments of `shift_rows`, such as ``{"modality": "ct", "severity": 3}``.
        **paper: further arguments of `paper_comparison`, for ``"paper"`` alone.

    Raises:
        ValueError: if `preset` or `task` is unknown, `eps` holds no radius, or another argument is outside its range.

    Example:
        >>> [(row.setting, row.key().steps) for row in preset_plan("quick", "detection", 0.01) if row.name == "DAG"]
        [('round 1', 2), ('round 2', 5)]
    """
    if preset not in list(PRESETS):  # a list of them, which has no hash, is none
        raise ValueError(f"preset must be one of {tuple(PRESETS)}, got {preset!r}{nearest(preset, PRESETS)}")
    check_stop_at(paper.get("stop_at"))
    shared: dict[str, Any] = {"clip": clip, "seed": seed}
    count = PRESETS[preset] if gradients is None else gradients
    if PRESETS[preset] is None or count is None:
        if gradients is not None:
            raise ValueError(f"gradients is of the other presets; with 'paper' give steps, got gradients={gradients}.")
        return paper_comparison(eps, steps=steps, alpha=alpha, unit_scale=unit_scale, **shared, **paper)
    check_number("gradients", count, whole=True, least=1, optional=True)
    check_number("alpha", alpha)
    check_number("steps", steps, whole=True)
    if preset == "blackbox":
        return blackbox_plan(task, eps, unit_scale=unit_scale, queries=int(count), **shared)
    plan = [PlannedAttack()]
    radii = radii_of(eps)
    if preset == "radius" and not max(radii) > 0:
        raise ValueError(f"eps must hold a radius > 0 for the preset 'radius', which searches below it, got {eps!r}.")
    if preset == "radius" and len(radii) < len(CURVE):
        radii = [float(f"{max(radii) * part:.12g}") for part in CURVE]
    balls = [(radius, in_input_unit(radius, unit_scale)) for radius in radii]
    if preset == "radius":
        return plan + _over_radii(task, balls, int(count), shared)
    if preset == "shifts":
        return plan + _beside_shifts(task, balls, int(count), shared) + _shift_rows(task, int(count), shifts, shared)
    if preset == "frequency":
        return plan + _frequencies(task, balls, int(count), shared)
    for radius, ball in balls:
        smia = SMIA(eps=ball, steps=steps, alpha=alpha, **shared)
        plan += [PlannedAttack(a, radius, EQUAL_RADIUS) for a in (Noise(eps=ball, **shared), smia)]
    for number, of_round in enumerate(_rounds(int(count)), 1):
        for radius, ball in balls:
            strong = standard_attack(task, eps=ball, steps=of_round, progress=True, **shared).attacks
            plan += [PlannedAttack(attack, radius, f"{ROUND} {number}") for attack in strong]
    return plan


def _over_radii(
    task: str, balls: Sequence[tuple[float, float]], gradients: int, shared: dict[str, Any]
) -> list[PlannedAttack]:
    """Noise and the strongest attack at every radius, and the search for the smallest one that succeeds."""

    def strongest(ball: float) -> Attack:
        first, second, *_ = _members(task, gradients, {"eps": ball, "norm": "linf", "progress": True, **shared})
        return Ensemble([first, second], stop_at=1.0, seed=shared["seed"]) if task == "classification" else first

    plan = []
    for radius, ball in balls:
        plan += [PlannedAttack(a, radius, EQUAL_RADIUS) for a in (Noise(eps=ball, **shared), strongest(ball))]
    largest, ball = max(balls)
    if largest > 0:
        search, first = strongest(ball), None
        if task == "classification":  # a small perturbation to begin from, whichever class it is of
            first = FMNT(eps=ball, steps=2 * gradients, progress=True, **shared)
        if isinstance(search, APGD):  # a larger ball would leave the perturbation that it begins from
            own = [SHARP] if task == "segmentation" else []
            search = replace(search, schedule=[(1.0, 1 - sum(share for _, share, _ in own)), *own])
        critical = CriticalRadius(search, first=first, seed=shared["seed"])
        plan.append(PlannedAttack(critical, largest, CRITICAL_RADIUS))
    return plan


def _beside_shifts(
    task: str, balls: Sequence[tuple[float, float]], gradients: int, shared: dict[str, Any]
) -> list[PlannedAttack]:
    """Noise and the strongest attack, which shifts are compared with."""
    rows = []
    for radius, ball in balls:
        strongest = _members(task, 2 * gradients, {"eps": ball, "norm": "linf", "progress": True, **shared})[0]
        rows += [PlannedAttack(a, radius, EQUAL_RADIUS) for a in (Noise(eps=ball, **shared), strongest)]
    return rows


def _shift_rows(
    task: str, gradients: int, given: Mapping[str, Any] | None, shared: dict[str, Any]
) -> list[PlannedAttack]:
    """Shifts by the loss that their task's attacks are strongest on."""
    return shift_rows(**{"gradients": gradients, "loss": LOSSES.get(task), **shared, **(given or {})})


def _frequencies(
    task: str, balls: Sequence[tuple[float, float]], gradients: int, shared: dict[str, Any]
) -> list[PlannedAttack]:
    """Attacks in the frequency domain at every radius, as many gradients each."""
    rows = []
    for radius, ball in balls:
        free = _members(task, gradients, {"eps": ball, "norm": "linf", "progress": True, **shared})[0]
        rows += frequency_rows(free, radius, gradients=gradients, loss=LOSSES.get(task), **shared)
    return rows


def _rounds(gradients: int) -> list[int]:
    """A quarter where that is enough to begin with, a half and all of the gradients: twice as many in every round."""
    quarter, half = gradients // 4, max(gradients // 2, 1)
    return sorted({quarter if quarter >= FIRST else half, half, gradients})
