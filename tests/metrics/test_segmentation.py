from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from monai.networks.utils import one_hot
from torch import Tensor, nn

from monai_smia.metrics import SegmentationMetrics
from monai_smia.metrics.base import numbers
from monai_smia.victims import SegmentationVictim


def square(*, rows: slice, size: int = 10) -> torch.Tensor:
    mask = torch.zeros(1, 1, size, size, dtype=torch.long)
    mask[..., rows, 2:6] = 1
    return mask


def test_values_by_hand() -> None:
    label, decision = square(rows=slice(2, 6)), square(rows=slice(4, 8))
    values = SegmentationMetrics(2)(decision, label, spacing=(2.0, 1.0))
    assert values["jaccard"].item() == pytest.approx(8 / 24)
    assert values["dice"].item() == pytest.approx(0.5)
    assert values["accuracy"].item() == pytest.approx((8 / 16 + 76 / 84) / 2)
    assert values["hd95"].item() == pytest.approx(4.0)  # two rows of 2 mm


def test_hd95_is_the_95th_percentile_and_not_the_maximum() -> None:
    """A square of 76 surface pixels and stray ones 10 beside it: the 95th percentile sees more than one in twenty."""
    label = torch.zeros(1, 1, 40, 40, dtype=torch.long)
    label[..., 2:22, 2:22] = 1
    for strays, distance in ((1, 0.0), (3, 0.0), (6, 10.0)):
        decision = label.clone()
        decision[..., 2 : 2 + 2 * strays : 2, 31] = 1
        for first, second in ((decision, label), (label, decision)):
            assert SegmentationMetrics(2)(first, second, spacing=(1.0, 1.0))["hd95"].item() == pytest.approx(distance)


def test_integer_spacing_and_3d() -> None:
    label = square(rows=slice(2, 6))[..., None].repeat(1, 1, 1, 1, 4)
    values = SegmentationMetrics(2)(label, label, spacing=(1, 1.5, 2))
    assert [values[name].item() for name in ("accuracy", "jaccard", "dice", "hd95")] == [1.0, 1.0, 1.0, 0.0]


def test_channels_of_their_own() -> None:
    label = torch.cat([square(rows=slice(2, 6)), square(rows=slice(4, 8))], 1)
    decision = torch.cat([label[:, :1], torch.zeros_like(label[:, :1])], 1)
    values = SegmentationMetrics(None)(decision, label, spacing=(1.0, 1.0))
    assert values["jaccard"].item() == pytest.approx(0.5)
    assert values["accuracy"].item() == pytest.approx((1 + 0 + 1 + 1) / 4)


def test_num_classes() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        SegmentationMetrics(1)


class TestEmpty:
    """The worst outcome never reads as the best, nor is it left out."""

    DIAGONAL = math.hypot(10 * 2.0, 10 * 1.5)

    @pytest.mark.parametrize(
        ("decision", "truth", "jaccard", "hd95"),
        [
            ("label", "label", 1.0, 0.0),
            ("empty", "label", 0.0, DIAGONAL),  # erased
            ("label", "empty", 0.0, DIAGONAL),  # invented
            ("empty", "empty", 1.0, None),
        ],
    )
    @pytest.mark.parametrize("classes", [2, None])
    def test_by_hand(self, decision: str, truth: str, jaccard: float, hd95: float | None, classes: int | None) -> None:
        masks = {"label": square(rows=slice(2, 6)), "empty": torch.zeros(1, 1, 10, 10, dtype=torch.long)}
        values = numbers(SegmentationMetrics(classes)(masks[decision], masks[truth], spacing=(2.0, 1.5)))
        assert values["jaccard"] == values["dice"] == jaccard
        assert values["hd95"] == (None if hd95 is None else pytest.approx(hd95))

    def test_erased_is_worse_than_misplaced(self) -> None:
        """Class 2 erased had an HD95 of 0, merely misplaced of 4.09."""
        label = torch.zeros(1, 1, 5, 5, dtype=torch.long)
        label[..., 0, :2], label[..., 4, 3:] = 1, 2
        erased, misplaced = label.clone(), label.clone()
        erased[label == 2] = 0
        misplaced[label == 2] = 0
        misplaced[..., 1, 3:] = 2
        one, other = (float(SegmentationMetrics(3)(d, label, (1.0, 1.0))["hd95"]) for d in (erased, misplaced))
        assert one == pytest.approx(math.hypot(5, 5) / 2)  # the mean with the class that was found
        assert 0 < other < one

    def test_an_invented_class_counts(self) -> None:
        """The label holds 0 and 1, both found whole, and a row of class 2 is invented."""
        label = torch.zeros(1, 1, 6, 6, dtype=torch.long)
        label[..., 1:3, :] = 1
        decision = label.clone()
        decision[..., 5, :] = 2
        values = SegmentationMetrics(3)(decision, label, (1.0, 1.0))
        assert (float(values["jaccard"]), float(values["invented"])) == (0.5, 6)

    def test_worse_and_worse(self) -> None:
        """HD95 does not improve when objects are erased."""
        label = torch.zeros(1, 1, 30, 30, dtype=torch.long)
        for number, corner in enumerate(((2, 2), (2, 20), (20, 2)), 1):
            label[..., corner[0] : corner[0] + 5, corner[1] : corner[1] + 5] = number
        shifted = label.roll(1, 3)
        distances = []
        for erased in range(4):
            decision = shifted.where(shifted > erased, 0)
            distances.append(float(SegmentationMetrics(4)(decision, label, (1.0, 1.0))["hd95"]))
        assert distances == sorted(distances)
        assert distances[0] == 1
        assert distances[3] == pytest.approx(30 * math.sqrt(2))


