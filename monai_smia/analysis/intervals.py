"""Confidence intervals of 95 % from the values of patients, who may have several cases each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from monai_smia.records.summary import Interval

LEVEL = 0.95
SAMPLES = 2000  # bootstrap draws
MIN_PATIENTS = 6  # below, values are listed instead
MIN_PATIENTS_UNBOUNDED = 25  # of distances, whose tails a few patients do not show
UNBOUNDED = ("hd95", "linf", "l2", "psnr", "invented", "volume", "false_lesions")  # beginnings of names
SIGNED = ("cos_mean", "added")  # beginnings of names that may be below 0 though none of the values is
NO_INTERVAL = ("cv_", "ece")  # of few cases these are biased, and no interval is known to cover
TINY = 1e-12
FAR = 1e6  # standard errors: a draw whose patients are all alike
TAIL = (1 - LEVEL) / 2


@dataclass(frozen=True)
class Clusters:
    """Values by patient.

    Args:
        sums: of every patient's values.
        counts: how many they are.
        low: the lowest value of all.
        high: the highest.
        is_share: whether every value is 0 or 1.

    Example:
        >>> Clusters.of([("a", 0.2), ("a", 0.4), ("b", 0.9)]).means()
        [0.3, 0.9]
    """

    sums: np.ndarray
    counts: np.ndarray
    low: float
    high: float
    is_share: bool

    @classmethod
    def of(cls, values: Iterable[tuple[str, float]]) -> Clusters | None:
        """From pairs of patient and value; None of nothing."""
        pairs = list(values)
        if not pairs:
            return None
        order = {patient: i for i, patient in enumerate(dict.fromkeys(patient for patient, _ in pairs))}
        index, known = np.array([order[patient] for patient, _ in pairs]), np.array([float(v) for _, v in pairs])
        sums, counts = np.bincount(index, known), np.bincount(index).astype(float)
        return cls(sums, counts, float(known.min()), float(known.max()), bool(np.isin(known, (0, 1)).all()))

    @property
    def patients(self) -> int:
        """How many patients there are."""
        return len(self.sums)

    @property
    def cases(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Over all values."""
        return float(self.sums.sum() / self.counts.sum())

    def means(self) -> list[float]:
        """Of every patient."""
        return [round(float(value), 12) for value in self.sums / self.counts]

    def error(self) -> float:
        """Standard error of the mean, a ratio of two sums over patients."""
        rest = self.sums - self.mean * self.counts
        patients = self.patients
        return float(np.sqrt(patients / (patients - 1) * (rest**2).sum()) / self.counts.sum())

    def p_of_zero(self) -> float | None:
        """P value of a mean of 0 by the t statistic; None below `MIN_PATIENTS`."""
        if self.patients < MIN_PATIENTS:
            return None
        error = self.error()
        if error < TINY:
            return 1.0 if abs(self.mean) < TINY else None
        return float(2 * stats.t.sf(abs(self.mean) / error, self.patients - 1))


def mean_interval(clusters: Clusters, name: str = "", seed: int = 0, *, signed: bool = False) -> Interval:
    """Interval of a mean: from the lower end of the t interval and the studentized bootstrap's to the higher one.

    The t interval of patients is right for normal values and too short for skewed ones, of which the bootstrap's ends
    lie farther out on the side of the tail.

    Args:
        clusters: values by patient.
        name: of the value; what may be of any size needs `MIN_PATIENTS_UNBOUNDED`.
        seed: of the draws.
        signed: whether it may be below 0, as a difference may, though none of the values is.

    Returns:
        None of too few patients, where all are alike, or where nearly all are and values may be of any size.
    """
    bounded = clusters.low >= -1 and clusters.high <= 1 and not name.startswith(UNBOUNDED)
    if clusters.patients < (MIN_PATIENTS if bounded else MIN_PATIENTS_UNBOUNDED):
        return None
    mean, error = clusters.mean, clusters.error()
    if error < TINY:
        return None
    t = stats.t.ppf(1 - TAIL, clusters.patients - 1)
    low, high = np.percentile(_studentized(clusters, seed), [100 * TAIL, 100 * (1 - TAIL)])
    ends = mean - max(t, high) * error, mean - min(-t, low) * error
    if not bounded:
        return [float(end) for end in ends] if low > -FAR and high < FAR else None
    signed = signed or clusters.low < 0 or name.startswith(SIGNED)
    return [float(max(ends[0], -1.0 if signed else 0.0)), float(min(ends[1], 1.0))]


