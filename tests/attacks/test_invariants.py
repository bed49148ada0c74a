"""What holds for every attack, rank and task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import ATTACKS, KINDS, RANDOM, SEGMENTATION_ONLY, SUITABLE, assert_untouched, case, snapshot, unsettled
from torch import Tensor, nn

from monai_smia.attacks import FMN, PGD, Attack, Square
from monai_smia.victims import SegmentationVictim, Victim

every_kind = pytest.mark.parametrize(("task", "dims"), KINDS)
every_attack = pytest.mark.parametrize("name", ATTACKS)
every_attack_and_kind = pytest.mark.parametrize(("name", "task", "dims"), SUITABLE)
every_attack_and_task = pytest.mark.parametrize(("name", "task"), list(dict.fromkeys((n, t) for n, t, _ in SUITABLE)))


def perturbation_norms(perturbation: Tensor, norm: str) -> Tensor:
    return torch.linalg.vector_norm(perturbation.flatten(1), float("inf") if norm == "linf" else 2, 1)


@every_attack_and_kind
def test_image_and_network_come_back_untouched(name: str, task: str, dims: int) -> None:
    c = case(task, dims)
    before_image, before_label = c.image.clone(), c.label.clone()
    before = snapshot(unsettled(c.victim.network))
    result = ATTACKS[name]()(c.victim, c.image, c.label)
    assert torch.equal(c.image, before_image)
    assert torch.equal(c.label, before_label)
    assert (c.image.requires_grad, c.image.grad, c.image._version) == (False, None, 0)
    assert_untouched(c.victim.network, before)
    assert not any(t.requires_grad for t in vars(result).values())
    assert result.perturbation.abs().amax() > 0.01


@every_attack
def test_an_image_that_requires_gradients_gets_none(name: str) -> None:
    c = case("segmentation", 2)
    image = c.image.clone().requires_grad_(True)
    result = ATTACKS[name]()(c.victim, image, c.label)
    assert image.grad is None
    assert image.requires_grad
    assert not any(t.requires_grad for t in vars(result).values())


class FailsLater(nn.Module):
    """Raises on its third call."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.calls = network, 0

    def forward(self, image: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise KeyError("the network broke down")
        return self.network(image)


@every_kind
@pytest.mark.parametrize(
    "name", ["bim", "mifgsm", "pgd-restarts", "smia", "apgd", "survival", "fmn", "square", "ensemble"]
)
def test_untouched_after_an_exception(name: str, task: str, dims: int) -> None:
    c = case(task, dims)
    c.victim.network = unsettled(FailsLater(c.victim.network))
    before_image, before = c.image.clone(), snapshot(c.victim.network)
    with pytest.raises(KeyError, match="broke down"):
        ATTACKS[name]()(c.victim, c.image, c.label)
    assert torch.equal(c.image, before_image)
    assert_untouched(c.victim.network, before)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("seed", [5, [3, 1, 4]], ids=["one seed", "seeds"])
@every_attack_and_kind
def test_a_batch_gives_what_its_samples_give(name: str, seed: Any, task: str, dims: int) -> None:
    c = case(task, dims, dtype=torch.float64)
    attack = ATTACKS[name]()
    batch = attack(c.victim, c.image, c.label, seed=seed)
    for i in range(3):
        one = slice(i, i + 1)
        alone = attack(c.victim, c.image[one], c.label[one], seed=seed if isinstance(seed, int) else seed[i : i + 1])
        for field, value in vars(alone).items():
            samples_last = field in ("loss_history", "cosine", "linf", "variance")
            got = vars(batch)[field][:, one] if samples_last else vars(batch)[field][one]
            torch.testing.assert_close(got, value, rtol=1e-9, atol=1e-11, equal_nan=True, msg=f"{field} of sample {i}")


@every_attack_and_task
def test_the_perturbation_obeys_the_threat_model(name: str, task: str) -> None:
    c = case(task, 2, dtype=torch.float64)
    attack = ATTACKS[name](clip=(0.0, 1.0))
    radii = torch.tensor([0.02, 0.0, 0.3], dtype=torch.float64)
    mask = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.4
    result = attack(c.victim, c.image, c.label, eps=radii, mask=mask)
    assert bool((perturbation_norms(result.perturbation, attack.norm) <= radii + 1e-12).all())
    assert float(result.adversarial.min()) >= 0
    assert float(result.adversarial.max()) <= 1
    assert torch.equal(result.adversarial[~mask.expand_as(c.image)], c.image[~mask.expand_as(c.image)])
    assert torch.equal(result.adversarial - c.image, result.perturbation)
    assert bool(((result.adversarial != c.image) & mask)[2].any())


@pytest.mark.parametrize(
    "name", sorted(set(ATTACKS) - {"pgd-restarts", "fmn", "square", "decision", "rays", "vafa", "ensemble"})
)
def test_the_whole_radius_is_used(name: str) -> None:
    """Guards the test above against an attack that does nothing."""
    c = case("segmentation", 2, dtype=torch.float64)
    attack = ATTACKS[name](clip=None, keep="last")
    used = perturbation_norms(attack(c.victim, c.image, c.label).perturbation, attack.norm)
    assert bool((used > 0.9 * attack.eps).all())


@pytest.mark.parametrize("mask_shape", [(8, 8), (1, 8, 8), (2, 1, 1), (3, 1, 1, 1), (1, 2, 8, 1), (3, 2, 8, 8)])
@pytest.mark.parametrize("name", ["bim", "bim-l2", "pgd", "smia", "noise", "apgd-sea", "fmn", "square"])
def test_nothing_changes_off_the_mask(name: str, mask_shape: tuple[int, ...]) -> None:
    c = case("segmentation", 2)
    mask = torch.ones(mask_shape)
    mask.view(-1)[:: 2 if mask.numel() < 8 else 3] = 0
    result = ATTACKS[name]()(c.victim, c.image, c.label, mask=mask)
    outside = (mask == 0).expand_as(c.image)
    assert torch.equal(result.adversarial[outside], c.image[outside])
    assert bool((result.adversarial[~outside] != c.image[~outside]).any())


@pytest.mark.parametrize(
    "name", ["fgsm", "bim", "bim-l2", "pgd", "smia", "apgd-sea", "apgd-l2", "fmn", "square", "ensemble"]
)
def test_eps_of_one_call(name: str) -> None:
    c = case("classification", 2, dtype=torch.float64)
    radii = torch.tensor([0.01, 0.05, 0.2], dtype=torch.float64)
    attack = ATTACKS[name]()
    batch = attack(c.victim, c.image, c.label, eps=radii)
    for i, eps in enumerate(radii.tolist()):
        alone = attack(c.victim, c.image[i : i + 1], c.label[i : i + 1], eps=eps)
        torch.testing.assert_close(batch.adversarial[i : i + 1], alone.adversarial, rtol=1e-9, atol=1e-11)


# APGD's larger balls, random transforms, a mean over degradations, a norm, a search, coefficients, a choice: each has
# its own test
SEARCHES = ("square", "decision", "rays")
COMPARED_OTHERWISE = ("apgd-sea", "difgsm", "survival", "fmn", *SEARCHES, "low-frequency", "ensemble")


def record_iterates(victim: Victim) -> list[Tensor]:
    """Every image that the attack scores, in order."""
    seen: list[Tensor] = []
    scored: list[Tensor] = []
    predict, checked_loss = victim.predict, victim.checked_loss

    def recording_predict(image: Tensor) -> Tensor:
        seen.append(image.detach().clone())
        seen_predictions.append(predict(image))
        return seen_predictions[-1]

    def recording_loss(prediction: Tensor, label: Tensor) -> Tensor:
        scored.extend(seen[i] for i, p in enumerate(seen_predictions) if p is prediction)
        return checked_loss(prediction, label)

    seen_predictions: list[Tensor] = []
    victim.predict, victim.checked_loss = recording_predict, recording_loss  # type: ignore[method-assign]
    return scored


@pytest.mark.filterwarnings("ignore:the gradient of the deviation loss is exactly zero")  # at the target from the start
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("name", "task", "dims"), [s for s in SUITABLE if s[0] not in COMPARED_OTHERWISE])
def test_no_iterate_did_more_damage_than_the_one_returned(name: str, targeted: bool, task: str, dims: int) -> None:
    c, fresh = case(task, dims), case(task, dims).victim
    scored = record_iterates(c.victim)
    attack = ATTACKS[name](targeted=targeted)
    result = attack(c.victim, c.image, c.label)
    steps = attack.steps + 1  # type: ignore[attr-defined]
    assert len(scored) == steps * getattr(attack, "restarts", 1)
    sign = -1 if targeted else 1
    with torch.no_grad():
        worth = [(sign * fresh.damage(p, c.label), sign * fresh.loss(p, c.label)) for p in map(fresh.predict, scored)]
    for i in range(len(c.image)):
        best = max(range(len(scored)), key=lambda n: (float(worth[n][0][i]), float(worth[n][1][i])))
        assert torch.equal(result.adversarial[i], scored[best][i])
        torch.testing.assert_close(result.damage[i].double(), sign * worth[best][0][i].double())
        torch.testing.assert_close(result.loss[i], sign * worth[best][1][i])


