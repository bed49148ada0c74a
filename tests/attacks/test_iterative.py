"""What the shared ascent does: steps, histories, early stop, restarts, keep and targets."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from helpers import case, linear_victim
from torch import Tensor

from monai_smia.attacks import BIM, FGSM, MIFGSM, PGD, SMIA, Iterate, IterativeAttack, Noise


def trace(victim: Any) -> list[int]:
    """The batch size of every call of the network."""
    sizes: list[int] = []
    victim.network.register_forward_hook(lambda _, inputs, output: sizes.append(len(inputs[0])))
    return sizes


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_histories(keep: str, steps: int) -> None:
    """Every row of a history, computed again from the iterates of shorter runs."""
    c = case("segmentation", 2, dtype=torch.float64)
    calls = trace(c.victim)
    result = BIM(eps=0.05, steps=steps, step_size=0.02, keep=keep)(c.victim, c.image, c.label)
    assert len(calls) == steps + (keep == "best")
    assert result.loss_history.shape == (steps + (keep == "best"), 3)
    assert result.cosine.shape == (max(steps - 1, 0), 3)
    assert result.linf.shape == (steps + 1, 3)
    assert result.gradients.tolist() == [steps] * 3
    for row in range(steps + 1):
        iterate = BIM(eps=0.05, steps=row, step_size=0.02, keep="last")(c.victim, c.image, c.label).adversarial
        torch.testing.assert_close(result.linf[row], (iterate - c.image).abs().amax((1, 2, 3)))
        if row < len(result.loss_history):
            loss = c.victim.loss(c.victim.predict(iterate), c.label).detach()
            torch.testing.assert_close(result.loss_history[row], loss)
    assert bool(result.loss.isnan().all()) == bool(result.damage.isnan().all()) == (keep == "last")


def test_cosine_of_steps() -> None:
    """On a linear model every unprojected step points the same way; on a zigzag the opposite way."""
    weight, image = torch.tensor([[[1.0, -2.0]]]), torch.full((1, 1, 1, 2), 0.5)
    straight = BIM(eps=0.1, steps=4)(linear_victim(weight), image, torch.tensor([0]))
    torch.testing.assert_close(straight.cosine, torch.ones(3, 1))

    victim = linear_victim(weight).with_loss(lambda p, y: -((p[:, 1] - 0.02).abs()))  # a ridge that every step leaps
    image = torch.tensor([[[[0.5, 0.25]]]])
    zigzag = BIM(eps=0.1, steps=4, step_size=0.05)(victim, image, torch.tensor([0]))
    torch.testing.assert_close(zigzag.cosine, -torch.ones(3, 1))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_default_step_size_follows_the_radius(norm: str) -> None:
    c = case("segmentation", 2)
    default = BIM(eps=0.05, norm=norm, steps=5)(c.victim, c.image, c.label, eps=0.2)
    explicit = BIM(eps=0.2, norm=norm, steps=5, step_size=2.5 * 0.2 / 5)(c.victim, c.image, c.label)
    assert torch.equal(default.adversarial, explicit.adversarial)


def test_default_step_size_of_every_radius() -> None:
    c = case("segmentation", 2, dtype=torch.float64)
    radii = torch.tensor([0.02, 0.1, 0.3], dtype=torch.float64)
    one_step = BIM(eps=1.0, steps=5, keep="last", clip=None)(c.victim, c.image, c.label, eps=radii).linf[1]
    torch.testing.assert_close(one_step, radii / 2)


def test_given_step_size_stays() -> None:
    c = case("segmentation", 2)
    linf = BIM(eps=0.05, steps=3, step_size=0.004, clip=None)(c.victim, c.image, c.label, eps=0.2).linf
    torch.testing.assert_close(linf[:, 0], torch.tensor([0.0, 0.004, 0.008, 0.012]))


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("attack", [BIM, MIFGSM, PGD, SMIA])
def test_stop_at_drops_the_solved_samples(attack: Any, keep: str, task: str) -> None:
    c = case(task, 2, dtype=torch.float64)
    options = {"eps": 0.3, "steps": 40, "step_size": 0.01, "keep": keep}
    stop_at = 0.3
    calls = trace(c.victim)
    radii = torch.tensor([0.3, 0.3, 0.0], dtype=torch.float64)  # the last one cannot be solved
    result = attack(**options, stop_at=stop_at)(c.victim, c.image, c.label, eps=radii)
    if attack is PGD:  # which starts beside the clean image, and predicts it for its damage
        assert calls.pop() == 3
    assert calls == sorted(calls, reverse=True)
    assert (calls[0], calls[-1]) == (3, 1)
    with torch.no_grad():
        damage = c.victim.damage(c.victim.predict(result.adversarial), c.label)
    assert (damage >= stop_at).tolist() == [True, True, False]
    whole = 40 if attack is not SMIA else 79
    assert result.gradients[2] == whole
    assert bool((result.gradients[:2] < whole).all())
    assert bool((result.gradients[:2] > 0).all())


@pytest.mark.parametrize("attack", [BIM, MIFGSM, PGD, SMIA])
def test_a_dropped_sample_does_not_disturb_the_others(attack: Any) -> None:
    """Labels, radii, masks, seeds and momentum stay with their samples."""
    c = case("segmentation", 2, dtype=torch.float64)
    radii = torch.tensor([0.3, 0.02, 0.2], dtype=torch.float64)
    mask = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.3
    run = attack(eps=0.3, steps=30, step_size=0.01, stop_at=0.3)
    batch = run(c.victim, c.image, c.label, eps=radii, mask=mask, seed=[4, 5, 6])
    assert len(set(batch.gradients.tolist())) > 1
    for i in range(3):
        one = slice(i, i + 1)
        alone = run(c.victim, c.image[one], c.label[one], eps=radii[one], mask=mask[one], seed=[4 + i])
        torch.testing.assert_close(batch.adversarial[one], alone.adversarial, rtol=1e-9, atol=1e-11)
        assert batch.gradients[i] == alone.gradients[0]


def test_a_stopped_sample_carries_its_history_on() -> None:
    c = case("classification", 2, dtype=torch.float64)
    result = BIM(eps=0.3, steps=12, step_size=0.01, stop_at=0.5)(c.victim, c.image, c.label)
    for i, taken in enumerate(result.gradients.tolist()):
        assert taken < 12
        assert result.loss_history[taken:, i].unique().numel() == 1
        assert result.linf[taken:, i].unique().numel() == 1
        assert bool(result.cosine[max(taken - 1, 0) :, i].isnan().all())
        assert not bool(result.cosine[: max(taken - 1, 0), i].isnan().any())


def test_a_targeted_attack_stops_at_the_target() -> None:
    c = case("classification", 2, dtype=torch.float64)
    target = (c.label + 1) % 3
    attack = BIM(eps=0.5, steps=30, step_size=0.01, targeted=True, stop_at=1.0)
    result = attack(c.victim, c.image, target)
    assert torch.equal(c.victim.decide(c.victim.predict(result.adversarial)), target)
    assert result.damage.tolist() == [0, 0, 0]
    assert bool((result.gradients < 30).all())


@pytest.mark.parametrize("targeted", [False, True])
def test_more_restarts_are_never_worse(targeted: bool) -> None:
    c = case("segmentation", 2)
    results = [PGD(eps=0.03, steps=2, restarts=n, targeted=targeted)(c.victim, c.image, c.label) for n in (1, 2, 5)]
    assert [r.gradients.tolist() for r in results] == [[2] * 3, [4] * 3, [10] * 3]
    sign = -1 if targeted else 1
    for worse, better in itertools.pairwise(results):
        pairs = zip(
            zip(sign * worse.damage, sign * worse.loss, strict=True),
            zip(sign * better.damage, sign * better.loss, strict=True),
            strict=True,
        )
        assert all(old <= new for old, new in pairs)
    assert not torch.equal(results[0].adversarial, results[2].adversarial)
    best = results[2]
    with torch.no_grad():
        torch.testing.assert_close(c.victim.loss(c.victim.predict(best.adversarial), c.label), best.loss)
    assert bool((best.loss == best.loss_history).any(0).all())  # the history is of the run that was taken


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("attack", [FGSM, BIM, MIFGSM, PGD, SMIA])
def test_targeted_attacks_approach_the_target(attack: Any, task: str) -> None:
    c = case(task, 3)
    target = (c.label + 1) % 3
    options = {"eps": 0.05, "targeted": True}
    attacked, control = (a(**options)(c.victim, c.image, target).adversarial for a in (attack, Noise))
    before, after, noisy = (c.victim.loss(c.victim.predict(x), target) for x in (c.image, attacked, control))
    assert bool((before - after > 3 * (before - noisy).abs()).all())


def test_keep_last_returns_the_last() -> None:
    """A loss that a large step leaps over: best returns the start, last the worse end."""
    weight, image = torch.tensor([[[1.0]]]), torch.full((1, 1, 1, 1), 0.52)
    victim = linear_victim(weight).with_loss(lambda p, y: -((p[:, 1] - 0.55).abs()))
    options = {"eps": 0.4, "steps": 1, "step_size": 0.2}
    assert BIM(**options)(victim, image, torch.tensor([1])).adversarial.item() == pytest.approx(0.52)
    assert BIM(**options, keep="last")(victim, image, torch.tensor([1])).adversarial.item() == pytest.approx(0.72)


def test_a_new_attack_is_its_objective() -> None:
    class Darken(IterativeAttack):
        def objective(self, victim: Any, iterate: Iterate) -> Tensor:
            return iterate.deviation * 0 - iterate.adversarial.flatten(1).sum(1)

    c = case("classification", 2)
    result = Darken(eps=0.1, steps=4, keep="last")(c.victim, c.image, c.label)
    torch.testing.assert_close(result.adversarial, (c.image - 0.1).clamp(0, 1))


def test_progress_is_quiet_by_default(capfd: pytest.CaptureFixture[str]) -> None:
    c = case("classification", 2)
    BIM(eps=0.1)(c.victim, c.image, c.label)
    assert capfd.readouterr() == ("", "")
