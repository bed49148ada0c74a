from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, binomtest, ttest_1samp
from scipy.stats import t as t_distribution

from monai_smia.analysis.intervals import Clusters, jackknife_interval, mean_interval, share_interval
from monai_smia.analysis.statistics import Mean, Sample, holm, intervals, mean_of, paired_difference, worst_case
from monai_smia.metrics import ClassificationMetrics, means

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "coverage.py"  # a package of that name measures lines
SPEC = importlib.util.spec_from_file_location("coverage_of_intervals", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
coverage: Any = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = coverage
sys.path.append(str(SCRIPT.parent))
SPEC.loader.exec_module(coverage)
sys.path.remove(str(SCRIPT.parent))  # scripts there have names of folders here


def rows(values: Any, patients: Any = None, name: str = "jaccard") -> list[Sample]:
    patients = range(len(values)) if patients is None else patients
    return [
        Sample(str(i), str(p), {name: None if v is None else float(v)})
        for i, (v, p) in enumerate(zip(values, patients, strict=True))
    ]


def clusters(values: list[tuple[str, float]]) -> Clusters:
    found = Clusters.of(values)
    assert found is not None
    return found


def exact(successes: int, count: int) -> list[float]:
    """Clopper and Pearson's interval by SciPy."""
    found = binomtest(successes, count).proportion_ci(0.95, method="exact")
    return [found.low, found.high]


def interval(values: Any, patients: Any = None) -> list[float] | None:
    return mean_of(rows(values, patients), "jaccard").interval


@pytest.mark.parametrize("patients", [6, 25])
@pytest.mark.parametrize("images", coverage.IMAGES)
@pytest.mark.parametrize("kind", [kind for kind in coverage.KINDS if kind not in coverage.SLOW])
def test_what_is_printed_covers(kind: str, images: int, patients: int) -> None:
    """A short run of the simulation: of 100 intervals that cover 95 %, fewer than 87 do once in 1,000."""
    found = coverage.coverage(kind, patients, images, draws=100)
    assert found.covered is None or found.covered >= 0.87, found


@pytest.mark.parametrize(
    ("first", "second"),
    [([1.0, 1, 0, 0, 0, 0], [0.0] * 6), ([0.5, 0.6, 0.7, 0.8, 0.9, 1], [0.5, 0.6, 0.7, 0.8, 0.9, 0.5])],
)
def test_a_difference_is_the_other_way_round_its_mirror(first: list[float], second: list[float]) -> None:
    """Though no difference is below 0, its mean may be; though all are 0 or 1, it is no share."""
    one, other = (paired_difference(rows(a), rows(b), "jaccard") for a, b in ((first, second), (second, first)))
    assert one.interval is not None
    assert one.interval[0] < 0 < one.interval[1]
    assert one.interval == pytest.approx([-end for end in reversed(other.interval or [])])
    assert paired_difference(rows(first), rows(first), "jaccard").interval is None


def test_a_signed_value_may_be_below_0() -> None:
    values = [0.0, 0.0, 0.1, 0.0, 0.0, 0.6]
    found = mean_of(rows(values, name="added_damage"), "added_damage").interval
    assert found is not None
    assert found[0] < 0
    assert (interval(values) or [-1])[0] == 0


def test_an_interval_does_not_jump() -> None:
    """Draws of patients who are all alike count, too."""
    assert interval([0, 0, 0, 0, 0, 0.6]) == pytest.approx(interval([0, 0, 0, 0, 1e-9, 0.6]), abs=1e-6)


def test_patients_are_drawn_and_not_cases() -> None:
    """Ten copies of eight patients' scans hold eight patients' worth of knowledge."""
    values = np.linspace(0.2, 0.8, 8)
    few, many = interval(values), interval(np.repeat(values, 10), np.repeat(range(8), 10))
    assert few == pytest.approx(many)
    alone = interval(np.repeat(values, 10))
    assert few is not None
    assert alone is not None
    assert alone[1] - alone[0] < 0.5 * (few[1] - few[0])


@pytest.mark.parametrize("patients", range(1, 6))
def test_too_few_patients_have_their_values_listed_instead(patients: int) -> None:
    values = [[0.1 * p, 0.1 * p + 0.2] for p in range(patients)]
    found = mean_of(rows(np.ravel(values), np.repeat(range(patients), 2)), "jaccard")
    assert found.interval is None
    assert found.listed == pytest.approx([0.1 * p + 0.1 for p in range(patients)])
    assert (found.cases, found.patients) == (2 * patients, patients)
    assert interval(np.linspace(0, 1, 6)) is not None


def test_patients_count_where_the_metric_is_known() -> None:
    """Of six patients one has the distance: no interval of width 0, and n says so."""
    found = mean_of(rows([3.0, *[None] * 5], name="hd95"), "hd95")
    assert (found.value, found.interval, found.cases, found.patients) == (3.0, None, 1, 1)


def test_no_interval_has_no_width() -> None:
    assert interval([0.2] * 8) is None
    found = share_interval(clusters([(str(i), 0.0) for i in range(53)]))
    assert found == pytest.approx([0, 0.0672], abs=1e-4)


def test_what_may_be_of_any_size_needs_more_patients() -> None:
    values = np.random.default_rng(0).lognormal(size=25)
    assert mean_of(rows(values, name="hd95"), "hd95").interval is not None
    assert mean_of(rows(values[:24], name="hd95"), "hd95").interval is None
    assert mean_of(rows(values[:24] / 100, name="hd95"), "hd95").interval is None  # though it is below 1


@pytest.mark.parametrize("seed", range(40))
def test_a_share_of_one_case_a_patient_is_clopper_and_pearsons(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = draw.random(draw.integers(6, 60)) < draw.random()
    expected = exact(int(values.sum()), len(values))
    assert interval(values) == pytest.approx(expected, abs=1e-12)


def test_a_share_of_alike_cases_counts_patients() -> None:
    """Ten images each of ten patients, all of a patient right or all wrong: ten patients' worth, not a hundred."""
    values = np.repeat([1, 1, 1, 1, 1, 1, 1, 0, 1, 1], 10)
    found = interval(values, np.repeat(range(10), 10))
    assert found is not None
    assert found[0] < beta.ppf(0.025, 9, 2) * 1.15
    assert (
        found[1] - found[0] > 0.8 * (interval(values[::10]) or [0, 1])[1] - 0.8 * (interval(values[::10]) or [0, 1])[0]
    )
    assert interval(np.ones(60), np.repeat(range(6), 10)) == interval(np.ones(6))


def test_the_interval_holds_the_t_interval() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 12)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    found = interval(values)
    assert found is not None
    assert found[0] <= expected.low + 1e-12
    assert found[1] >= expected.high - 1e-12
    assert found[1] - found[0] < 1.35 * (expected.high - expected.low)


@pytest.mark.parametrize("seed", range(20))
def test_p_is_that_of_the_t_test_and_its_adjustment_holms(seed: int) -> None:
    draw = np.random.default_rng(seed)
    first, second = draw.uniform(0, 1, (2, draw.integers(6, 30)))
    found = paired_difference(rows(first), rows(second), "jaccard")
    assert found.p == pytest.approx(ttest_1samp(first - second, 0).pvalue)
    ps = list(draw.uniform(0, 0.2, draw.integers(1, 9)))
    adjusted = holm(ps)
    for level in draw.uniform(0, 1, 20):  # what Holm's procedure rejects, step by step
        rejected: set[int] = set()
        for step, place in enumerate(np.argsort(ps)):
            if ps[place] > level / (len(ps) - step):
                break
            rejected.add(int(place))
        assert rejected == {i for i, p in enumerate(adjusted) if p is not None and p <= level}


def spread(records: Any) -> dict[str, float]:
    values = [r["jaccard"] for r in records]
    return {"jaccard": sum(values) / len(values), "spread": float(np.std(values))}


def test_a_summary_that_is_no_mean_is_made_without_each_patient() -> None:
    samples = rows(np.random.default_rng(0).uniform(0, 1, 30))
    found = intervals(samples, spread)
    assert found["spread"] is not None
    assert found["spread"][0] < spread([s.values for s in samples])["spread"] < found["spread"][1]
    assert found["jaccard"] == mean_of(samples, "jaccard").interval
    assert intervals(samples[:6], spread)["spread"] is not None
    assert intervals(samples[:5], spread) == {"jaccard": None, "spread": None}


@pytest.mark.parametrize(
    ("whole", "without"),
    [(None, [0.5] * 8), (0.5, [0.5] * 5), (0.5, [0.4, None, *[0.5] * 6]), (1.0, [1.0] * 8), (0.5, [0.5] * 8)],
)
def test_no_interval_of_a_summary_that_says_nothing_of_its_spread(whole: Any, without: Any) -> None:
    assert jackknife_interval(whole, without) is None


def test_shares_count_the_patients_whom_they_are_of() -> None:
    """One healthy patient of seven: no interval of the false positive rate, which was 0 [0, 0]."""
    metrics = ClassificationMetrics(2)
    samples = [
        Sample(
            str(i), str(i), {"accuracy": 1.0, "grade": int(i > 0), "decided": int(i > 0), "probabilities": [0.5, 0.5]}
        )
        for i in range(7)
    ]
    found = intervals(samples, metrics.summary, metrics.shares)
    assert (found["fpr"], found["accuracy_0"]) == (None, None)
    assert found["accuracy_1"] == pytest.approx(exact(6, 6))
    assert found["accuracy"] == pytest.approx(exact(7, 7))


def test_pairing_takes_out_what_the_cases_differ_by() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 1, 30)
    found = paired_difference(rows(base - 0.1 + rng.normal(0, 0.01, 30)), rows(base), "jaccard")
    assert found.value == pytest.approx(-0.1, abs=0.01)
    assert found.interval is not None
    assert -0.12 < found.interval[0] < found.interval[1] < -0.08
    assert paired_difference(rows([0.1]), [], "jaccard") == Mean(None, None, 0, 0, [], None)


