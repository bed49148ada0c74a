from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from monai_smia.analysis.statistics import Sample, intervals
from monai_smia.metrics import ClassificationMetrics, calibration_error, quadratic_weighted_kappa, wilson_interval
from monai_smia.victims import ClassificationVictim
from monai_smia.victims.outputs import output_of

NO_IMAGE = torch.zeros(1)


def records(count: int = 60, classes: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, classes, (count,), generator=generator)
    near = (truth + torch.randint(-1, 2, (count,), generator=generator)).clamp(0, classes - 1)
    probabilities = torch.rand(count, classes, generator=generator).softmax(1)
    rows = zip(truth.tolist(), near.tolist(), probabilities.tolist(), strict=True)
    return [{"grade": y, "decided": d, "probabilities": p} for y, d, p in rows]


def test_against_scikit_learn() -> None:
    peer = pytest.importorskip("sklearn.metrics", reason="parity needs scikit-learn: pip install scikit-learn")
    rows = records()
    truth, decided = ([row[name] for row in rows] for name in ("grade", "decided"))
    probabilities = torch.tensor([row["probabilities"] for row in rows], dtype=torch.float64)
    probabilities = probabilities / probabilities.sum(1, keepdim=True)
    summary = ClassificationMetrics(5).summary(rows)
    assert summary["accuracy"] == pytest.approx(peer.accuracy_score(truth, decided))
    assert summary["kappa"] == pytest.approx(peer.cohen_kappa_score(truth, decided, weights="quadratic"))
    area = peer.roc_auc_score(truth, probabilities.numpy(), multi_class="ovr", average="macro")
    assert summary["auc"] == pytest.approx(area, abs=1e-6)
    counts = peer.confusion_matrix(truth, decided)
    for k in range(5):
        assert summary[f"accuracy_{k}"] == pytest.approx(counts[k, k] / counts[k].sum())
    others = counts.sum() - counts.sum(1)
    rates = (counts.sum(0) - counts.diagonal()) / others
    assert summary["fpr_macro"] == pytest.approx(rates.mean())
    assert summary["fpr"] == pytest.approx(1 - counts[0, 0] / counts[0].sum())


def test_wilson_interval_of_published_figures() -> None:
    """Newcombe (1998), Table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    published = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0.0, 0.1611)}
    for (successes, count), bounds in {**published, (1, 29): (0.0061, 0.1718)}.items():
        assert wilson_interval(successes, count) == pytest.approx(bounds, abs=5e-5)
    assert wilson_interval(0, 0) == (None, None)
    assert wilson_interval(20, 20)[1] == 1


def test_wilson_interval_is_where_the_score_test_turns() -> None:
    """At its ends the share lies z standard deviations of that end's own binomial away."""
    for confidence, z in ((0.95, 1.959964), (0.9, 1.644854)):
        for bound in wilson_interval(30, 50, confidence):
            assert bound is not None
            assert abs(30 / 50 - bound) / (bound * (1 - bound) / 50) ** 0.5 == pytest.approx(z, rel=1e-6)


def test_kappa_by_hand() -> None:
    assert quadratic_weighted_kappa([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], 5) == 1
    assert quadratic_weighted_kappa([0, 4], [4, 0], 5) == -1
    assert quadratic_weighted_kappa([0, 0, 4, 4], [0, 4, 0, 4], 5) == 0
    assert quadratic_weighted_kappa([2, 2], [2, 2], 5) is None


def test_a_class_absent_from_the_data() -> None:
    rows = [row for row in records() if row["grade"] != 1]
    summary = ClassificationMetrics(5).summary(rows)
    assert summary["accuracy_1"] is None
    assert summary["auc"] is not None
    assert summary["kappa"] is not None
    ill = ClassificationMetrics(5).summary([row for row in rows if row["grade"] > 0])
    assert ill["fpr"] is None
    single = ClassificationMetrics(5).summary([row for row in rows if row["grade"] == 2])
    assert single["auc"] is None


@pytest.mark.parametrize(
    ("activation", "logits", "probabilities", "decided"),
    [
        ("softmax", [[0.0, 2.0, 1.0]], [0.09003, 0.66524, 0.24473], 1),
        ("ordinal", [[2.0, -1.0]], [0.11920, 0.61186, 0.26894], 1),
        ("sigmoid", [[1.0]], [0.26894, 0.73106], 1),
    ],
)
def test_case(activation: str, logits: Any, probabilities: list[float], decided: int) -> None:
    victim = ClassificationVictim(nn.Identity(), activation=activation)
    metrics = ClassificationMetrics(len(probabilities))
    values = metrics.case(victim, torch.tensor(logits), torch.tensor([1]), torch.zeros(1, 3, 4, 4))
    assert values["probabilities"] == pytest.approx(probabilities, abs=1e-4)
    assert (values["grade"], values["decided"]) == (1, decided)


