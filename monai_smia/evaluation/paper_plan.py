"""The comparison of the SMIA paper, and the rows that its tables need; `monai_smia.report.write_tables` prints them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from monai_smia.attacks import BIM, DAG, FGSM, MIFGSM, PGD, READINGS, SMIA, Attack, DeepFool, Noise, Reading
from monai_smia.checks import check_number
from monai_smia.evaluation.plan import PlannedAttack, in_input_unit, radii_of
from monai_smia.records.rows import (
    ALPHA,
    EQUAL_GRADIENTS,
    EQUAL_RADIUS,
    ITERATIONS,
    PAPER,
    PAPER_ALPHA,
    PAPER_ITERATIONS,
    READING,
)

TABLE_ITERATIONS = (15, 20, 25)
TABLE_RADII = (0.5, 1.0, 1.5)  # of the task's own epsilon: Table 3 has 0.005, 0.01 and 0.015
TABLE_ALPHAS = (0.0, 0.75, 1.0, 1.25)
DEFAULT = Reading()  # of every row that names no other

OURS = ("keep", "stop_at", "step_size")  # of an attack, which the paper's setting says itself


def paper_rows(
    eps: float,
    *,
    steps: int = 10,
    alpha: float = 1.0,
    unit_scale: float = 1.0,
    setting: str = PAPER,
    reading: Reading = DEFAULT,
    extra: Sequence[Callable[..., Attack]] = (),
    **options: Any,
) -> list[PlannedAttack]:
    """What the SMIA paper runs, as it runs it: `steps` steps of epsilon, the last iterate, and nothing projects.

    BIM (its DEV, and its FGSM), PGD from a point within epsilon, SMIA, and of `extra` DAG with steps of epsilon and
    DeepFool, which leaves an image as soon as its decision is wrong. The radius of a row is what its steps add up to:
    ``steps * eps``, with its start ``(steps + 1) * eps`` for PGD, and the whole range for DeepFool.

    Args:
        eps: the step, in network units.
        steps: how many.
        alpha: weight of SMIA's stabilization term.
        unit_scale: network units per unit of the images.
        setting: of the rows, one that is `monai_smia.records.rows.is_as_the_paper`.
        reading: of Eq. 3 and 4 by SMIA.
        extra: further attacks, as for `paper_comparison`; others than DAG and DeepFool have no row here.
        **options: further arguments of every attack; `keep`, `stop_at` and `step_size` are the paper's.

    Example:
        >>> [(row.name, round(row.eps, 2), row.attack.keep) for row in paper_rows(0.01, extra=[DAG])]
        [('BIM', 0.1, 'last'), ('PGD', 0.11, 'last'), ('DAG', 0.1, 'last'), ('SMIA', 0.1, 'last')]
    """
    unit = partial(in_input_unit, unit_scale=unit_scale)
    shared: dict[str, Any] = {"steps": steps, "keep": "last"} | {
        name: v for name, v in options.items() if name not in OURS
    }
    reach = steps * eps
    step: dict[str, Any] = {"step_size": unit(eps)} if eps > 0 else {}
    pgd = PGD(eps=unit(reach + eps), start_eps=unit(eps), **step, **shared)
    found: list[tuple[Attack, float]] = [(BIM(eps=unit(reach), **step, **shared), reach), (pgd, reach + eps)]
    for make in extra:
        attack = make(eps=unit(reach), **shared)
        if isinstance(attack, DAG):
            found.append((replace(attack, **step), reach))
        elif isinstance(attack, DeepFool):
            whole = unit(1.0) if attack.clip is None else attack.clip[1] - attack.clip[0]
            found.append((replace(attack, eps=whole), float(f"{whole * unit_scale:.9g}")))
    found.append((SMIA(eps=unit(reach), alpha=alpha, **reading.arguments, **step, **shared), reach))
    return [PlannedAttack(attack, float(f"{radius:.9g}"), setting) for attack, radius in found]


def paper_comparison(
    eps: float | Sequence[float],
    *,
    steps: int = 10,
    alpha: float = 1.0,
    unit_scale: float = 1.0,
    stronger_loss: str | None = None,
    extra: Sequence[Callable[..., Attack]] = (),
    **options: Any,
) -> list[PlannedAttack]:
    """The comparison of the SMIA paper, fair and in its own setting.

    For each radius: noise, FGSM, BIM (the paper's DEV), MIFGSM, PGD and SMIA at equal radius and steps; SMIA once more
    with the gradients that the others take; and the rows of `paper_rows`, in the paper's own setting.

    Args:
        eps: radius in network units, or several.
        steps: steps of the iterated attacks.
        alpha: weight of SMIA's stabilization term.
        unit_scale: network units per unit of the images (1/1400 for images in HU and a window of 1400 HU).
        stronger_loss: name of a loss for one more PGD row, such as ``"soft_jaccard"``.
        extra: further attacks at equal radius, each a class or a function of ``(eps=, steps=, **options)``, such as
            ``[DeepFool]`` or ``[functools.partial(PGD, norm="l2")]``.
        **options: further arguments of every attack, such as `clip` and `seed`.

    Returns:
        The plan, the clean row first.

    Raises:
        ValueError: if `eps` holds no radius, `unit_scale` is not positive, or an argument of an attack is outside its
            range.

    Example:
        >>> plan = paper_comparison(0.05, steps=10, unit_scale=1 / 1400, clip=(-1024, 3071))
        >>> [(row.name, row.setting, row.attack.eps) for row in plan[6:8]]
        [('SMIA', 'equal radius', 70.0), ('SMIA', 'equal gradients', 70.0)]
    """
    if not unit_scale > 0:
        raise ValueError(f"unit_scale must be a number > 0, got {unit_scale}.")
    radii = radii_of(eps)
    check_number("alpha", alpha)
    check_number("steps", steps, whole=True)
    plan = [PlannedAttack()]
    for radius in radii:
        ball = in_input_unit(radius, unit_scale)
        iterated = {"eps": ball, "steps": steps, **options}
        fair: list[Attack] = [Noise(eps=ball, **options), FGSM(eps=ball, **options)]
        others: list[Callable[..., Attack]] = [BIM, MIFGSM, PGD, *extra]
        fair += [_made(attack, iterated) for attack in others]
        fair.append(SMIA(alpha=alpha, **iterated))
        same_gradients = SMIA(alpha=alpha, **{**iterated, "steps": max((steps + 1) // 2, 1)})
        plan += [PlannedAttack(attack, radius, EQUAL_RADIUS) for attack in fair]
        plan.append(PlannedAttack(same_gradients, radius, EQUAL_GRADIENTS))
        if stronger_loss is not None:
            plan.append(PlannedAttack(PGD(loss=stronger_loss, **iterated), radius, EQUAL_RADIUS))
        there = paper_rows(radius, steps=steps, alpha=alpha, unit_scale=unit_scale, extra=extra, **options)
        plan += [row for row in there if row.name != "DeepFool" or radius == radii[0]]  # its steps are not of epsilon
    return plan


def tables_plan(
    eps: float,
    *,
    paper_eps: float | None = None,
    steps: int = 10,
    unit_scale: float = 1.0,
    iterations: Sequence[int] = TABLE_ITERATIONS,
    radii: Sequence[float] = TABLE_RADII,
    alphas: Sequence[float] = TABLE_ALPHAS,
    readings: str | Sequence[str | Reading] = (),
    extra: Sequence[Callable[..., Attack]] = (),
    **options: Any,
) -> list[PlannedAttack]:
    """The rows of Tables 1 to 4 and 6, and of the readings of SMIA, none of them twice.

    All of them at equal radius, and in the paper's own setting as `paper_rows` has it, where the radii of Table 3 are
    steps.

    Args:
        eps: the task's epsilon in network units.
        paper_eps: the epsilon of the rows in the paper's own setting, by default the same. Their steps add up, so
            that ``eps / steps`` reaches as far as the rows at equal radius.
        steps: iterations of the Tables 1, 3, 4 and 6.
        unit_scale: network units per unit of the images, as for `monai_smia.evaluation.paper_comparison`.
        iterations: of Table 2.
        radii: of Table 3, as multiples of eps.
        alphas: of Table 4.
        readings: further readings of Eq. 3 and 4 by SMIA, `monai_smia.attacks.Reading` or their names; ``"all"`` for
            every one.
        extra: further attacks, as for `monai_smia.evaluation.paper_comparison`.
        **options: further arguments of every attack, such as `clip` and `seed`.

    Raises:
        ValueError: if `eps` is no one radius, a number is none, or an argument of an attack is outside its range.

    Example:
        >>> plan = tables_plan(0.05)
        >>> len(plan), sorted({row.name for row in plan})
        (42, ['BIM', 'Clean', 'Noise', 'PGD', 'SMIA'])
        >>> [row.eps for row in tables_plan(0.05, paper_eps=0.005) if row.setting == "paper"][:3]  # PGD: and its start
        [0.05, 0.055, 0.05]
    """
    own = eps if paper_eps is None else paper_eps
    for name, value in (("eps", eps), ("paper_eps", own)):
        if len(radii_of(value, name)) != 1:
            raise ValueError(f"{name} must be one radius, of which Table 3 takes multiples, got {value!r}.")
    (eps,), (own,), factors = radii_of(eps), radii_of(own), radii_of(radii, "radii")
    for name, values in (("steps", [steps]), ("iterations", iterations)):
        for value in values:
            check_number(name, value, whole=True)
    unit = partial(in_input_unit, unit_scale=unit_scale)
    attacks: list[Callable[..., Attack]] = [BIM, PGD, *extra, SMIA]
    others = readings_of(readings)
    plan = [PlannedAttack(), PlannedAttack(Noise(eps=unit(eps), **options), eps, EQUAL_RADIUS)]
    for count in dict.fromkeys((steps, *iterations)):
        setting = EQUAL_RADIUS if count == steps else ITERATIONS
        plan += [PlannedAttack(a(eps=unit(eps), steps=count, **options), eps, setting) for a in attacks]
    for factor in factors:
        if factor != 1:
            ball = {"eps": unit(factor * eps), "steps": steps, **options}
            plan += [PlannedAttack(a(**ball), factor * eps, EQUAL_RADIUS) for a in attacks]
    for alpha in alphas:
        if alpha not in (0, 1):  # 0 is BIM, 1 is there
            smia = SMIA(eps=unit(eps), steps=steps, alpha=alpha, **options)
            plan.append(PlannedAttack(smia, eps, ALPHA))
    for reading in others:
        smia = SMIA(eps=unit(eps), steps=steps, **reading.arguments, **options)
        plan.append(PlannedAttack(smia, eps, f"{READING} {reading.name}"))
    as_there: Callable[..., list[PlannedAttack]] = partial(paper_rows, unit_scale=unit_scale, extra=extra, **options)
    for count in dict.fromkeys((steps, *iterations)):
        plan += as_there(own, steps=count, setting=PAPER if count == steps else PAPER_ITERATIONS)
    for factor in factors:
        if factor != 1:  # DeepFool's row is there
            plan += [row for row in as_there(factor * own, steps=steps) if row.name != "DeepFool"]
    for alpha in alphas:
        if alpha not in (0, 1):
            rows = as_there(own, steps=steps, alpha=alpha, setting=PAPER_ALPHA)
            plan += [row for row in rows if row.name == "SMIA"]
    for reading in others:
        rows = as_there(own, steps=steps, setting=f"{PAPER}, {READING} {reading.name}", reading=reading)
        plan += [row for row in rows if row.name == "SMIA"]
    return plan


def _made(make: Callable[..., Attack], options: dict[str, Any]) -> Attack:
    """An attack of a plan; DeepFool leaves an image as soon as it is decided wrongly, whatever the others do."""
    if getattr(make, "func", make) is DeepFool:
        options = {name: value for name, value in options.items() if name != "stop_at"}
    return make(**options)


def readings_of(readings: str | Sequence[str | Reading]) -> list[Reading]:
    """The readings that have a row of their own: all that are asked for but `DEFAULT`, none of them twice.

    Args:
        readings: readings or their names, one of them, or ``"all"``; ``"none"`` for none.

    Raises:
        ValueError: if one is no reading.

    Example:
        >>> len(readings_of("all")), [reading.name for reading in readings_of(["hard, step, loss", DEFAULT])]
        (13, ['hard, step, loss'])
    """
    several: Sequence[Any] = [readings] if isinstance(readings, (str, Reading)) else readings
    if not isinstance(several, (list, tuple)):
        raise ValueError(f"readings must be 'all', 'none', a reading or a list of readings, got {readings!r}.")
    if list(several) in (["all"], ["none"]):
        several = READINGS if several[0] == "all" else ()
    found = [each if isinstance(each, Reading) else Reading.named(each) for each in several]
    return [reading for reading in dict.fromkeys(found) if reading != DEFAULT]
