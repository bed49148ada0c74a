"""Intervals computed once more, patient by patient and draw by draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from monai_smia.analysis.intervals import Clusters, jackknife_interval, mean_interval, share_interval
from monai_smia.analysis.statistics import Sample, intervals, mean_of, paired_difference
from monai_smia.metrics import means

T975 = {6: 2.5705818366, 8: 2.3646242516, 30: 2.0452296421}  # quantiles of t with n - 1 degrees, from a table


def values_of(patients: int, seed: int, images: int = 3) -> list[tuple[str, float]]:
    """Values within [0, 1] of patients with 1 to so many images each."""
    draw = np.random.default_rng(seed)
    return [
        (f"p{number}", float(np.clip(level + draw.normal(0, 0.05), 0, 1)))
        for number, level in enumerate(draw.uniform(0.2, 0.8, patients))
        for _ in range(int(draw.integers(1, images + 1)))
    ]


def clusters(pairs: Sequence[tuple[str, float]]) -> Clusters:
    found = Clusters.of(pairs)
    assert found is not None
    return found


def by_patient(pairs: Sequence[tuple[str, float]]) -> list[list[float]]:
    names = list(dict.fromkeys(name for name, _ in pairs))
    return [[value for other, value in pairs if other == name] for name in names]


def error_of(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Mean over all values and its standard error, by the sums of what patients add to it."""
    mean = sum(map(sum, groups)) / sum(map(len, groups))
    rests = [sum(value - mean for value in group) for group in groups]
    return mean, float(np.sqrt(len(groups) / (len(groups) - 1) * sum(r * r for r in rests))) / sum(map(len, groups))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("patients", [6, 8])
def test_the_interval_of_a_mean_is_the_wider_of_t_and_studentized_draws(patients: int, seed: int) -> None:
    pairs = values_of(patients, seed)
    groups = by_patient(pairs)
    mean, error = error_of(groups)
    turned = []
    for counts in np.random.default_rng(0).multinomial(patients, [1 / patients] * patients, 2000):
        drawn = [group for group, count in zip(groups, counts, strict=True) for _ in range(count)]
        there, spread = error_of(drawn)
        turned.append(np.clip((there - mean) / max(spread, 1e-12), -1e6, 1e6))
    low, high = np.percentile(turned, [2.5, 97.5])
    expected = [mean - max(T975[patients], high) * error, mean - min(-T975[patients], low) * error]
    found = clusters(pairs)
    assert found.error() == pytest.approx(error)
    assert mean_interval(found, signed=True) == pytest.approx(np.clip(expected, -1, 1), rel=1e-6)
    assert mean_interval(found) == pytest.approx(np.clip(expected, 0, 1), rel=1e-6)
    other = mean_interval(found, seed=1)
    assert other is not None
    assert other != mean_interval(found)
    assert found.p_of_zero() == pytest.approx(2 * stats.t.sf(mean / error, patients - 1))


def test_bounds_of_values_that_are_bounded() -> None:
    """Means lie where their values may: from 0 to 1, from -1 where one of them does, or where the name says so."""
    skewed = [(str(i), value) for i, value in enumerate((0.0, 0.0, 0.0, 0.0, 0.3, 1.0))]
    assert mean_interval(clusters(skewed)) == [0.0, 1.0]
    for name in ("added_damage", "cos_mean"):
        low, high = mean_interval(clusters(skewed), name) or [0, 0]
        assert -1 <= low < 0
        assert high == 1
    low, _ = mean_interval(clusters([*skewed[:-1], ("5", -1.0)])) or [0, 0]
    assert -1 <= low < -0.4
    assert mean_interval(clusters([*skewed[:-1], ("5", 1.001)])) is None  # of any size: needs 25 patients
    assert mean_interval(clusters([*skewed[:-1], ("5", -1.001)])) is None


def test_values_of_any_size_have_no_bounds() -> None:
    pairs = [(str(i), float(value)) for i, value in enumerate(np.random.default_rng(0).normal(0, 5, 30))]
    groups = by_patient(pairs)
    mean, error = error_of(groups)
    found = mean_interval(clusters(pairs), "hd95")
    assert found is not None
    assert found[0] <= mean - T975[30] * error + 1e-9
    assert found[1] >= mean + T975[30] * error - 1e-9
    assert found[0] < -1
    assert found[1] - found[0] < 2 * 1.4 * T975[30] * error


def test_what_is_alike_has_no_interval_and_no_p() -> None:
    for value, p in ((0.0, 1.0), (0.5, None)):
        alike = clusters([(str(i), value) for i in range(8)])
        assert mean_interval(alike) is None
        assert alike.p_of_zero() == p
    nearly = clusters([(str(i), 0.5 + 1e-6 * (i % 2)) for i in range(8)])
    assert mean_interval(nearly) is not None
    assert nearly.p_of_zero() == pytest.approx(0, abs=1e-12)
    few = clusters([(str(i), i / 10) for i in range(5)])
    assert (few.p_of_zero(), mean_interval(few)) == (None, None)
    assert clusters([(str(i), i / 10) for i in range(6)]).p_of_zero() is not None


