"""The rows that the tables of the SMIA paper need; `monai_smia.report.write_tables` prints them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from monai_smia.attacks import BIM, PGD, SMIA, Attack, Noise
from monai_smia.evaluation.plan import PlannedAttack, check_number, in_input_unit, radii_of
from monai_smia.records.rows import ALPHA, EQUAL_RADIUS, ITERATIONS, PAPER

TABLE_ITERATIONS = (15, 20, 25)
TABLE_RADII = (0.5, 1.0, 1.5)  # of the task's own epsilon: Table 3 has 0.005, 0.01 and 0.015
TABLE_ALPHAS = (0.0, 0.75, 1.0, 1.25)


def tables_plan(
    eps: float,
    *,
    steps: int = 10,
    unit_scale: float = 1.0,
    iterations: Sequence[int] = TABLE_ITERATIONS,
    radii: Sequence[float] = TABLE_RADII,
    alphas: Sequence[float] = TABLE_ALPHAS,
    extra: Sequence[Callable[..., Attack]] = (),
    **options: Any,
) -> list[PlannedAttack]:
    """The rows of Tables 1 to 4 and 6, none of them twice.

    All of them at equal radius; those of Tables 1 and 6 in the paper's own setting, too.

    Args:
        eps: the task's epsilon in network units.
        steps: iterations of the Tables 1, 3, 4 and 6.
        unit_scale: network units per unit of the images, as for `monai_smia.evaluation.paper_comparison`.
        iterations: of Table 2.
        radii: of Table 3, as multiples of eps.
        alphas: of Table 4.
        extra: further attacks, as for `monai_smia.evaluation.paper_comparison`.
        **options: further arguments of every attack, such as `clip` and `seed`.

    Raises:
        ValueError: if `eps` is no one radius, a number is none, or an argument of an attack is outside its range.

    Example:
        >>> plan = tables_plan(0.05)
        >>> len(plan), sorted({row.name for row in plan})
        (25, ['BIM', 'Clean', 'Noise', 'PGD', 'SMIA'])
    """
    if len(radii_of(eps)) != 1:
        raise ValueError(f"eps must be one radius, of which Table 3 takes multiples, got {eps!r}.")
    (eps,), factors = radii_of(eps), radii_of(radii, "radii")
    for name, values in (("steps", [steps]), ("iterations", iterations)):
        for value in values:
            check_number(name, value, whole=True)
    unit = partial(in_input_unit, unit_scale=unit_scale)
    attacks: list[Callable[..., Attack]] = [BIM, PGD, *extra, SMIA]
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
    paper = {"eps": unit(steps * eps), "steps": steps, "step_size": unit(eps), **options}
    starts: list[Attack] = [BIM(**paper), PGD(**paper), SMIA(**paper)]
    return plan + [PlannedAttack(attack, steps * eps, PAPER) for attack in starts]
