from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import Case, assert_untouched, case, network, snapshot, unsettled
from torch import Tensor, nn

from monai_smia.attacks import DeepFool
from monai_smia.victims import ClassificationVictim


def linear(classes: int = 5, size: int = 6, *, seed: int = 0, **options: Any) -> tuple[ClassificationVictim, Tensor]:
    """A linear classifier and a batch; nothing is clipped, so that the optimum has a closed form."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(size**2, classes)).double()
        return ClassificationVictim(net, **options), torch.rand(8, 1, size, size, dtype=torch.float64)


def minimal_norms(victim: ClassificationVictim, image: Tensor, label: Tensor, dual: float) -> Tensor:
    """Distance to the nearest hyperplane f_k = f_y (Moosavi-Dezfooli et al., Eq. 8): |f_k - f_y| over the dual norm."""
    layer: Any = victim.network[1]  # type: ignore[index]
    logits = victim.predict(image).detach()
    norms = []
    for z, y in zip(logits, label, strict=True):
        others = [k for k in range(len(z)) if k != y]
        norms.append(
            min(float((z[y] - z[k]) / (layer.weight[y] - layer.weight[k]).detach().norm(p=dual)) for k in others)
        )
    return torch.tensor(norms, dtype=torch.float64)


@pytest.mark.parametrize(("norm", "order", "dual"), [("l2", 2.0, 2.0), ("linf", float("inf"), 1.0)])
@pytest.mark.parametrize("overshoot", [0.001, 0.02, 0.3])
def test_minimal_perturbation_of_a_linear_classifier(norm: str, order: float, dual: float, overshoot: float) -> None:
    victim, image = linear()
    label = victim.decide(victim.predict(image))
    result = DeepFool(norm=norm, overshoot=overshoot, clip=None)(victim, image, label)
    found = result.perturbation.flatten(1).norm(p=order, dim=1)
    torch.testing.assert_close(found, (1 + overshoot) * minimal_norms(victim, image, label, dual), rtol=1e-9, atol=0)
    assert result.damage.tolist() == [1.0] * 8
    assert result.gradients.tolist() == [4] * 8  # one step of four candidates


def test_minimal_perturbation_of_an_ordinal_classifier() -> None:
    """The nearest threshold, whatever the grade."""
    weight = torch.tensor([3.0, 0, 0, 4.0], dtype=torch.float64)
    thresholds = torch.tensor([-2.0, 0.0, 1.0, 3.0], dtype=torch.float64)

    class Grader(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return (image.flatten(1) @ weight)[:, None] - thresholds

    victim = ClassificationVictim(Grader(), activation="ordinal")
    scores = torch.tensor([-2.5, -0.1, 0.2, 0.9, 2.0, 5.0], dtype=torch.float64)
    image = (scores[:, None] * weight / 25).view(6, 1, 2, 2)
    label = victim.decide(victim.predict(image))
    assert label.tolist() == [0, 1, 2, 2, 3, 4]
    result = DeepFool(overshoot=0.01, clip=None)(victim, image, label)
    nearest = (scores[:, None] - thresholds).abs().amin(1)
    torch.testing.assert_close(result.perturbation.flatten(1).norm(dim=1), 1.01 * nearest / 5)
    assert victim.decide(victim.predict(result.adversarial)).tolist() == [1, 2, 1, 3, 2, 3]


def test_a_single_logit() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    net[1].weight.data.copy_(torch.tensor([[3.0, 0, 4.0, 0]]))
    image = torch.full((2, 1, 2, 2), 0.5) * torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    victim = ClassificationVictim(net, activation="sigmoid")
    result = DeepFool(overshoot=0.1, clip=None)(victim, image, torch.tensor([1, 0]))
    torch.testing.assert_close(result.perturbation.flatten(1).norm(dim=1), torch.full((2,), 1.1 * 0.7))


def cnn(**options: Any) -> Case:
    return case("classification", 2, batch=6, dtype=torch.float64, **options)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_batch_gives_what_its_samples_give(norm: str) -> None:
    c = cnn()
    attack = DeepFool(norm=norm)
    batch = attack(c.victim, c.image, c.label)
    if norm == "l2":
        assert len(set(batch.gradients.tolist())) > 1, "samples must leave at different steps to prove anything"
    for i in range(6):
        alone = attack(c.victim, c.image[i : i + 1], c.label[i : i + 1])
        torch.testing.assert_close(batch.adversarial[i : i + 1], alone.adversarial, rtol=1e-9, atol=1e-11)
        assert batch.gradients[i] == alone.gradients[0]


def test_one_forward_a_step_and_one_backward_a_candidate_for_the_whole_batch() -> None:
    c = cnn()
    forwards, backwards = [], []
    c.victim.network.register_forward_hook(lambda _, inputs, output: forwards.append(len(inputs[0])))
    c.victim.network[0].register_full_backward_hook(lambda *_: backwards.append(1))  # type: ignore[index]
    result = DeepFool()(c.victim, c.image, c.label)
    steps = int(result.gradients.max()) // 2  # three classes: two candidates beside the truth
    assert len(forwards) == steps + 1
    assert len(backwards) == 2 * steps
    assert sum(forwards) == int((result.gradients // 2 + 1).sum())  # who is done leaves the batch


@pytest.mark.parametrize(("norm", "order"), [("l2", 2.0), ("linf", float("inf"))])
def test_the_ball_bounds_it(norm: str, order: float) -> None:
    c = cnn()
    free = DeepFool(norm=norm)(c.victim, c.image, c.label).perturbation.flatten(1).norm(p=order, dim=1)
    eps = 1.1 * float(free.median())
    result = DeepFool(norm=norm, eps=eps)(c.victim, c.image, c.label)
    size = result.perturbation.flatten(1).norm(p=order, dim=1)
    assert bool((size <= eps + 1e-12).all())
    assert result.damage[free <= eps / 1.09].tolist() == [1.0] * int((free <= eps / 1.09).sum())
    assert bool((result.damage == 0).any()), "some must be out of reach to prove anything"
    assert bool((result.loss > result.loss_history[0]).all())
    assert bool(((result.adversarial >= 0) & (result.adversarial <= 1)).all())


def test_what_is_wrong_already_is_left_alone() -> None:
    c = cnn()
    label = c.label.clone()
    label[2] = (label[2] + 1) % 3
    result = DeepFool()(c.victim, c.image, label)
    assert torch.equal(result.adversarial[2], c.image[2])
    assert result.gradients[2] == 0
    assert bool((result.gradients[[0, 1, 3, 4, 5]] > 0).all())


def test_nothing_changes_off_the_mask() -> None:
    c = cnn()
    mask = torch.zeros(8, 8)
    mask[:, :5] = 1
    result = DeepFool(clip=None)(c.victim, c.image, c.label, mask=mask)
    assert not result.perturbation[..., 5:].any()
    assert result.damage.tolist() == [1.0] * 6


def test_candidates_are_the_closest_scores() -> None:
    victim, image = linear()
    prediction = victim.predict(image).detach()
    two = DeepFool(candidates=2, clip=None)(victim, image, prediction.argmax(1))
    decided = victim.decide(victim.predict(two.adversarial))
    assert torch.equal(decided, prediction.argsort(1, descending=True)[:, 1])
    assert two.gradients.tolist() == [1] * 8


def test_image_and_network_come_back_untouched() -> None:
    c = cnn()
    before_image, before = c.image.clone(), snapshot(unsettled(c.victim.network))
    result = DeepFool()(c.victim, c.image, c.label)
    assert not any(t.requires_grad for t in vars(result).values())
    assert torch.equal(c.image, before_image)
    assert_untouched(c.victim.network, before)


@pytest.mark.parametrize("dark", [0.0, 0.6])
def test_not_larger_than_foolbox(dark: float) -> None:
    """Also where many pixels stand at the end of the range, as in digits, which cuts every step short."""
    foolbox = pytest.importorskip("foolbox", reason="parity needs foolbox: pip install foolbox")
    net = network("classification", 2, channels=3, classes=6, size=16).eval()
    victim = ClassificationVictim(net)
    image = (torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - dark).clamp_min(0)
    label = victim.decide(victim.predict(image))
    peer = foolbox.attacks.L2DeepFoolAttack(steps=50, candidates=6, overshoot=0.02)
    _, theirs, success = peer(foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu"), image, label, epsilons=None)
    ours = DeepFool(steps=50, candidates=6, overshoot=0.02)(victim, image, label)
    both = success & (ours.damage == 1)
    assert both.sum() >= 12
    assert int((ours.damage == 1).sum()) >= int(success.sum())
    norms = ours.perturbation.flatten(1).norm(dim=1), (theirs - image).flatten(1).norm(dim=1)
    assert float((norms[0] / norms[1])[both].mean()) <= 1.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"overshoot": -0.1}, "overshoot must be .* got -0.1"),
        ({"candidates": 1}, "candidates must be .* got 1"),
        ({"eps": -1.0}, "eps must be .* got -1"),
        ({"targeted": True}, "targeted must be False for DeepFool"),
        ({"random_start": True}, "random_start must be False for DeepFool"),
        ({"step_size": 0.1}, "step_size must be None for DeepFool"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeepFool(**arguments)


def test_a_segmenter_and_several_labels_are_refused() -> None:
    c = case("segmentation", 2)
    with pytest.raises(ValueError, match="victim must be a ClassificationVictim for DeepFool, got SegmentationVictim"):
        DeepFool()(c.victim, c.image, c.label)
    several = case("classification", 2, activation="sigmoid")
    with pytest.raises(ValueError, match="one class must be decided for: activation='sigmoid' has 3 labels"):
        DeepFool()(several.victim, several.image, several.label)


def test_only_attacks_that_minimize_go_without_a_radius() -> None:
    from monai_smia.attacks import BIM

    with pytest.raises(ValueError, match="eps must be a finite number >= 0 for BIM, got None"):
        BIM(eps=None)  # type: ignore[arg-type]