def test_best_prefers_damage_to_loss() -> None:
    """Two steps away from the truth: the loss goes on rising where the decision is right again."""

    class Network(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            x = image.mean((1, 2, 3))  # at 0.5 right; 0.6 to 0.7 wrong, small loss; beyond right, large loss
            wrong = torch.where((x > 0.55) & (x < 0.75), 1.0, -1.0)
            return torch.stack([torch.zeros_like(x), wrong + 0 * x], 1) + 0 * image.sum()

    from monai_smia.attacks import BIM
    from monai_smia.victims import ClassificationVictim

    network = Network()
    victim = ClassificationVictim(network, loss=lambda p, y: 10 * images[-1].mean((1, 2, 3)))
    images: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, inputs: images.append(inputs[0]))
    image = torch.full((1, 1, 4, 4), 0.5)
    result = BIM(eps=0.4, steps=3, step_size=0.15)(victim, image, torch.tensor([0]))
    assert bool((result.loss_history.diff(dim=0) > 0).all())
    torch.testing.assert_close(result.adversarial, image + 0.15)
    assert (result.damage.item(), result.loss.item()) == (1.0, pytest.approx(6.5))


@every_attack_and_task
def test_the_same_seed_gives_the_same_bits(name: str, task: str) -> None:
    c = case(task, 3)
    results = [ATTACKS[name](seed=seed)(c.victim, c.image, c.label) for seed in (7, 7, 8)]
    for field, value in vars(results[0]).items():
        assert torch.equal(value.nan_to_num(), vars(results[1])[field].nan_to_num()), field
    if name != "apgd-sea":  # whose larger balls may lead every start to the same corner
        assert torch.equal(results[0].adversarial, results[2].adversarial) != (name in RANDOM)