def _studentized(clusters: Clusters, seed: int) -> np.ndarray:
    """Bootstrap draws of patients: how many standard errors their mean lies from the mean, at most `FAR`."""
    patients, s, n = clusters.patients, clusters.sums, clusters.counts
    drawn = _drawn(patients, seed)
    counts = drawn @ n
    means = (drawn @ s) / counts
    squares = drawn @ s**2 - 2 * means * (drawn @ (s * n)) + means**2 * (drawn @ n**2)
    errors = np.sqrt(patients / (patients - 1) * squares.clip(0)) / counts
    return np.asarray(((means - clusters.mean) / errors.clip(TINY)).clip(-FAR, FAR))


@lru_cache(maxsize=2)  # one report draws the same patients for every value
def _drawn(patients: int, seed: int) -> np.ndarray:
    """How often each patient is in each bootstrap draw ``(SAMPLES, patients)``."""
    drawn = np.random.default_rng(seed).multinomial(patients, [1 / patients] * patients, SAMPLES)
    return drawn.astype(float)


def share_interval(clusters: Clusters) -> Interval:
    """Interval of a share of cases: Clopper and Pearson's, of as many cases as their likeness within patients leaves.

    After Korn and Graubard (1998): the share's variance by patient says of how many independent cases it is. Where all
    cases are alike, which says nothing of that, every patient counts once. With one case a patient it is exact.

    Args:
        clusters: values 0 or 1 by patient.

    Returns:
        None of fewer than `MIN_PATIENTS` patients.

    Example:
        >>> [round(end, 3) for end in share_interval(Clusters.of((str(i), 0.0) for i in range(53)))]
        [0.0, 0.067]
    """
    patients, cases, share = clusters.patients, clusters.cases, clusters.mean
    if patients < MIN_PATIENTS:
        return None
    worth = float(patients)
    if cases > patients and 0 < share < 1 and (error := clusters.error()) > TINY:
        of_t = stats.t.ppf(1 - TAIL, cases - 1) / stats.t.ppf(1 - TAIL, patients - 1)
        worth = min(float(cases), share * (1 - share) / error**2 * of_t**2)
    count = share * worth
    low = stats.beta.ppf(TAIL, count, worth - count + 1) if count > 0 else 0.0
    high = stats.beta.ppf(1 - TAIL, count + 1, worth - count) if count < worth else 1.0
    return [float(low), float(high)]


def jackknife_interval(whole: float | None, without: Sequence[float | None], name: str = "") -> Interval:
    """Interval of a summary that is no mean of cases (kappa, AUC, average precision), without each patient in turn.

    The t interval of the jackknife, on the scale itself and on the logit of values within 0 and 1 (Fisher's z of those
    within -1 and 1): the wider ends of both.

    Args:
        whole: the summary of all cases.
        without: that without each patient.
        name: of the summary; what may be of any size has none.

    Returns:
        None of too few patients, where a summary is not known, at an end of its scale, or where all are alike.
    """
    if whole is None or len(without) < MIN_PATIENTS or any(value is None for value in without):
        return None
    values = np.array([whole, *without], dtype=float)
    scale = (values + 1) / 2 if values.min() < 0 or name.startswith("kappa") else values
    if scale.min() <= 0 or scale.max() >= 1:
        return None
    t = stats.t.ppf(1 - TAIL, len(without) - 1)
    ends = []
    for forth, back in ((lambda x: x, lambda x: x), (_logit, _expit)):
        turned = forth(scale)
        spread = turned[1:] - turned[1:].mean()
        error = np.sqrt((len(without) - 1) / len(without) * (spread**2).sum())
        if error < TINY:
            return None
        ends += [back(turned[0] - t * error), back(turned[0] + t * error)]
    found = np.clip([min(ends), max(ends)], 0, 1)
    return [float(v) for v in (found if scale is values else 2 * found - 1)]


def _logit(x: np.ndarray) -> np.ndarray:
    return np.log(x) - np.log1p(-x)


def _expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
