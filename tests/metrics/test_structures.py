"""Metrics of single structures against independent libraries, on drawn inputs with the edge cases among them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from metrics.test_independent import masks, simpleitk, sklearn
from monai.data import MetaTensor
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from monai.networks.utils import one_hot
from scipy.ndimage import binary_erosion
from scipy.stats import variation
from torch import Tensor, nn

from monai_smia.metrics import SegmentationMetrics, channel_names
from monai_smia.metrics.lesions import lesion_counts
from monai_smia.metrics.surfaces import edge
from monai_smia.victims import SegmentationVictim

SEEDS = range(150)
NAMES = ["background", "left lung", "right_lung", "lung"]


def scores(seed: int, tolerance: float = 2.0) -> tuple[dict[str, float], Tensor, Tensor, tuple[float, ...]]:
    decision, label, spacing = masks(seed)
    values = SegmentationMetrics(4, class_names=NAMES, tolerance=tolerance)(decision, label, spacing)
    return {name: float(value) for name, value in values.items()}, decision, label, spacing


@pytest.mark.parametrize("seed", SEEDS)
class TestOfEveryClass:
    def test_overlap_is_that_of_scikit_learn(self, seed: int) -> None:
        values, decision, label, _ = scores(seed)
        flat, truth = decision.flatten().numpy(), label.flatten().numpy()
        true = np.array([(truth == number).any() for number in (1, 2, 3)])
        held = true | [(flat == number).any() for number in (1, 2, 3)]
        expected = {"jaccard": (sklearn().jaccard_score, held), "dice": (sklearn().f1_score, held)}
        expected["accuracy"] = (sklearn().recall_score, true)
        for name, (score, defined) in expected.items():
            found = score(truth, flat, labels=[1, 2, 3], average=None, zero_division=0.0)
            of_classes = np.where(defined, found, np.nan)
            assert [values[f"{name}_{each}"] for each in NAMES[1:]] == pytest.approx(of_classes, nan_ok=True, abs=1e-12)
        for number, name in enumerate(NAMES[1:], 1):
            assert values[f"volume_{name}"] == (flat == number).sum()
            assert values[f"volume_reference_{name}"] == (truth == number).sum()
            assert values[f"invented_{name}"] == ((flat == number) & (truth != number)).sum()

    def test_surfaces_are_those_of_monai(self, seed: int) -> None:
        """To the last bit, though they are taken once and on the part where the masks lie."""
        tolerance = (0.0, 0.8, 2.0)[seed % 3]
        values, decision, label, spacing = scores(seed, tolerance)
        pair = [one_hot(value, 4) for value in (decision, label)]
        dice = compute_surface_dice(*pair, [tolerance] * 3, spacing=spacing)[0].tolist()
        hd95 = compute_hausdorff_distance(*pair, percentile=95, spacing=spacing)[0].tolist()
        diagonal = math.hypot(*(n * s for n, s in zip(label.shape[2:], spacing, strict=True)))
        for number, name in enumerate(NAMES[1:]):
            assert values[f"surface_dice_{name}"] == pytest.approx(dice[number], nan_ok=True, abs=1e-6)
            alone = not math.isfinite(hd95[number]) and not math.isnan(dice[number])
            assert values[f"hd95_{name}"] == pytest.approx(diagonal if alone else hd95[number], nan_ok=True, abs=1e-12)
        held = [value for value in dice if not math.isnan(value)]
        assert values["surface_dice"] == pytest.approx(np.mean(held) if held else math.nan, nan_ok=True, abs=1e-6)

    def test_edges_are_those_of_an_erosion(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        shape = ((7, 6, 5), (9, 4), (1, 8), (12,))[seed % 4]
        for share in (0.5, 0.9, 1.0):
            mask = draw.random(shape) < share
            assert np.array_equal(edge(mask), mask ^ binary_erosion(mask))
            assert np.array_equal(edge(mask.T), (mask ^ binary_erosion(mask)).T)

    def test_surface_dice_is_that_of_simpleitk(self, seed: int) -> None:
        """The share of the voxels of its contours that its distance maps say are near."""
        sitk = simpleitk()
        values, decision, label, spacing = scores(seed, 1.1)
        for number, name in enumerate(NAMES[1:], 1):
            pair = [np.pad((value[0, 0] == number).numpy(), 1).astype(np.uint8) for value in (decision, label)]
            if not (pair[0].any() and pair[1].any()):
                continue
            contours = []
            for mask in pair:
                image = sitk.GetImageFromArray(mask)
                image.SetSpacing(spacing[::-1])  # it counts axes from the last
                contours.append(sitk.LabelContour(image, fullyConnected=False))
            near = []
            for ours, theirs in (contours, contours[::-1]):
                far = sitk.SignedMaurerDistanceMap(theirs, squaredDistance=False, useImageSpacing=True)
                at = sitk.GetArrayFromImage(far)[sitk.GetArrayFromImage(ours) > 0]
                inside = sitk.GetArrayFromImage(theirs)[sitk.GetArrayFromImage(ours) > 0] > 0
                near += (inside | (np.abs(at) <= 1.1)).tolist()
            assert values[f"surface_dice_{name}"] == pytest.approx(np.mean(near), abs=1e-12)

    def test_lesions_are_those_of_simpleitk(self, seed: int) -> None:
        sitk = simpleitk()
        rng = np.random.default_rng(seed)
        shape = (12, 14) if seed % 2 else (6, 7, 8)
        decided, truth = rng.random((2, *shape)) < rng.choice([0.0, 0.05, 0.15], (2,) + (1,) * len(shape))
        share = (0.01, 0.3, 1.0)[seed % 3]
        parts = []
        for mask in (decided, truth):
            found = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
            labels = sitk.GetArrayFromImage(found)
            parts.append([labels == number for number in range(1, labels.max() + 1)])
        hit = [(lesion & decided).sum() >= share * lesion.sum() for lesion in parts[1]]
        false = [(lesion & truth).sum() < share * lesion.sum() for lesion in parts[0]]
        assert lesion_counts(decided, truth, share) == (len(hit), sum(hit), sum(false))


def case(decision: Tensor, label: Tensor, image: Tensor, **options: Any) -> dict[str, Any]:
    classes = int(max(decision.max(), label[label < 9].max())) + 1 if "class_names" not in options else 4
    victim = SegmentationVictim(nn.Identity(), allow_empty=True, ignore_index=9)
    return SegmentationMetrics(max(classes, 2), **options).case(
        victim, one_hot(decision, max(classes, 2)), label, image
    )


def volume(spacing: tuple[float, ...] = (2.0, 3.0, 5.0)) -> Tensor:
    return MetaTensor(torch.zeros(1, 1, 6, 7, 8), affine=torch.diag(torch.tensor([*spacing, 1.0])))


class TestRecords:
    @pytest.mark.parametrize("seed", range(40))
    def test_they_hold_numbers_that_json_takes(self, seed: int) -> None:
        decision, label, _ = masks(2 * seed)
        label = label.clone()
        label[..., 0] = 9
        image = MetaTensor(torch.zeros(1, 1, *label.shape[2:]), affine=torch.diag(torch.tensor([1.0, 2, 3, 1])))
        values = case(decision, label, image, class_names=NAMES, lesion_overlap=0.1, volume_thresholds={"lung": 0.02})
        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert all(
            isinstance(v, (float, type(None))) for name, v in values.items() if not name.startswith(("les", "sp"))
        )
        counted = (label != 9).numpy()
        for number, name in enumerate(NAMES[1:], 1):
            ours, theirs = ((value.numpy() == number) & counted for value in (decision, label))
            assert values[f"volume_ml_{name}"] == pytest.approx(ours.sum() * 6 / 1000)
            assert values[f"volume_error_ml_{name}"] == pytest.approx((int(ours.sum()) - int(theirs.sum())) * 6 / 1000)
            if not theirs.any():
                assert (values[f"lesion_sensitivity_{name}"], values[f"lesions_{name}"]) == (None, 0)
        assert values["over_0.02ml_lung"] == float(values["volume_ml_lung"] > 0.02)

    def test_a_sheared_grid_has_the_volume_of_its_affine(self) -> None:
        affine = torch.tensor([[2.0, 0, 0, 0], [0, 3.0, 4.0, 0], [0, 0, 5.0, 0], [0, 0, 0, 1.0]])
        image = MetaTensor(torch.zeros(1, 1, 6, 7, 8), affine=affine)
        decision = torch.zeros(1, 1, 6, 7, 8, dtype=torch.long)
        decision[..., 0, :] = 1
        values = case(decision, decision, image)
        assert values["volume_ml_1"] == pytest.approx(decision.sum().item() * 30 / 1000)
        assert values["invented_ml"] == 0

    def test_pictures_and_voxels_without_size(self) -> None:
        decision = torch.zeros(1, 1, 5, 6, dtype=torch.long)
        decision[..., 2] = 1
        plain = case(decision, decision, torch.zeros(1, 1, 5, 6))
        assert plain["volume_voxels_1"] == 5
        assert "surface_dice_2voxels" in plain
        assert "spacing_mm" not in plain
        picture = case(decision, decision, MetaTensor(torch.zeros(1, 1, 5, 6)))
        assert picture["volume_voxels_1"] == 5
        assert picture["spacing_mm"] == [1.0, 1.0]
        with pytest.raises(ValueError, match="volume_thresholds are in ml, and the image does not say"):
            case(decision, decision, torch.zeros(1, 1, 5, 6), volume_thresholds={"1": 3.0})

    def test_ignored_voxels_count_nowhere(self) -> None:
        generator = torch.Generator().manual_seed(0)
        decision, label = torch.randint(0, 3, (2, 1, 1, 6, 7, 8), generator=generator)
        label[..., 5:] = 9
        smaller = MetaTensor(volume()[..., :5].as_tensor(), affine=volume().affine)
        got = case(decision, label, volume(), lesion_overlap=0.2)
        expected = case(decision[..., :5], label[..., :5], smaller, lesion_overlap=0.2)
        assert got.pop("spacing_mm") == expected.pop("spacing_mm") == [2.0, 3.0, 5.0]
        assert got == pytest.approx(expected)


class TestChanges:
    def test_in_ml_and_per_cent(self) -> None:
        metrics = SegmentationMetrics(2, class_names=["other", "lung"], volume_thresholds={"lung": 1.0})
        clean = {"jaccard_lung": 1.0, "volume_ml_lung": 1.5, "over_1ml_lung": 1.0}
        after = {"jaccard_lung": 1.0, "volume_ml_lung": 0.6, "over_1ml_lung": 0.0}
        changes = metrics.changes(after, clean)
        assert changes == {
            "volume_change_ml_lung": pytest.approx(-0.9),
            "volume_change_percent_lung": pytest.approx(-60),
            "over_1ml_changed_lung": 1.0,
        }
        nothing = {"jaccard_lung": None, "volume_ml_lung": 0.0, "over_1ml_lung": 0.0}
        assert metrics.changes(after, nothing)["volume_change_percent_lung"] is None

    def test_coefficient_of_variation_is_that_of_scipy(self) -> None:
        rng = np.random.default_rng(0)
        for count in range(7):
            values = rng.normal(-3, 5, count).tolist()
            records = [{"volume_change_ml_1": value, "jaccard": 0.5} for value in values]
            found = SegmentationMetrics(2).summary([*records, {"volume_change_ml_1": None}])
            if count < 2:
                assert found["cv_volume_change_ml_1"] is None
            else:
                expected = abs(variation(values, ddof=1))
                assert found["cv_volume_change_ml_1"] == pytest.approx(expected)
                assert found["volume_change_ml_1"] == pytest.approx(np.mean(values))
        zeros = [{"volume_change_ml_1": 0.0}] * 3
        assert SegmentationMetrics(2).summary(zeros)["cv_volume_change_ml_1"] is None


class TestNames:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"class_names": ["lung"]}, "class_names must hold 2 names, background included, got"),
            ({"class_names": "lung"}, "class_names must be a list of names, got 'lung'"),
            ({"class_names": ["a", ""]}, "class_names must be names, got ''"),
            ({"class_names": ["a", 1]}, "class_names must be names, got 1"),
            ({"class_names": ["a", "risk_low"]}, "class_names must not end as a metric's name .*, got 'risk_low'"),
            ({"class_names": ["a", "ml"]}, "class_names must not end as a metric's name .*, got 'ml'"),
            ({"class_names": ["a", "2mm"]}, "class_names must not end as a metric's name .*, got '2mm'"),
            ({"num_classes": None, "class_names": ["a", "a"]}, "class_names must be different from each other"),
            ({"tolerance": -1.0}, "tolerance must be a distance >= 0 in mm, got -1.0"),
            ({"tolerance": math.nan}, "tolerance must be a distance >= 0 in mm, got nan"),
            ({"lesion_overlap": 0.0}, r"lesion_overlap must lie in \(0, 1\], or be None, got 0.0"),
            ({"volume_thresholds": {"lung": 3.0}}, r"volume_thresholds must be volumes in ml of \['1'\], got 'lung'"),
            ({"volume_thresholds": {"1": math.nan}}, r"volume_thresholds must be volumes in ml .*got '1': nan"),
        ],
    )
    def test_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            SegmentationMetrics(**options)

    def test_channels_of_another_number(self) -> None:
        metrics = SegmentationMetrics(None, class_names=["core", "edema"])
        value = torch.ones(1, 3, 4, 4)
        with pytest.raises(ValueError, match="class_names must hold 3 names, one for each channel"):
            metrics(value, value, (1.0, 1.0))
        assert float(metrics(value[:, :2], value[:, :2], (1.0, 1.0))["dice_edema"]) == 1

    @pytest.mark.parametrize("channels", [None, {"0": "a"}, {"0": "a", "2": "b"}, ["a", "b"]])
    def test_metadata_that_do_not_name_the_channels(self, channels: Any) -> None:
        outputs = {} if channels is None else {"pred": {"channel_def": channels}}
        with pytest.raises(ValueError, match="metadata must name the network's 2 channels"):
            channel_names({"network_data_format": {"outputs": outputs}}, 2)