def test_too_few_classes() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        ClassificationMetrics(1)


class TestSaturated:
    """Probabilities of attacked networks are all 1 in float32, log-odds are not."""

    def rows(
        self, victim: ClassificationVictim, logits: list[list[float]], truth: list[Any]
    ) -> dict[str, float | None]:
        metrics = ClassificationMetrics(len(logits[0]) if len(logits[0]) > 1 else 2)
        labels = [torch.tensor([y]) for y in truth]
        pairs = zip(torch.tensor(logits).float().split(1), labels, strict=True)
        cases = [metrics.case(victim, z, y, NO_IMAGE) for z, y in pairs]
        return metrics.summary(json.loads(json.dumps(cases)))

    def test_softmax(self) -> None:
        victim = ClassificationVictim(nn.Identity())
        assert self.rows(victim, [[0, 18], [0, 25]], [0, 1])["auc"] == 1
        assert self.rows(victim, [[0, 18], [0, 25]], [1, 0])["auc"] == 0
        assert self.rows(victim, [[0, 18], [0, 18]], [0, 1])["auc"] == 0.5
        assert self.rows(victim, [[0, 18, -40], [0, 25, -50], [0, 30, -60]], [0, 1, 2])["auc"] == pytest.approx(0.5)

    def test_a_single_logit(self) -> None:
        victim = ClassificationVictim(nn.Identity(), activation="sigmoid")
        assert self.rows(victim, [[18.0], [25.0]], [0, 1])["auc"] == 1
        assert self.rows(victim, [[18.0], [25.0]], [1, 0])["auc"] == 0

    def test_grades(self) -> None:
        victim, metrics = ClassificationVictim(nn.Identity(), activation="ordinal"), ClassificationMetrics(3)
        logits, truth = [[40.0, 30.0], [50.0, 45.0], [60.0, 20.0]], [1, 2, 0]
        cases = [
            metrics.case(victim, torch.tensor([z]), torch.tensor([y]), NO_IMAGE)
            for z, y in zip(logits, truth, strict=True)
        ]
        assert [case["log_odds"].index(max(case["log_odds"])) for case in cases] == [2, 2, 2]
        assert metrics.summary(cases)["auc"] == pytest.approx((0 + 0.5 + 1) / 3)

    @pytest.mark.parametrize("activation", ["softmax", "sigmoid", "ordinal"])
    def test_log_odds_are_those_of_the_probabilities(self, activation: str) -> None:
        output = output_of(activation)
        logits = 3 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        torch.testing.assert_close(output.log_odds(logits), output.probabilities(logits).logit(), rtol=1e-7, atol=1e-9)
        assert bool(output.log_odds(torch.full((1, 4), 1000.0)).isfinite().all())
        assert bool(output.log_odds(torch.tensor([[1000.0, -1000.0, 3.0, 3.0]])).isfinite().all())


