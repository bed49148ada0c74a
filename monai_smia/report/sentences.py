"""What an evaluation comes to, in sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

from monai_smia.records import Flag
from monai_smia.records.critical_radius import CriticalRadii
from monai_smia.records.summary import AtRadius, Headline
from monai_smia.report.table import cell, decimals_of, interval_text, rounded
from monai_smia.units import in_unit


def headline_text(headline: Headline | None, unit: str, sampled: str = "case", flags: Sequence[Flag] = ()) -> str:
    """Clean, and at the smallest and the largest radius under noise and under attack; every figure with its n.

    Whether more gradients would move it, and the reasons not to trust it, are part of it.

    Args:
        headline: of the summary.
        unit: of the images.
        sampled: ``"patient"`` where it is known whose the cases are.
        flags: reasons not to trust it.

    Example:
        >>> from monai_smia.records.summary import AtRadius
        >>> radius = AtRadius(0.05, 70.0, "linf", 0.875, 0.25, [0.125, 0.5], 12, 8, ["FGSM", "PGD"], ["PGD"])
        >>> text = headline_text(Headline("jaccard", 0.9, True, [radius], 12, 8), "HU", "patient")
        >>> text.partition("; ")[2].partition(", 0.25 ")[2]
        '[0.12, 0.50] under the worst of 2 attacks on every case, most often PGD (12 cases of 8 patients).'
    """
    if headline is None:
        return ""
    count = _count_text(headline.clean_cases, headline.clean_patients, sampled)
    decimals = decimals_of(headline.radii[-1].interval) if headline.radii else None
    clean = [] if headline.clean is None else [f"{rounded(headline.clean, decimals)} on clean images ({count})"]
    ends = headline.radii[:: max(len(headline.radii) - 1, 1)]
    parts = [*clean, *(_radius_text(end, headline.by_case, unit, sampled) for end in ends)]
    text = f"Mean {headline.metric}: {'; '.join(parts)}."
    return f"{text}{_convergence_text(headline, unit)}{_flags_text(flags)}"


def headline_figure(headline: Headline | None, unit: str) -> tuple[str, str] | None:
    """The headline in two figures: clean and at the largest radius, and what they are; None where one is missing.

    Args:
        headline: of the summary.
        unit: of the images.

    Example:
        >>> from monai_smia.records.summary import AtRadius
        >>> radius = AtRadius(0.05, 70.0, "linf", 0.875, 0.25, [0.125, 0.5], 12, 8, ["FGSM", "PGD"], ["PGD"])
        >>> headline_figure(Headline("jaccard", 0.9, True, [radius], 12, 8), "HU")
        ('0.90 → 0.25', 'mean jaccard, clean and under the worst attack of at most 70 HU (eps 0.05)')
    """
    if headline is None or headline.clean is None or headline.radii[-1].attacked is None:
        return None
    last = headline.radii[-1]
    told = f"mean {headline.metric}, clean and under the worst attack of at most {radius_text(last, unit)}"
    decimals = decimals_of(last.interval)
    return f"{rounded(headline.clean, decimals)} → {rounded(last.attacked, decimals)}", told


def critical_radius_text(found: CriticalRadii, unit: str, sampled: str = "case") -> str:
    """At which size of change half of what is right is lost, and how many cases hold at the largest.

    Args:
        found: of the summary.
        unit: of the images.
        sampled: ``"patient"`` where it is known whose the cases are.

    Example:
        >>> from monai_smia.records.critical_radius import CaseRadius
        >>> cases = [CaseRadius(name, name, None, None, None) for name in "ab"]
        >>> radii = CriticalRadii("linf", 0.5, 0.05, 70.0, None, None, None, 2, 2, 0, cases)
        >>> critical_radius_text(radii, "HU").partition("): ")[2]
        'none found up to 70 HU (eps 0.05), the largest tried (median of 2 cases); 2 of 2 cases hold there.'
    """
    share = f"{100 * found.share:g} %"
    norm = "" if found.norm == "linf" else f" in {found.norm.replace('l', 'L')}"
    largest = f"{in_unit(found.largest_input, unit)} (eps {found.largest:g})" if unit else f"{found.largest:g}"
    if found.median is None:
        told = f"none found up to {largest}{norm}, the largest tried"
    else:
        told = f"at most {_median_text(found, unit)}{norm}{_ends_text(found, unit)}"
    count = _count_text(len(found.cases), found.patients, sampled)
    hold = f"{found.holding} of {len(found.cases)} cases hold{'s' if found.holding == 1 else ''}"
    there = "there" if found.median is None else f"at {largest}"
    wrong = f"; {found.wrong_when_clean} more are wrong when clean" if found.wrong_when_clean else ""
    lost = f"Critical radius (what leaves at most {share} of what is right on the clean image)"
    return f"{lost}: {told} (median of {count}); {hold} {there}{wrong}."


def _median_text(found: CriticalRadii, unit: str) -> str:
    """The median, in the unit of the images where they have one, with the decimals of its interval."""
    median, decimals = found.median_input if unit else found.median, _decimals(found, unit)
    told = f"{median:.3g}" if decimals is None else rounded(median, decimals)
    return f"{in_unit(told, unit)} (eps {found.median:.3g})" if unit else told


def _ends_text(found: CriticalRadii, unit: str) -> str:
    """The interval of the median."""
    if found.interval_input is None:
        return ""
    decimals = _decimals(found, unit)
    ends = (
        "more" if end is None else f"{end:.3g}" if decimals is None else rounded(end, decimals)
        for end in _ends(found, unit)
    )
    return f", 95 % interval [{', '.join(ends)}]"


def _ends(found: CriticalRadii, unit: str) -> list[float | None]:
    """Of the interval of the median, in the unit that the sentence has; None lies beyond the largest radius."""
    per_unit = 1.0 if unit else (found.largest or 0.0) / (found.largest_input or 1.0)
    return [None if end is None else end * per_unit for end in found.interval_input or ()]


def _decimals(found: CriticalRadii, unit: str) -> int | None:
    """Those that the interval of the median gives; None where it is open, which has no width."""
    known = [end for end in _ends(found, unit) if end is not None]
    return decimals_of(known) if len(known) == 2 else None


def _convergence_text(headline: Headline, unit: str) -> str:
    """Whether what the attacks of a radius leave stood still while their gradients doubled, where they did."""
    asked = [radius for radius in headline.radii if radius.converged is not None]
    moving = [radius for radius in asked if not radius.converged]
    if not asked:
        return ""
    doubled, tolerance = "the last doubling of the gradients moved what", f"(tolerance {headline.tolerance:g})"
    if not moving:
        most = max(radius.moved or 0.0 for radius in asked)
        return f" Converged: {doubled} a radius' own attacks leave by {most:.3f} {tolerance}."
    told = ", ".join(
        f"at {radius_text(radius, unit)} by {'an unknown amount' if radius.moved is None else f'{radius.moved:.3f}'}"
        for radius in moving
    )
    return f" Not converged: {doubled} the attacks leave {told} {tolerance}: give more."


def _flags_text(flags: Sequence[Flag]) -> str:
    """The flags that fired, by their names."""
    names = list(dict.fromkeys(flag.name for flag in flags))
    return f" Do not trust it as it stands, the network may be weaker: {', '.join(names)}." if names else ""


def _radius_text(end: AtRadius, by_case: bool, unit: str, sampled: str) -> str:
    decimals = decimals_of(end.interval)
    parts = [] if end.noise is None else [f"{rounded(end.noise, decimals)} under noise"]
    if end.attacked is not None:
        listed = f" (mean of {', '.join(map(cell, end.listed))})" if len(end.listed) > 1 else ""
        by, count = _by_text(end, by_case), _count_text(end.cases, end.patients, sampled)
        parts.append(f"{rounded(end.attacked, decimals)}{interval_text(end.interval) or listed} under {by} ({count})")
    return f"at radius {radius_text(end, unit)} {', '.join(parts)}"


def _by_text(end: AtRadius, by_case: bool) -> str:
    """The attacks that the figure is by; of those of smaller radii the ones that did more than any of this radius."""
    names = [label.removesuffix(f", eps {end.eps:g}") for label in end.by]
    known = set(end.attacks)
    if len(known) == 1 and names:
        return f"the only attack, {names[0]}"
    told = "all of them alike" if len(names) == len(known) > 1 else " and ".join(names)
    if not by_case:
        return f"the strongest attack{f', {told}' if told else ''}"
    often = told if told.startswith("all") else f"most often {told}"
    count = len({re.sub(r", round \d+", "", label) for label in known})
    attacks = f"{count} attack{'' if count == 1 else 's'}"
    rounds = f" in {len(end.rounds)} rounds" if len(end.rounds) > 1 else ""
    return f"the worst of {attacks}{rounds} on every case{f', {often}' if told else ''}"


def radius_text(radius: AtRadius, unit: str) -> str:
    """A radius in the unit of the images and in network units, with its norm where that is not L-inf."""
    text = f"{in_unit(radius.eps_input, unit)} (eps {radius.eps:g})" if unit else f"{radius.eps:g}"
    return text if radius.norm in (None, "linf") else f"{text} in {radius.norm.replace('l', 'L')}"


def _count_text(cases: int, patients: int, sampled: str) -> str:
    text = f"{cases} case{'' if cases == 1 else 's'}"
    return f"{text} of {patients} patient{'' if patients == 1 else 's'}" if sampled == "patient" else text
