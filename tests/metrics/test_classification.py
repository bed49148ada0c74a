from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from monai_smia.metrics import ClassificationMetrics, quadratic_weighted_kappa, wilson_interval
from monai_smia.victims import ClassificationVictim


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
    present = [ClassificationMetrics(5)._auc(rows, [row["grade"] for row in rows])]
    assert present[0] == summary["auc"] is not None
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
