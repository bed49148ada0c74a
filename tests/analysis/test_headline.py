from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from record_helpers import group, record

from monai_smia.analysis import groups_of, headline_of, summarize
from monai_smia.records import Primary, Record

KEY: dict[str, Any] = {"setting": "equal radius", "eps_input": 10.0, "norm": "linf"}


def records() -> list[Record]:
    """Two cases, of which BIM breaks one and SMIA the other; noise breaks none."""
    found = [record("Clean", case, jaccard=0.9) for case in "ab"]
    for attack, values in (("Noise", (0.8, 0.8)), ("BIM", (0.1, 0.7)), ("SMIA", (0.6, 0.3))):
        found += [record(attack, case, jaccard=v, eps=0.1, **KEY) for case, v in zip("ab", values, strict=True)]
    return found


def test_the_worst_attack_of_every_case_beside_clean_and_noise() -> None:
    found = headline_of(groups_of(records()), summarize(records(), with_intervals=True), Primary("jaccard", True))
    assert found is not None
    (radius,) = found.radii
    assert (found.metric, found.clean, found.by_case) == ("jaccard", 0.9, True)
    assert (radius.eps, radius.eps_input, radius.norm, radius.noise, radius.cases) == (0.1, 10.0, "linf", 0.8, 2)
    assert radius.attacked == (0.1 + 0.3) / 2
    assert radius.interval is not None


def found_share(values: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """A metric over cases alone, as average precision is."""
    return {"share": sum(value["damage"] < 0.5 for value in values) / len(values)}


def test_the_strongest_attack_where_the_metric_is_said_of_no_single_case() -> None:
    damaged = [record("Clean", case, damage=0.0) for case in "ab"]
    for attack, values in (("Noise", (0.0, 0.0)), ("BIM", (0.9, 0.1)), ("SMIA", (0.6, 0.7))):
        damaged += [record(attack, case, damage=v, eps=0.1, **KEY) for case, v in zip("ab", values, strict=True)]
    rows = summarize(damaged, found_share, with_intervals=True)
    found = headline_of(groups_of(damaged), rows, Primary("share", True))
    assert found is not None
    (radius,) = found.radii
    assert (found.metric, found.clean, found.by_case) == ("share", 1.0, False)
    assert (radius.noise, radius.attacked, radius.interval, radius.cases) == (1.0, 0.0, [0.0, 0.0], 2)


def test_nothing_attacked() -> None:
    clean = [record("Clean", jaccard=0.9)]
    assert headline_of([group(*clean)], summarize(clean), Primary("jaccard", True)) is None
