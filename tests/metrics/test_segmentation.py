from __future__ import annotations

import pytest
import torch

from monai_smia.metrics import SegmentationMetrics


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


def test_an_empty_decision_has_no_distance() -> None:
    label = square(rows=slice(2, 6))
    values = SegmentationMetrics(2)(torch.zeros_like(label), label, spacing=(1.0, 1.0))
    assert values["jaccard"].item() == 0
    assert values["hd95"].isnan().all()


def test_channels_of_their_own() -> None:
    label = torch.cat([square(rows=slice(2, 6)), square(rows=slice(4, 8))], 1)
    decision = torch.cat([label[:, :1], torch.zeros_like(label[:, :1])], 1)
    values = SegmentationMetrics(None)(decision, label, spacing=(1.0, 1.0))
    assert values["jaccard"].item() == pytest.approx(0.5)
    assert values["accuracy"].item() == pytest.approx((1 + 0 + 1 + 1) / 4)


def test_num_classes() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        SegmentationMetrics(1)