def test_random_draws_leave_the_global_generator_alone() -> None:
    c = case("classification", 2)
    state = torch.get_rng_state()
    ATTACKS["pgd"]()(c.victim, c.image, c.label)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@every_attack
def test_inside_no_grad_and_inference_mode(name: str, context: Any) -> None:
    expected_case = case("segmentation", 2)
    attack: Attack = ATTACKS[name]()
    expected = attack(expected_case.victim, expected_case.image, expected_case.label)
    with context():
        c = case("segmentation", 2)  # the image and the label are born here too
        c.victim = SegmentationVictim(expected_case.victim.network)
        result = attack(c.victim, c.image, c.label, mask=torch.ones(8, 8), eps=torch.full((3,), attack.eps))
    torch.testing.assert_close(result.adversarial, expected.adversarial)


@pytest.mark.parametrize("name", SEGMENTATION_ONLY)
def test_segmentation_attacks_say_what_they_need(name: str) -> None:
    c = case("classification", 2)
    with pytest.raises(ValueError, match=r"victim must be a SegmentationVictim for .*, got ClassificationVictim"):
        ATTACKS[name]()(c.victim, c.image, c.label)


@pytest.mark.parametrize(
    "attack", [PGD(eps=0.05, steps=6), FMN(eps=0.2, steps=6), Square(eps=0.05, queries=6)], ids=lambda a: a.name
)
def test_histories_have_a_row_for_every_iterate(attack: Attack) -> None:
    c = case("segmentation", 2)
    result = attack(c.victim, c.image, c.label)
    assert {name: len(getattr(result, name)) for name in ("loss_history", "linf", "variance")} == {
        "loss_history": 7,
        "linf": 7,
        "variance": 7,
    }
    assert len(result.cosine) == (0 if attack.name == "Square" else 5)