class TestSeveralLabels:
    """All of them are scored, not the first alone."""

    VICTIM = ClassificationVictim(nn.Identity(), activation="sigmoid", ignore_index=-1)

    def case(self, logits: list[float], truth: list[int]) -> dict[str, Any]:
        return ClassificationMetrics(len(truth)).case(
            self.VICTIM, torch.tensor([logits]), torch.tensor([truth]), NO_IMAGE
        )

    def test_the_smallest_input_of_the_entry(self) -> None:
        record = self.case([-1.0, -2.0], [0, 1])
        damage = self.VICTIM.damage(torch.tensor([[-1.0, -2.0]]), torch.tensor([[0, 1]]))
        assert record["accuracy"] == 1 - float(damage) == 0.5
        assert (record["grade"], record["decided"]) == ([0, 1], [0, 0])
        assert record["log_odds"] == [-1, -2]
        assert json.loads(json.dumps(record)) == record

    def test_ignored_ones_count_nowhere(self) -> None:
        record = self.case([3.0, 5.0, -1.0], [1, -1, 1])
        assert (record["accuracy"], record["grade"]) == (0.5, [1, None, 1])
        loss = ClassificationVictim(nn.Identity(), activation="sigmoid", ignore_index=255, loss="margin").loss
        assert float(loss(torch.tensor([[3.0, 5.0]]), torch.tensor([[1, 255]]))) == -3  # it was 5

    def test_summary_by_hand(self) -> None:
        cases = [
            self.case([1.0, -1.0], [1, 0]),
            self.case([-2.0, 2.0], [0, 0]),
            self.case([-1.0, -3.0], [1, 1]),
            self.case([-3.0, 1.0], [0, -1]),
            self.case([-3.0, -1.0], [0, 0]),
        ]
        summary = ClassificationMetrics(2).summary(cases)
        assert summary["accuracy"] == pytest.approx((1 + 0.5 + 0 + 1 + 1) / 5)
        assert summary["accuracy_0"] == 0.8
        assert summary["accuracy_1"] == 0.5
        assert summary["auc"] == pytest.approx((1 + 0) / 2)
        assert summary["fpr"] == pytest.approx(1 / 3)  # of three without any label one is decided to have one
        assert summary["fpr_macro"] == pytest.approx((0 + 1 / 3) / 2)
        assert summary["kappa"] is summary["accuracy_low"] is summary["accuracy_high"] is None

    def test_accuracy_is_one_minus_damage(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for _ in range(300):
            count = int(torch.randint(2, 6, (1,), generator=generator))
            logits = torch.randn(1, count, generator=generator)
            truth = torch.randint(-1, 2, (1, count), generator=generator)
            truth[0, 0] = 1
            record = ClassificationMetrics(count).case(self.VICTIM, logits, truth, NO_IMAGE)
            assert record["accuracy"] == pytest.approx(1 - float(self.VICTIM.damage(logits, truth)))


def test_other_classes_than_the_victims_are_an_error() -> None:
    with pytest.raises(ValueError, match="num_classes must be the victim's, 3, got 4"):
        ClassificationMetrics(4).case(
            ClassificationVictim(nn.Identity()), torch.zeros(1, 3), torch.tensor([0]), NO_IMAGE
        )
    with pytest.raises(ValueError, match="whole numbers from 0 to 2, got values from 3 to 3"):
        ClassificationMetrics(3).case(
            ClassificationVictim(nn.Identity()), torch.zeros(1, 3), torch.tensor([3]), NO_IMAGE
        )


@pytest.mark.parametrize("count", range(1, 200))
def test_wilson_interval_is_closed_at_its_ends(count: int) -> None:
    """0 of 7 began at -3.6e-17, printed as -0.000."""
    low, high = wilson_interval(0, count)
    assert (low, math.copysign(1, low or 0.0)) == (0, 1)
    assert high is not None
    assert 0 < high < 1
    assert wilson_interval(count, count)[1] == 1


class TestCalibration:
    """How sure a network is, against how often it is right."""

    def test_by_hand(self) -> None:
        assert calibration_error([0.95] * 20, [True] * 19 + [False]) == pytest.approx(0)  # sure, and right as often
        assert calibration_error([1.0, 1.0], [False, False]) == 1
        assert calibration_error([0.0], [False]) == 0
        assert calibration_error([0.51, 0.99], [True, False]) == pytest.approx((0.49 + 0.99) / 2)

    def test_undefined_and_unknown(self) -> None:
        assert calibration_error([], []) is None
        assert calibration_error([math.nan], [True]) is None
        assert calibration_error([math.nan, 0.75], [False, True]) == pytest.approx(0.25)
        assert ClassificationMetrics(2).summary([])["ece"] is None
        row = {"accuracy": 1.0, "grade": 0, "decided": 0, "probabilities": [None, None], "log_odds": [1.0, -1.0]}
        assert ClassificationMetrics(2).summary([row])["ece"] is None

    def test_one_class_alone(self) -> None:
        row = {"accuracy": 1.0, "grade": 1, "decided": 1, "probabilities": [0.25, 0.75], "log_odds": [-1.0, 1.0]}
        assert ClassificationMetrics(2).summary([row] * 5)["ece"] == pytest.approx(0.25)

    @pytest.mark.parametrize("value", [-0.1, 1.1])
    def test_what_is_no_probability_is_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match=r"confidences must lie in \[0, 1\], got values from"):
            calibration_error([value, 0.5], [True, True])

    def test_it_has_no_interval(self) -> None:
        """It is too high of few cases, and no interval is known to cover."""
        rng = np.random.default_rng(0)
        samples = []
        for number in range(30):
            p = float(rng.uniform(0.5, 1))
            values = {"accuracy": float(rng.random() < p), "grade": 0, "probabilities": [p, 1 - p]}
            values |= {"decided": 0 if values["accuracy"] else 1, "log_odds": [1.0, -1.0]}
            samples.append(Sample(str(number), str(number), values))
        found = intervals(samples, ClassificationMetrics(2).summary, ClassificationMetrics(2).shares)
        assert "ece" not in found
        assert found["accuracy"] is not None
