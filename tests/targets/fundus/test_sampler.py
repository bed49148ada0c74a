"""How often a grader sees what."""

from __future__ import annotations

import pytest

from monai_smia.targets.fundus import GradeSampler, grade_weights


def test_weights_by_hand() -> None:
    items = [{"label": 0}] * 9 + [{"label": 1}] * 4 + [{"label": 0, "paint": 1}] * 2
    weights = grade_weights(items, painted_share=0.5)
    assert sum(weights) == pytest.approx(1)
    assert sum(weights[:9]) == pytest.approx(0.5 * 3 / 5)  # roots of nine and of four
    assert sum(weights[9:13]) == pytest.approx(0.5 * 2 / 5)
    assert weights[13:] == pytest.approx([0.25, 0.25])


@pytest.mark.parametrize(("share", "painted"), [(0.5, 0), (0.5, 3), (-0.1, 1), (1.1, 1)])
def test_a_share_that_does_not_fit(share: float, painted: int) -> None:
    with pytest.raises(ValueError, match=f"painted_share={share} does not fit|painted_share must lie in"):
        grade_weights([{"label": 0, "paint": i < painted} for i in range(3)], painted_share=share)


def test_the_share_of_painted_eyes_follows_its_schedule() -> None:
    items = [{"label": 0}] * 9 + [{"label": 1}] * 4 + [{"label": 0, "paint": 1}] * 2
    sampler = GradeSampler(items, 4000, painted_share=[0.75, 0.5])
    assert len(sampler) == 4000
    for share in (0.75, 0.5, 0.5):
        painted = sum(bool(items[i].get("paint")) for i in sampler) / 4000
        assert painted == pytest.approx(share, abs=0.04)  # five standard deviations


def test_a_sampler_needs_shares_that_fit() -> None:
    with pytest.raises(ValueError, match="at least one epoch"):
        GradeSampler([{"label": 0}], 1, painted_share=[])
    with pytest.raises(ValueError, match=r"painted_share=0\.5 does not fit: 0 of 1"):
        GradeSampler([{"label": 0}], 1, painted_share=[0.0, 0.5])