class TestInvented:
    def case(self, image: Tensor, decision: Tensor, label: Tensor, **options: object) -> dict[str, object]:
        victim = SegmentationVictim(nn.Identity(), allow_empty=True, **options)  # type: ignore[arg-type]
        logits = one_hot(decision, 3) * 2.0 - 1
        return SegmentationMetrics(3).case(victim, logits, label, image)

    def test_in_milliliters_where_voxels_have_a_size(self) -> None:
        image = MetaTensor(torch.zeros(1, 1, 10, 10, 10), affine=torch.diag(torch.tensor([2.0, 3.0, -5.0, 1.0])))
        label = torch.zeros(1, 1, 10, 10, 10, dtype=torch.long)
        decision = label.clone()
        decision[..., :4, 0, 0], decision[..., 4:9, 0, 0] = 1, 2
        assert self.case(image, decision, label)["invented_ml"] == pytest.approx(9 * 2 * 3 * 5 / 1000)
        assert self.case(image, label, label)["invented_ml"] == 0
        assert self.case(image, label, decision)["invented_ml"] == 0  # all erased
        assert self.case(image, decision.where(decision == 0, 3 - decision), decision)["invented_ml"] == 0  # mistaken
        assert "invented_voxels" not in self.case(image, label, label)
        label[..., :4, 0, 0] = 9
        assert self.case(image, decision, label, ignore_index=9)["invented_ml"] == pytest.approx(5 * 30 / 1000)

    @pytest.mark.parametrize(
        "image", [torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 6, 6, 6), MetaTensor(torch.zeros(1, 1, 6, 6))]
    )
    def test_in_voxels_elsewhere(self, image: Tensor) -> None:
        label = torch.zeros(image.shape, dtype=torch.long)
        decision = label.clone()
        decision[..., 0] = 1
        values = self.case(image, decision, label)
        assert values["invented_voxels"] == image.numel() / 6
        assert "invented_ml" not in values


