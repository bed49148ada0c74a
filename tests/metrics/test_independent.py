"""Metrics and losses against independent libraries, on hundreds of drawn inputs with the edge cases among them."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monai_smia.metrics import (
    ClassificationMetrics,
    SegmentationMetrics,
    calibration_error,
    quadratic_weighted_kappa,
    wilson_interval,
)
from monai_smia.victims import ClassificationVictim, SegmentationVictim

SEEDS = range(150)
NO_IMAGE = torch.zeros(1)


def sklearn() -> Any:
    return pytest.importorskip("sklearn.metrics", reason="needs scikit-learn: the reference for classification")


def simpleitk() -> Any:
    return pytest.importorskip("SimpleITK", reason="needs SimpleITK: the reference for overlaps and distances")


def masks(seed: int) -> tuple[Tensor, Tensor, tuple[float, ...]]:
    """Two label maps ``(1, 1, *spatial)`` of up to three classes, 2-D or 3-D: blobs, empty, the same, one voxel."""
    rng = np.random.default_rng(seed)
    shape = (13, 17) if seed % 2 else (7, 9, 11)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)

    def drawn() -> np.ndarray:
        image = np.zeros(shape, dtype=np.int64)
        for number in range(1, int(rng.integers(1, 4))):
            center, radius = rng.uniform(0, shape), rng.uniform(0.5, 4)
            image[np.linalg.norm(grid - center, axis=-1) < radius] = number
        return image

    decision, label = drawn(), drawn()
    kind = seed % 15
    if kind == 0:
        decision = label.copy()
    elif kind == 1:
        decision[:] = 0
    elif kind == 2:
        label[:] = 0
    elif kind == 3:
        decision[:], label[:] = 0, 0
    elif kind == 4:
        label[:] = 0
        label[tuple(n // 2 for n in shape)] = 1
    spacing = tuple(float(s) for s in rng.uniform(0.4, 3, len(shape)))
    return *(torch.as_tensor(value)[None, None] for value in (decision, label)), spacing


@pytest.mark.parametrize("seed", SEEDS)
class TestSegmentation:
    def test_overlaps_are_those_of_scikit_learn(self, seed: int) -> None:
        decision, label, spacing = masks(seed)
        values = SegmentationMetrics(4)(decision, label, spacing)
        flat, truth = decision.flatten().numpy(), label.flatten().numpy()
        held = sorted((set(flat) | set(truth)) - {0})
        for name, score in (("jaccard", sklearn().jaccard_score), ("dice", sklearn().f1_score)):
            expected = score(truth, flat, labels=held, average="macro", zero_division=0) if held else 1.0
            assert float(values[name]) == pytest.approx(expected, abs=1e-12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that the decision alone holds
            assert float(values["accuracy"]) == pytest.approx(sklearn().balanced_accuracy_score(truth, flat), abs=1e-12)

    def test_dice_and_jaccard_are_those_of_simpleitk(self, seed: int) -> None:
        sitk = simpleitk()
        decision, label, spacing = masks(seed)
        values = SegmentationMetrics(4)(decision, label, spacing)
        overlap: dict[str, list[float]] = {"jaccard": [], "dice": []}
        for number in (1, 2, 3):
            pair = [(value[0, 0] == number).numpy() for value in (decision, label)]
            if pair[0].any() or pair[1].any():
                measure = sitk.LabelOverlapMeasuresImageFilter()
                measure.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in pair))
                overlap["jaccard"].append(measure.GetJaccardCoefficient())
                overlap["dice"].append(measure.GetDiceCoefficient())
        for name, found in overlap.items():
            assert float(values[name]) == pytest.approx(float(np.mean(found)) if found else 1.0, abs=1e-6)

    def test_the_largest_distance_is_that_of_simpleitk(self, seed: int) -> None:
        """Its Hausdorff filter takes all voxels: so do we where the percentile is 100 and a mask is its own surface."""
        sitk = simpleitk()
        decision, label, spacing = masks(seed)
        distances = []
        for number in (1, 2, 3):
            pair = [(value[0, 0] == number).numpy() for value in (decision, label)]
            if pair[0].any() and pair[1].any():
                images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in pair]
                for image in images:
                    image.SetSpacing(spacing[::-1])  # it counts axes from the last
                measure = sitk.HausdorffDistanceImageFilter()
                measure.Execute(*images)
                distances.append(measure.GetHausdorffDistance())
            elif pair[0].any() or pair[1].any():
                distances.append(math.hypot(*(n * s for n, s in zip(label.shape[2:], spacing, strict=True))))
        got = float(SegmentationMetrics(4)(decision, label, spacing)["hd95"])
        if not distances:
            assert math.isnan(got)
        else:  # of surfaces the 95th percentile is no larger than the largest of all voxels
            assert got <= np.mean(distances) + 1e-5

    def test_the_95th_percentile_is_that_of_distance_maps(self, seed: int) -> None:
        """SimpleITK's signed maps at its contours, the percentile by NumPy: of masks that do not touch the edge."""
        sitk = simpleitk()
        decision, label, spacing = masks(seed)
        inner = tuple(slice(1, -1) for _ in spacing)
        for value in (decision, label):
            edge = torch.ones_like(value, dtype=torch.bool)
            edge[(..., *inner)] = False
            value[edge] = 0
        expected = []
        for number in (1, 2, 3):
            pair = [(value[0, 0] == number).numpy() for value in (decision, label)]
            if not (pair[0].any() and pair[1].any()):
                if pair[0].any() or pair[1].any():
                    expected.append(math.hypot(*(n * s for n, s in zip(label.shape[2:], spacing, strict=True))))
                continue
            surfaces = []
            for mask in pair:
                image = sitk.GetImageFromArray(mask.astype(np.uint8))
                image.SetSpacing(spacing[::-1])
                surfaces.append(sitk.LabelContour(image, fullyConnected=False))
            sides = []
            for ours, theirs in (surfaces, surfaces[::-1]):
                far = sitk.SignedMaurerDistanceMap(
                    theirs, squaredDistance=False, useImageSpacing=True, insideIsPositive=False
                )
                at = np.abs(sitk.GetArrayFromImage(far))[sitk.GetArrayFromImage(ours) > 0]
                sides.append(np.percentile(at, 95))
            expected.append(max(sides))
        got = float(SegmentationMetrics(4)(decision, label, spacing)["hd95"])
        assert math.isnan(got) if not expected else got == pytest.approx(float(np.mean(expected)), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
class TestClassification:
    def rows(self, seed: int, count: int = 40) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
        """Records of 2 to 5 classes: saturated logits, ties, classes that are absent or alone."""
        generator = torch.Generator().manual_seed(seed)
        classes = 2 + seed % 4
        truth = torch.randint(0, classes, (count,), generator=generator)
        if seed % 5 == 1:
            truth[truth == classes - 1] = 0
        logits = torch.randn(count, classes, generator=generator)
        logits[torch.arange(count), truth] += 1
        if seed % 3 == 1:
            logits = logits * 20 + 30  # saturated in float32
        elif seed % 3 == 2:
            logits = logits.round()  # ties
        victim, metrics = ClassificationVictim(nn.Identity()), ClassificationMetrics(classes)
        records = [metrics.case(victim, z, y, NO_IMAGE) for z, y in zip(logits.split(1), truth.split(1), strict=True)]
        return records, truth.numpy(), logits.double().numpy()

    def test_against_scikit_learn(self, seed: int) -> None:
        records, truth, logits = self.rows(seed)
        classes = logits.shape[1]
        decided = logits.argmax(1)
        summary = ClassificationMetrics(classes).summary(records)
        assert summary["accuracy"] == pytest.approx(sklearn().accuracy_score(truth, decided))
        kappa = sklearn().cohen_kappa_score(truth, decided, weights="quadratic", labels=range(classes))
        assert summary["kappa"] == pytest.approx(kappa)
        areas, rates = [], []
        for k in range(classes):
            others = np.sort(np.delete(logits, k, 1))[:, ::-1]
            score = (logits[:, k] - others[:, 0]) - np.log(np.exp(others - others[:, :1]).sum(1))
            if 0 < (truth == k).sum() < len(truth):
                areas.append(sklearn().roc_auc_score(truth == k, score))
            if (truth != k).any():
                rates.append((decided[truth != k] == k).mean())
        assert summary["auc"] == (pytest.approx(np.mean(areas), abs=1e-12) if areas else None)
        assert summary["fpr_macro"] == pytest.approx(np.mean(rates))
        if (truth == 0).any():
            assert summary["fpr"] == pytest.approx(
                1 - sklearn().recall_score(truth, decided, labels=[0], average="macro")
            )

    def test_calibration_by_its_definition(self, seed: int) -> None:
        """Bin by bin; confidences at the ends of bins among them."""
        records, truth, logits = self.rows(seed)
        classes = logits.shape[1]
        for number, record in enumerate(records):
            if number % 4 == seed % 4:
                p = (seed + number) % 16 / 15
                record["probabilities"] = [
                    p if k == record["decided"] else (1 - p) / (classes - 1) for k in range(classes)
                ]
        sure = np.array([record["probabilities"][record["decided"]] for record in records])
        right = np.array([record["decided"] for record in records]) == truth
        expected = 0.0
        for number in range(15):
            inside = (sure > number / 15) & (sure <= (number + 1) / 15) | ((number == 0) & (sure == 0))
            if inside.any():
                expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
        assert ClassificationMetrics(classes).summary(records)["ece"] == pytest.approx(expected, abs=1e-9)
        assert ClassificationMetrics(classes, calibration=False).summary(records)["ece"] is None

    def test_several_labels_against_scikit_learn(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        labels = 2 + seed % 3
        truth = torch.randint(0, 2, (30, labels), generator=generator)
        logits = torch.randn(30, labels, generator=generator) * (30 if seed % 2 else 1) + truth
        victim, metrics = ClassificationVictim(nn.Identity(), activation="sigmoid"), ClassificationMetrics(labels)
        records = [metrics.case(victim, z, y, NO_IMAGE) for z, y in zip(logits.split(1), truth.split(1), strict=True)]
        summary = metrics.summary(records)
        decided = (logits > 0).numpy()
        sure, right = logits.sigmoid().sub(0.5).abs().add(0.5).flatten(), (decided == truth.numpy()).flatten()
        assert summary["ece"] == pytest.approx(calibration_error(sure.tolist(), right.tolist()), abs=1e-6)
        assert summary["accuracy"] == pytest.approx(1 - sklearn().hamming_loss(truth.numpy(), decided))
        assert summary["auc"] == pytest.approx(sklearn().roc_auc_score(truth.numpy(), logits.numpy(), average="macro"))
        for k in range(labels):
            assert summary[f"accuracy_{k}"] == pytest.approx(sklearn().accuracy_score(truth[:, k], decided[:, k]))

    def test_kappa_of_few_cases(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        classes = int(rng.integers(2, 5))
        truth, decided = rng.integers(0, classes, (2, 3))
        ours = quadratic_weighted_kappa(truth.tolist(), decided.tolist(), classes)
        if len(set(truth) | set(decided)) == 1:
            assert ours is None
        else:
            peer = sklearn().cohen_kappa_score(truth, decided, weights="quadratic", labels=range(classes))
            assert ours == pytest.approx(peer)


def test_wilson_intervals_are_those_of_statsmodels() -> None:
    peer = pytest.importorskip("statsmodels.stats.proportion", reason="needs statsmodels: the reference for intervals")
    for count in range(1, 30):
        for successes in range(count + 1):
            expected = peer.proportion_confint(successes, count, method="wilson")
            assert wilson_interval(successes, count) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(100))
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_losses_are_those_of_scikit_learn(activation: str, seed: int) -> None:
    """Cross entropy by `log_loss`, of the voxels that count; logits of float64, some of them extreme."""
    generator = torch.Generator().manual_seed(seed)
    softmax = activation == "softmax"
    logits = torch.randn(1, 3, 5, 4, generator=generator, dtype=torch.float64) * (8 if seed % 2 else 1)
    label = torch.randint(0, 3 if softmax else 2, (1, 1 if softmax else 3, 5, 4), generator=generator)
    label[torch.rand(label.shape, generator=generator) < 0.3 * (seed % 3 > 0)] = 255
    counted = (label != 255).flatten().numpy()
    got = float(SegmentationVictim(nn.Identity(), activation=activation, ignore_index=255).loss(logits, label))
    truth = label.flatten().numpy()[counted]
    if softmax:
        probabilities = logits.softmax(1)[0].flatten(1).T.numpy()[counted]
        expected = sklearn().log_loss(truth, probabilities, labels=[0, 1, 2], normalize=False)
    else:
        expected = sklearn().log_loss(
            truth, logits.sigmoid().flatten().numpy()[counted], labels=[0, 1], normalize=False
        )
    assert got == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("loss", ["balanced_cross_entropy", "soft_jaccard", "jensen_shannon", "masked_cross_entropy"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("ignored", [None, 255])
def test_losses_of_float64_are_exact(loss: str, activation: str, ignored: int | None) -> None:
    """No weight is rounded to float32 on the way."""
    generator = torch.Generator().manual_seed(0)
    channels, classes = (1, 3) if activation == "softmax" else (3, 2)
    logits = torch.randn(1, 3, 7, 3, generator=generator, dtype=torch.float64)
    label = torch.randint(0, classes, (1, channels, 7, 3), generator=generator)
    if ignored is not None:
        label[:, 0, :5, 0] = ignored
    victim = SegmentationVictim(nn.Identity(), activation=activation, loss=loss, ignore_index=ignored)
    value = victim.loss(logits, label)
    assert value.dtype == torch.float64
    # with shares that float32 does not hold: three copies of the image have three times the loss, to the last bits
    thrice = victim.loss(torch.cat([logits] * 3, 2), torch.cat([label] * 3, 2))
    torch.testing.assert_close(thrice, 3 * value, rtol=1e-14, atol=0)
    assert torch.autograd.gradcheck(lambda z: victim.loss(z, label), (logits.requires_grad_(True),), atol=1e-7)
