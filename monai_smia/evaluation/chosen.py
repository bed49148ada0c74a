"""The rows of a preset, with those that a user adds to it or picks out of it by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai_smia.attacks import Attack
from monai_smia.evaluation.paper_plan import paper_comparison
from monai_smia.evaluation.plan import PlannedAttack, in_input_unit
from monai_smia.evaluation.presets import preset_plan
from monai_smia.evaluation.volume_rows import volume_rows
from monai_smia.nearest import nearest
from monai_smia.records.rows import EQUAL_RADIUS


def chosen_plan(
    preset: str,
    task: str,
    radii: Sequence[float],
    *,
    steps: int,
    alpha: float,
    seed: int,
    unit_scale: float,
    clip: tuple[float, float] | None,
    gradients: int | None = None,
    volumes: Sequence[str] | None = None,
    extra: Sequence[Callable[..., Attack]] | None = None,
    only: Sequence[str] | None = None,
    shifts: Mapping[str, Any] | None = None,
) -> list[PlannedAttack]:
    """The plan of a preset, as command lines give it.

    Args:
        preset, task, steps, alpha, seed, unit_scale, clip, gradients: as for `preset_plan`.
        radii: in network units.
        volumes: drive the volume of a segmentation ``"down"``, ``"up"`` or both, in rows beside those of the preset.
        extra: further attacks at the same radii, each a class or function of ``(eps=, seed=, clip=)``.
        shifts: of the preset ``"shifts"``: arguments of `shift_rows`; without ``geometric``, no shift moves anatomy.
        only: attacks to run, by their names, of the preset or the paper's comparison; None for all of the preset.

    Raises:
        ValueError: if a name of `only` is none of these attacks, volumes are asked of another task, or an argument is
            outside its range.

    Example:
        >>> shared = {"steps": 2, "alpha": 1.0, "seed": 0, "unit_scale": 1.0, "clip": None}
        >>> [row.name for row in chosen_plan("quick", "segmentation", [0.1], only=["Noise", "PGD"], **shared)]
        ['Clean', 'Noise', 'PGD', 'PGD', 'PGD']
    """
    shared: dict[str, Any] = {"steps": steps, "alpha": alpha, "seed": seed, "unit_scale": unit_scale, "clip": clip}
    stronger = "soft_jaccard" if task == "segmentation" else None
    given = {"geometric": False, **(shifts or {})}
    attacks = preset_plan(preset, task, radii, gradients=gradients, stronger_loss=stronger, shifts=given, **shared)
    if only is not None:  # out of the paper's comparison, too
        there = {row.name for row in attacks}
        attacks += [row for row in paper_comparison(radii, stronger_loss=stronger, **shared) if row.name not in there]
    if volumes is not None and task != "segmentation":
        raise ValueError(f"volumes are of a segmentation, and this is a {task}: got {volumes!r}.")
    rows = {name: value for name, value in shared.items() if name != "alpha"}
    attacks += volume_rows(volumes, radii, preset=preset, gradients=gradients, **rows)
    for radius in radii:
        ball = in_input_unit(radius, unit_scale)
        attacks += [PlannedAttack(make(eps=ball, seed=seed, clip=clip), radius, EQUAL_RADIUS) for make in extra or ()]
    return attacks if only is None else selected(attacks, only)


def chosen_rows(
    plan: Sequence[PlannedAttack],
    *,
    rows: str | Sequence[str] | None = None,
    settings: str | Sequence[str] | None = None,
) -> list[PlannedAttack]:
    """Those rows of a plan that a config names.

    Args:
        plan: all of them.
        rows: names of attacks, or one; None for all.
        settings: that rows are compared by, or one; the clean row has ``""``. None for all.

    Raises:
        ValueError: if a name is none of the plan's, or no row has both.

    Example:
        >>> plan = paper_comparison(0.01)
        >>> [row.name for row in chosen_rows(plan, rows=["BIM", "SMIA"], settings="equal radius")]
        ['BIM', 'SMIA']
    """
    names = _known("rows", rows, [row.name for row in plan])
    kept = _known("settings", settings, [row.setting for row in plan])
    found = [row for row in plan if row.name in names and row.setting in kept]
    if not found:
        raise ValueError(f"rows and settings must leave a row of the plan, got {rows!r} and {settings!r}.")
    return found


def _known(name: str, value: Any, there: Sequence[str]) -> list[str]:
    """The names that are given, one or several, each of which is there."""
    known = list(dict.fromkeys(there))
    given = known if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
    for one in given:
        if one not in known:
            raise ValueError(f"{name} must name some of {known}, got {one!r}{nearest(one, known)}")
    return given


def selected(attacks: Sequence[PlannedAttack], names: Sequence[str]) -> list[PlannedAttack]:
    """The clean row and the attacks of these names.

    Raises:
        ValueError: if a name is of none of them.
    """
    known = {row.name for row in attacks}
    if unknown := set(names) - known:
        raise ValueError(
            f"only must name attacks of {sorted(known)}, got {sorted(unknown)}{nearest(min(unknown), known)}"
        )
    return [row for row in attacks if row.attack is None or row.name in names]
