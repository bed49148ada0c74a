from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import case
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

from monai_smia.attacks import APGD, BIM, PGD, SMIA, Attack, CoarseToFine
from monai_smia.victims import SegmentationVictim

DEPLOYED = SlidingWindowInferer((8, 8), overlap=0.5, mode="gaussian")


def windowed(inferer: SlidingWindowInferer | None = DEPLOYED) -> tuple[SegmentationVictim, Tensor, Tensor]:
    """A victim that goes through a window of 8, images of 16, and its own decision as the label."""
    c = case("segmentation", 2, size=16, inferer=inferer)
    return c.victim, c.image, c.label  # type: ignore[return-value]


def parts(**options: Any) -> list[Attack]:
    return [APGD(eps=0.03, steps=5, **options), BIM(eps=0.03, steps=3, step_size=0.004, **options)]


class Counting(nn.Module):
    """Notes the shape of every window."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.seen = network, []  # type: ignore[var-annotated]

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(tuple(image.shape[2:]))
        return self.network(image)


def test_it_is_the_chain_of_its_parts_and_the_last_is_as_deployed() -> None:
    victim, image, label = windowed()
    coarse, fine = parts()
    result = CoarseToFine([coarse, fine])(victim, image, label)
    loose, _, _ = windowed(SlidingWindowInferer((8, 8), overlap=0.0, mode="gaussian"))
    first = coarse(loose, image, label)
    second = fine(victim, image, label, start=first.perturbation)
    assert torch.equal(result.adversarial, second.adversarial)
    assert torch.equal(result.loss_history, second.loss_history)
    assert result.gradients.tolist() == [8, 8, 8]
    with torch.no_grad():
        prediction = victim.predict(result.adversarial)
    torch.testing.assert_close(result.damage, victim.damage(prediction, label).to(result.damage))
    torch.testing.assert_close(result.clean_damage, torch.zeros(3))


def test_the_first_attacks_see_fewer_or_other_windows() -> None:
    victim, image, label = windowed()
    victim.network = Counting(victim.network)
    CoarseToFine([PGD(eps=0.03, steps=1, keep="last"), PGD(eps=0.03, steps=0, keep="last")])(victim, image, label)
    loose = len(victim.network.seen)
    victim.network.seen.clear()
    PGD(eps=0.03, steps=1, keep="last")(victim, image, label)
    assert loose == 8 * 3
    assert len(victim.network.seen) == 18 * 3
    victim.network.seen.clear()
    first = [PGD(eps=0.03, steps=1, keep="last"), PGD(eps=0.03, steps=0, keep="last")]
    CoarseToFine(first, roi_size=(16, 16))(victim, image, label)
    assert set(victim.network.seen) == {(16, 16)}
    assert victim.inferer.roi_size == (8, 8)
    assert victim.inferer.overlap == 0.5


def test_without_a_window_it_is_a_chain_of_warm_starts() -> None:
    victim, image, label = windowed(None)
    losses = [PGD(eps=0.03, steps=3, loss=loss) for loss in ("soft_jaccard", "cross_entropy")]
    result = CoarseToFine(losses)(victim, image, label)
    start = losses[0](victim, image, label).perturbation
    assert torch.equal(result.adversarial, losses[1](victim, image, label, start=start).adversarial)


def test_a_batch_gives_what_its_samples_give_and_begins_where_it_is_told() -> None:
    victim, image, label = windowed()
    attack = CoarseToFine([PGD(eps=0.03, steps=2), SMIA(eps=0.03, steps=2), BIM(eps=0.03, steps=1)], seed=4)
    start = torch.full_like(image, 0.02)
    batch = attack(victim, image, label, start=start)
    for i in range(3):
        one = slice(i, i + 1)
        alone = attack(victim, image[one], label[one], start=start[one])
        torch.testing.assert_close(alone.adversarial, batch.adversarial[one])
    assert float(batch.perturbation.abs().max()) <= 0.03 + 1e-6
    assert not torch.equal(batch.adversarial, attack(victim, image, label).adversarial)


@pytest.mark.parametrize(
    ("attacks", "options", "message"),
    [
        ([PGD(eps=0.1)], {}, "attacks must hold two attacks or more, got 1"),
        ([PGD(eps=0.1), PGD(eps=0.2)], {}, "attacks must agree on eps"),
        (parts(), {"overlap": 1.0}, r"overlap must lie in \[0, 1\), got 1.0"),
        (parts(), {"roi_size": (8, 0)}, "roi_size must hold whole numbers > 0, or be None, got"),
    ],
)
def test_what_is_no_chain_is_refused(attacks: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CoarseToFine(attacks, **options)