def test_the_worst_case_is_taken_case_by_case() -> None:
    groups = {"BIM": rows([0.1, 0.9, 0.5]), "PGD": rows([0.3, 0.2, None]), "SMIA": rows([0.1, 0.3, 0.6])}
    mean, by = worst_case(groups, "jaccard")
    assert mean.value == pytest.approx((0.1 + 0.2 + 0.5) / 3)
    assert by == {"0": ["BIM", "SMIA"], "1": ["PGD"], "2": ["BIM"]}
    assert worst_case(groups, "jaccard", lowest=False)[0].value == pytest.approx((0.3 + 0.9 + 0.6) / 3)


def test_values_of_one_patient_alone() -> None:
    assert intervals(rows([0.1, 0.2], ["p", "p"]), means) == {"jaccard": None}
    assert mean_interval(clusters([("a", 0.5)])) is None


def test_undefined_values_are_left_out() -> None:
    values: list[float | None] = [*np.linspace(0.2, 0.8, 7)]
    assert interval([*values, None]) == interval(values)


@pytest.mark.parametrize(("name", "shift"), [("map", 0.0), ("kappa", 0.0), ("other", -1.4)])
def test_the_jackknife_by_hand(name: str, shift: float) -> None:
    """Standard error sqrt((n - 1) / n * sum of squares), on the scale and on its logit; the wider ends."""
    whole, without = 0.6 + shift / 2, [0.55, 0.58, 0.61, 0.60, 0.66, 0.57, 0.63]
    without = [value + shift / 2 for value in without]
    signed = name == "kappa" or shift < 0
    unit = [(value + 1) / 2 if signed else value for value in (whole, *without)]
    n, times, ends = len(without), t_distribution.ppf(0.975, len(without) - 1), []
    for forth, back in ((lambda x: x, lambda x: x), (lambda x: np.log(x / (1 - x)), lambda x: 1 / (1 + np.exp(-x)))):
        values = np.array([forth(value) for value in unit])
        error = np.sqrt((n - 1) / n * ((values[1:] - values[1:].mean()) ** 2).sum())
        ends += [back(values[0] + sign * times * error) for sign in (-1, 1)]
    expected = np.array([min(ends), max(ends)])
    found = jackknife_interval(whole, without, name)
    assert found == pytest.approx(2 * expected - 1 if signed else expected, rel=1e-9)


@pytest.mark.parametrize("other", [100.0, -90.0])
def test_no_interval_of_values_of_any_size_that_are_alike_but_for_one(other: float) -> None:
    """A third of the draws misses that one: they have no spread, on whichever side it lies."""
    values = Clusters.of((str(i), 5.0 if i else other) for i in range(30))
    assert mean_interval(values, "hd95") is None
    assert (
        mean_interval(Clusters.of((str(i), i % 5 + (other if not i else 0.0)) for i in range(30)), "hd95") is not None
    )
