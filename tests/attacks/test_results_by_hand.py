"""Results put together, iterates measured and compared, and searches of random draws: by hand."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from monai_smia.attacks import PGD, AttackResult, Square
from monai_smia.attacks.best import better_of, is_better
from monai_smia.attacks.gradient import gradient_of, warn_if_zero
from monai_smia.attacks.measures import cosine, is_zero, length, over_mean, perturbation_stats, where
from monai_smia.attacks.result import HISTORIES, joined, same_length, spread
from monai_smia.attacks.trajectory import Trajectory
from monai_smia.victims import ClassificationVictim

NAN = float("nan")


def result(value: float, count: int, rows: int = 2) -> AttackResult:
    """A result of which every number says whose it is: its value, plus a tenth for every sample, plus its row."""
    own = value + torch.arange(count) / 10
    image = own.view(-1, 1, 1).expand(count, 1, 2).clone()
    history = own + torch.arange(rows).view(-1, 1).float()
    told: dict[str, Any] = {name: history.clone() for name in HISTORIES} | {"cosine": history[: rows - 1].clone()}
    told |= {name: own.clone() for name in ("loss", "damage", "clean_damage")}
    told |= {name: (10 * own).round().long() for name in ("gradients", "zero_gradient_steps")}
    return AttackResult(adversarial=image, perturbation=image - 1, **told)


def close(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found, torch.tensor(expected), equal_nan=True)


def test_a_result_of_some_samples_as_one_of_all() -> None:
    whole, index = result(0.0, 3), torch.tensor([False, True, True])
    found = spread(result(5.0, 2, rows=3), whole, index)
    close(found.damage, [NAN, 5.0, 5.1])
    close(found.loss, [NAN, 5.0, 5.1])
    close(found.clean_damage, [NAN, 5.0, 5.1])
    close(found.gradients, [0, 50, 51])
    close(found.zero_gradient_steps, [0, 50, 51])
    close(found.adversarial[:, 0, 0], [0.0, 5.0, 5.1])
    close(found.perturbation[:, 0, 0], [-1.0, 4.0, 4.1])
    close(found.linf, [[NAN, 5.0, 5.1], [NAN, 6.0, 6.1], [NAN, 7.0, 7.1]])
    close(found.cosine, [[NAN, 5.0, 5.1], [NAN, 6.0, 6.1]])
    shorter = spread(result(5.0, 1, rows=2), result(0.0, 2, rows=4), torch.tensor([True, False]))
    assert (len(shorter.loss_history), len(shorter.cosine)) == (4, 3)
    close(shorter.loss_history, [[5.0, NAN], [6.0, NAN], [NAN, NAN], [NAN, NAN]])
    close(whole.damage, [0.0, 0.1, 0.2])


def test_histories_are_carried_on_and_cosines_are_not() -> None:
    short, long = same_length(result(1.0, 2, rows=1), result(2.0, 2, rows=3))
    close(short.variance, [[1.0, 1.1]] * 3)
    close(short.cosine, [[NAN, NAN]] * 2)
    close(long.variance, [[2.0, 2.1], [3.0, 3.1], [4.0, 4.1]])
    both = joined([result(1.0, 2, rows=2), result(2.0, 1, rows=3)])
    close(both.loss_history, [[1.0, 1.1, 2.0], [2.0, 2.1, 3.0], [2.0, 2.1, 4.0]])
    close(both.cosine, [[1.0, 1.1, 2.0], [NAN, NAN, 3.0]])
    close(both.gradients, [10, 11, 20])
    assert both.adversarial.shape == (3, 1, 2)


@pytest.mark.parametrize(
    ("damage", "loss", "old_damage", "old_loss", "better", "better_targeted"),
    [
        (0.5, 0.0, 0.4, 9.0, True, False),
        (0.4, 9.0, 0.5, 0.0, False, True),
        (0.5, 2.0, 0.5, 1.0, True, False),
        (0.5, 1.0, 0.5, 2.0, False, True),
        (0.5, 1.0, 0.5, 1.0, False, False),
        (0.0, 0.0, NAN, 1.0, True, True),
        (NAN, 0.0, 0.5, 1.0, False, False),
    ],
)
def test_more_damage_then_more_loss(
    damage: float, loss: float, old_damage: float, old_loss: float, better: bool, better_targeted: bool
) -> None:
    values = [torch.tensor([v]) for v in (damage, loss, old_damage, old_loss)]
    assert is_better(*values, targeted=False).tolist() == [better]
    assert is_better(*values, targeted=True).tolist() == [better_targeted]


def test_of_two_results_every_sample_has_its_better_one() -> None:
    first, second = result(1.0, 2), result(2.0, 2)
    second = AttackResult(**{**vars(second), "damage": torch.tensor([3.0, 0.5])})
    found = better_of(first, second, targeted=False)
    for field in fields(AttackResult):
        ours, one, other = (getattr(each, field.name) for each in (found, first, second))
        if field.name in ("gradients", "zero_gradient_steps"):
            assert torch.equal(ours, one + other)
        elif field.name == "clean_damage":
            assert torch.equal(ours, one)
        else:
            axis = 1 if field.name in HISTORIES else 0
            for sample, source in enumerate((other, one)):
                pair = ours.select(axis, sample), source.select(axis, sample)
                torch.testing.assert_close(*pair, rtol=0, atol=0, equal_nan=True, msg=field.name)


def test_measures_of_iterates_and_steps() -> None:
    image = torch.zeros(2, 1, 4)
    change = torch.tensor([[[1.0, -3.0, 1.0, 1.0]], [[2.0, 2.0, 2.0, 2.0]]])
    largest, variance = perturbation_stats(image + change, image)
    close(largest, [3.0, 2.0])
    close(variance, [3.0, 0.0])
    close(length(change), [12**0.5, 4.0])
    turned = change.flip(2)
    close(cosine(change, turned, length(change) * length(turned)), [(1 - 3 - 3 + 1) / 12, 1.0])
    close(cosine(change, image, length(change) * length(image)), [0.0, 0.0])
    close(over_mean(change), (change / torch.tensor([1.5, 2.0]).view(2, 1, 1)).tolist())
    close(over_mean(image), image.tolist())
    assert is_zero(torch.tensor([[0.0, 0.0], [0.0, -1e-30], [1e-30, 0.0]])).tolist() == [True, False, False]
    close(where(torch.tensor([True, False]), change, image), torch.stack([change[0], image[0]]).tolist())


def test_gradients_that_are_none() -> None:
    point = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert gradient_of((point**2).sum(), point).tolist() == [[2.0, 4.0], [6.0, 8.0]]
    other = torch.ones(2, requires_grad=True)
    for objective in (torch.tensor(1.0), other.sum()):
        with pytest.raises(ValueError, match="the prediction does not depend on the image"):
            gradient_of(objective, point)
    infinite = (point * torch.tensor([[1.0, 1.0], [torch.inf, 1.0]])).sum()
    with pytest.raises(ValueError, match=r"NaN or infinite for samples \[1\]"):
        gradient_of(infinite, point)
    twice = (point**2).sum()
    gradient_of(twice, point, retain_graph=True)
    gradient_of(twice, point)
    with pytest.raises(RuntimeError, match="second time"):
        gradient_of(twice, point)
    with pytest.warns(RuntimeWarning, match=r"exactly zero for samples \[1\]"):
        warn_if_zero(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_a_trajectory_of_samples_that_leave_the_batch() -> None:
    """Three samples, the first of which is left out after its first step; what is taken is returned."""
    clean = torch.zeros(3, 1, 2)
    found = Trajectory(clean, targeted=False)
    points = [clean + 0.1 * k for k in range(4)]
    found.add_size(points[0], clean)
    found.add_loss(torch.tensor([1.0, 2.0, 3.0]))
    found.note_clean(torch.tensor([0.1, 0.2, 0.3]))
    found.take_better(points[0], torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 3.0]))
    going = torch.tensor([False, True, True])
    step = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    found.add_step(step, None, 2, going)
    found.drop(going)
    found.add_size(points[1][1:], clean[1:])
    found.add_loss(torch.tensor([5.0, 6.0]))
    found.take_better(points[1][1:], torch.tensor([0.2, 0.9]), torch.tensor([5.0, 6.0]))
    found.add_step(torch.tensor([[[0.0, 2.0]], [[1.0, 0.0]]]), step[1:], 3)
    found.add_size(points[2][1:], clean[1:])
    found.add_loss(torch.tensor([4.0, 7.0]))
    found.take_better(points[2][1:], torch.tensor([0.2, 0.8]), torch.tensor([4.0, 7.0]))
    told = found.result(steps=3, losses=4)
    close(told.adversarial[:, 0, 0], [0.0, 0.1, 0.1])
    assert torch.equal(told.perturbation, told.adversarial - clean)
    close(told.damage, [0.1, 0.2, 0.9])
    close(told.clean_damage, [0.1, 0.2, 0.3])
    close(told.loss, [1.0, 5.0, 6.0])
    close(told.loss_history, [[1.0, 2, 3], [1, 5, 6], [1, 4, 7], [1, 4, 7]])
    close(told.linf, [[0.0] * 3, [0.0, 0.1, 0.1], [0.0, 0.2, 0.2], [0.0, 0.2, 0.2]])
    close(told.gradients, [0, 5, 5])
    close(told.zero_gradient_steps, [0, 0, 1])
    close(told.cosine, [[NAN, 0.0, 0.0], [NAN, NAN, NAN]])
    assert not bool(clean.any())


def test_a_trajectory_of_all_samples() -> None:
    clean, start = torch.zeros(2, 1, 1), torch.full((2, 1, 1), 0.5)
    nothing = Trajectory(clean, start)
    nothing.add_size(start, clean)
    nothing.add_loss(torch.tensor([1.0, 2.0]))
    told = nothing.result()
    assert torch.equal(told.adversarial, start)
    assert told.adversarial is not start
    assert (told.cosine.shape, told.loss_history.shape, told.linf.shape) == ((0, 2), (1, 2), (1, 2))
    assert told.damage.isnan().all()
    found = Trajectory(clean, targeted=True)
    for damage, value in ((0.5, 0.1), (0.2, 0.2), (0.2, 0.3)):
        point = clean + value
        found.add_size(point, clean)
        found.take_better(point, torch.tensor([damage, 1.0]), torch.tensor([value, value]))
        found.add_step(point, None, 1, zero_gradient=torch.tensor([True, False]))
    close(found.result().adversarial[:, 0, 0], [0.2, 0.1])
    close(found.result().zero_gradient_steps, [3, 0])
    found.drop(torch.tensor([False, True]))
    found.return_as_is(torch.full((1, 1, 1), 0.9))
    close(found.result(steps=2, losses=0).adversarial[:, 0, 0], [0.2, 0.9])
    held = Trajectory(clean)
    held.take(start, torch.ones(2), torch.ones(2), torch.tensor([True, True]))
    assert held.returned.data_ptr() == start.data_ptr()  # an image of a volume is not copied at every step
    held.take(clean, torch.ones(2), torch.ones(2), torch.tensor([False, True]))
    close(held.returned[:, 0, 0], [0.5, 0.0])
    assert bool((start == 0.5).all())
    whole = Trajectory(clean)
    whole.add_size(clean, clean)
    whole.return_as_is(start)
    assert torch.equal(whole.result().adversarial, start)


def search(
    victim: ClassificationVictim,
    image: Tensor,
    label: int,
    eps: float,
    queries: int,
    seed: int,
    p: float,
    *,
    stop: bool,
) -> tuple[Tensor, list[float], int]:
    """Square on one image, once more: its best image, the losses of all queries, and how many there were."""
    draw, (channels, *shape) = torch.Generator().manual_seed(seed), image.shape[1:]
    stripes = torch.randint(0, 2, (channels, 1, *shape[1:]), generator=draw)
    corners = torch.rand(queries, len(shape), generator=draw, dtype=torch.float64)
    raised = torch.randint(0, 2, (queries, channels), generator=draw)
    low, high = (image - eps).clamp(0, 1), (image + eps).clamp(0, 1)
    truth, losses, point, value, best = torch.tensor([label]), [], image, -float("inf"), None
    halvings = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8]
    for query in range(queries + 1):
        if query == 0:
            candidate = image
        elif query == 1:
            candidate = torch.where(stripes == 1, high, low)
        else:
            share = p / 2 ** sum(query > h * queries for h in halvings)
            side = min(max(round((share * shape[0] * shape[1]) ** 0.5), 1), *shape)
            first = [int(c * (n - side + 1)) for c, n in zip(corners[query - 1].tolist(), shape, strict=True)]
            candidate = point.clone()
            where = (slice(first[0], first[0] + side), slice(first[1], first[1] + side))
            for channel in range(channels):
                paint = high if raised[query - 1, channel] else low
                candidate[0, channel][where] = paint[0, channel][where]
        prediction = victim.predict(candidate)
        loss, damage = float(victim.loss(prediction, truth)), float(victim.damage(prediction, truth))
        losses.append(loss)
        if best is None or (damage, loss) > best[:2]:
            best = (damage, loss, candidate)
        if query > 0 and loss > value:
            point, value = candidate, loss
        if stop and damage >= 1:
            break
    assert best is not None
    return best[2], losses, len(losses)


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize(("p", "queries"), [(0.8, 40), (0.2, 25), (1.0, 3), (0.5, 1)])
def test_square_is_the_search_of_its_paper(p: float, queries: int, stop: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 7, 3)).double()
    victim = ClassificationVictim(network, loss="margin")
    image = torch.rand(3, 2, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    label = victim.decide(victim.predict(image))
    attack = Square(eps=0.3, queries=queries, p=p, stop_at=1.0 if stop else None)
    found = attack(victim, image, label, seed=[4, 5, 6])
    assert attack.planned_gradients == 0
    for i in range(3):
        best, losses, count = search(victim, image[i : i + 1], int(label[i]), 0.3, queries, 4 + i, p, stop=stop)
        torch.testing.assert_close(found.adversarial[i : i + 1], best)
        assert found.loss_history[:count, i].tolist() == pytest.approx(losses)
        assert found.loss_history[count:, i].tolist() == pytest.approx([losses[-1]] * (len(found.loss_history) - count))
    assert found.cosine.shape == (0, 3)


def test_square_toward_a_target_goes_down() -> None:
    torch.manual_seed(0)
    victim = ClassificationVictim(nn.Sequential(nn.Flatten(), nn.Linear(18, 3)))
    image = torch.rand(2, 1, 18, 1)
    target = (victim.decide(victim.predict(image)) + 1) % 3
    found = Square(eps=0.5, queries=200, targeted=True, stop_at=0.5)(victim, image, target)
    assert found.damage.tolist() == [0.0, 0.0]
    assert bool((found.loss < found.loss_history[0]).all())
    assert len(found.loss_history) < 201


def test_a_result_without_a_name_of_its_own_is_told_of() -> None:
    victim = ClassificationVictim(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    told = PGD(eps=0.1, steps=2)(victim, torch.rand(1, 1, 4), torch.tensor([0]))
    with pytest.warns(DeprecationWarning, match="use zero_gradient_steps"):
        assert torch.equal(told.still_steps, told.zero_gradient_steps)
    assert torch.equal(told.added_damage, told.damage - told.clean_damage)