class TestIgnored:
    """What the loss leaves out the metrics leave out."""

    def test_one_column_of_a_sigmoid(self) -> None:
        """Decision equal to the label everywhere, one column ignored: Jaccard was 128, accuracy -.002."""
        label = torch.tensor([[1, 0, 0, 1]]).repeat(4, 1)[None, None]
        logits = label * 10.0 - 5
        label[..., 1] = 255
        victim = SegmentationVictim(nn.Identity(), activation="sigmoid", ignore_index=255)
        values = SegmentationMetrics(None).case(victim, logits, label, torch.zeros(1, 1, 4, 4))
        scores = {"accuracy": 1, "jaccard": 1, "dice": 1, "hd95": 0, "surface_dice_2voxels": 1, "invented_voxels": 0}
        volumes = {"volume_voxels_0": 8, "volume_reference_voxels_0": 8, "volume_error_voxels_0": 0}
        assert values == scores | {f"{name}_0": value for name, value in scores.items()} | volumes
        assert victim.damage(logits, label).tolist() == [0]

    @pytest.mark.parametrize("dtype", [torch.long, torch.uint8, torch.float32])
    @pytest.mark.parametrize("ignored", [255, -1, 0])
    @pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
    def test_as_an_image_without_them(self, activation: str, ignored: int, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(0)
        softmax = activation == "softmax"
        logits = torch.randn(1, 3, 9, 12, generator=generator)
        label = torch.randint(0, 3 if softmax else 2, (1, 1 if softmax else 3, 9, 12), generator=generator)
        if ignored == 0:
            label[label == 0] = 1
        label[..., 9:] = ignored
        victim = SegmentationVictim(nn.Identity(), activation=activation, ignore_index=ignored)
        metrics = SegmentationMetrics(3 if softmax else None)
        got = metrics.case(victim, logits, label.to(dtype), torch.zeros(1, 1, 9, 12))
        expected = metrics.case(victim, logits[..., :9], label[..., :9].to(dtype), torch.zeros(1, 1, 9, 9))
        assert got == pytest.approx(expected)
        assert float(victim.damage(logits, label.to(dtype))) == 1 - got["jaccard"]

    def test_without_ignore_index_they_are_no_classes(self) -> None:
        label = torch.zeros(1, 1, 4, 4, dtype=torch.long)
        decision = label.clone()
        label[..., 0] = 255
        for classes, highest in ((3, 2), (None, 1)):
            with pytest.raises(ValueError, match=f"label must hold whole numbers from 0 to {highest}, got .* to 255"):
                SegmentationMetrics(classes)(decision, label, (1.0, 1.0))
            with pytest.raises(ValueError, match=f"decision must hold whole numbers from 0 to {highest}"):
                SegmentationMetrics(classes)(label, decision, (1.0, 1.0))


def test_shapes_must_agree() -> None:
    label = square(rows=slice(2, 6))
    with pytest.raises(ValueError, match=r"the decision's shape \(1, 1, 10, 10\), got \(1, 1, 10, 1\)"):
        SegmentationMetrics(2)(label, label[..., 3:4], (1.0, 1.0))


def drawn(seed: int) -> tuple[SegmentationVictim, SegmentationMetrics, Tensor, Tensor]:
    """A victim, its metrics, logits and a label: 2-D or 3-D, exclusive or not, empty, partly absent, ignored."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(6, generator=generator).tolist()
    softmax, ignored = draw[0] < 0.5, 255 if draw[1] < 0.5 else None
    shape, classes = ((5, 4) if draw[2] < 0.5 else (3, 4, 2)), 2 + int(3 * draw[3])
    logits = torch.randn(1, classes, *shape, generator=generator)
    label = torch.randint(0, classes if softmax else 2, (1, 1 if softmax else classes, *shape), generator=generator)
    if softmax:
        label[label == classes - 1] = 0  # a class that is absent, and mostly invented
    if draw[4] < 0.3:
        label.zero_()
        if draw[5] < 0.5:
            logits = logits.abs().neg()
            logits[:, 0] = 5.0 if softmax else -5.0  # nothing decided either
    if ignored is not None:
        place = torch.rand(label.shape, generator=generator) < 0.3
        place[..., 0] = False
        label[place] = ignored
    options = {"activation": "softmax" if softmax else "sigmoid", "ignore_index": ignored, "allow_empty": True}
    victim = SegmentationVictim(nn.Identity(), **options)  # type: ignore[arg-type]
    return victim, SegmentationMetrics(classes if softmax else None), logits, label


def test_jaccard_is_one_minus_damage() -> None:
    """One definition: for every input, to the last bit."""
    seen = set()
    for seed in range(600):
        victim, metrics, logits, label = drawn(seed)
        values = metrics.case(victim, logits, label, torch.zeros(1, 1, *logits.shape[2:]))
        damage = float(victim.damage(logits, label))
        assert damage == 1 - values["jaccard"], seed
        assert values["hd95"] is not None or damage == 0
        seen.add(round(damage, 1))
    assert {0.0, 1.0} < seen


def test_a_value_outside_of_its_range_ends_the_case() -> None:
    """Every metric has a range."""

    class Broken(SegmentationMetrics):
        def _scores(self, *args: object) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
            return {"jaccard": 128.0, "invented": 0.0}, {}

    victim = SegmentationVictim(nn.Identity())
    with pytest.raises(ValueError, match=r"jaccard must lie in \[0, 1\], got 128.0: decision and label do not fit"):
        Broken(2).case(victim, torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