@pytest.mark.parametrize("seed", range(4))
def test_a_share_of_several_cases_a_patient_counts_as_many_as_it_is_worth(seed: int) -> None:
    """Korn and Graubard: p (1 - p) / variance, by the quantiles of t for cases and patients, at most every case."""
    draw = np.random.default_rng(seed)
    levels = enumerate(draw.uniform(0.3, 1, 8))
    pairs = [(str(patient), float(draw.random() < level)) for patient, level in levels for _ in range(4)]
    share, error = error_of(by_patient(pairs))
    assert 0 < share < 1
    ratio = stats.t.ppf(0.975, len(pairs) - 1) / T975[8]
    worth = min(32.0, share * (1 - share) / error**2 * ratio**2)
    count = share * worth
    low, high = stats.beta.ppf(0.025, count, worth - count + 1), stats.beta.ppf(0.975, count + 1, worth - count)
    assert share_interval(clusters(pairs)) == pytest.approx([low, high], rel=1e-6)


def test_a_share_of_few_patients_has_no_interval_and_at_its_ends_it_is_exact() -> None:
    assert share_interval(clusters([(str(i), 1.0) for i in range(5)])) is None
    assert share_interval(clusters([(str(i), 1.0) for i in range(6)])) == pytest.approx([0.025 ** (1 / 6), 1.0])
    assert share_interval(clusters([(str(i), 0.0) for i in range(6)])) == pytest.approx([0.0, 1 - 0.025 ** (1 / 6)])
    twice = [(str(i), 0.0) for i in range(6) for _ in range(2)]
    assert share_interval(clusters(twice)) == pytest.approx([0.0, 1 - 0.025 ** (1 / 6)])


ENDS = [(0.0, 0.5, 0.6), (0.4, 0.5, 1.0), (-1.0, 0.2, 0.3), (0.2, 0.5, 1.1)]


@pytest.mark.parametrize(("low", "whole", "high"), ENDS)
def test_a_summary_at_an_end_of_its_scale_has_no_interval(low: float, whole: float, high: float) -> None:
    assert jackknife_interval(whole, [low, *[whole] * 5, high]) is None


def test_a_summary_of_six_patients_has_one_and_of_five_none() -> None:
    without = [0.5, 0.51, 0.52, 0.48, 0.5, 0.49]
    assert jackknife_interval(0.5, without) is not None
    assert jackknife_interval(0.5, without[:5]) is None
    assert jackknife_interval(0.5, [0.5] * 6) is None
    assert jackknife_interval(0.5, [0.5] * 5 + [0.5 + 1e-6]) is not None


def samples(values: Sequence[float | None], name: str = "jaccard", patients: int = 100) -> list[Sample]:
    return [Sample(f"c{i}", f"p{i % patients}", {name: v}) for i, v in enumerate(values)]


def test_a_mean_of_ones_and_zeros_is_a_share_unless_its_name_or_its_kind_says_otherwise() -> None:
    values = [0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    exact = share_interval(clusters([(str(i), v) for i, v in enumerate(values)]))
    assert mean_of(samples(values), "jaccard").interval == exact
    for name in ("added_damage", "cos_mean"):
        assert mean_of(samples(values, name), name).interval != exact
    assert mean_of(samples(values, "hd95"), "hd95").interval is None
    assert mean_of(samples(values), "jaccard", signed=True).interval != exact
    found = mean_of(samples(values, patients=5), "jaccard")
    assert (found.interval, found.listed) == (None, [0.0, 1.0, 1.0, 1.0, 1.0])
    assert (found.cases, found.patients, found.value) == (7, 5, pytest.approx(5 / 7))


def test_pairs_are_of_cases_that_both_have() -> None:
    first, second = samples([0.5, None, 0.9, 0.3]), samples([0.25, 0.5, None])
    found = paired_difference(first, second, "jaccard")
    assert (found.value, found.cases, found.patients, found.listed) == (0.25, 1, 1, [0.25])


def test_a_summary_that_differs_from_the_mean_by_rounding_is_the_mean() -> None:
    """What it says is a mean, has the interval of a mean; what is no mean has the jackknife's."""
    told = samples(list(np.linspace(0.2, 0.8, 8)))
    plain = intervals(told, means)["jaccard"]
    for factor, is_mean in ((1 + 1e-10, True), (1.001, False)):

        def summary(values: object, factor: float = factor) -> dict[str, float | None]:
            return {"jaccard": 0.0 if not values else factor * float(np.mean([v["jaccard"] for v in values]))}  # type: ignore[attr-defined]

        assert (intervals(told, summary)["jaccard"] == plain) is is_mean
    none = intervals(samples([None] * 8), lambda values: {"jaccard": None, "cv_volume": 0.5, "ece": 0.1})
    assert none == {"jaccard": None}


@pytest.mark.parametrize(("hits", "patients"), [(0, 20), (1, 20), (2, 20), (19, 20), (20, 20), (1, 6)])
def test_a_share_of_one_image_a_patient_is_scipys_exact_interval(hits: int, patients: int) -> None:
    found = share_interval(Clusters.of((str(k), float(k < hits)) for k in range(patients)))
    expected = stats.binomtest(hits, patients).proportion_ci(method="exact")
    assert found == pytest.approx([expected.low, expected.high])
