"""An existing MONAI engine, attacked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import Case, assert_untouched, case, network, snapshot
from ignite.engine import Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice, StatsHandler, from_engine
from monai.inferers import SlidingWindowInferer
from monai.metrics import compute_dice
from monai.networks.utils import one_hot
from monai.transforms import AsDiscreted, Compose
from torch import Tensor
from torch.nn import functional as F

from monai_smia.attacks import BIM, PGD
from monai_smia.handlers import AttackHandler
from monai_smia.victims import SegmentationVictim

CPU = torch.device("cpu")


def items(c: Case) -> list[dict[str, Tensor]]:
    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0], dtype=torch.float64))
    return [
        {"image": MetaTensor(x, affine=affine), "label": MetaTensor(y, affine=affine)}
        for x, y in zip(c.image, c.label, strict=True)
    ]


def loader(c: Case, batch_size: int = 1) -> DataLoader:
    return DataLoader(Dataset(items(c)), batch_size=batch_size, num_workers=0)


def evaluator(c: Case, data: Any = None, **options: Any) -> SupervisedEvaluator:
    return SupervisedEvaluator(CPU, loader(c) if data is None else data, c.victim.network, **options)


def record(engine: Any, what: Callable[[Any], Any], event: Any = Events.ITERATION_COMPLETED) -> list[Any]:
    seen: list[Any] = []
    engine.add_event_handler(event, lambda e: seen.append(what(e)))
    return seen


def test_every_batch_is_attacked() -> None:
    """The network sees exactly what the attack gives for the same seed; affine and network stay."""
    c = case("segmentation", 2)
    before = snapshot(c.victim.network)
    engine, attack = evaluator(c), BIM(eps=0.05, steps=3)
    AttackHandler(attack, c.victim).attach(engine)
    outputs = record(engine, lambda e: e.state.output[0])
    results = record(engine, lambda e: e.state.attack_result)
    engine.run()
    expected = [attack(c.victim, x[None], y[None]) for x, y in zip(c.image, c.label, strict=True)]
    assert len(outputs) == 3
    for output, result, wanted, item in zip(outputs, results, expected, items(c), strict=True):
        assert torch.equal(output["image"].as_tensor(), wanted.adversarial[0])
        assert torch.equal(output["perturbation"].as_tensor(), wanted.perturbation[0])
        assert torch.equal(result.damage, wanted.damage)
        assert torch.equal(output["image"].affine, item["image"].affine)
        assert torch.equal(output["pred"].as_tensor(), c.victim.infer(wanted.adversarial)[0])
    assert_untouched(c.victim.network, before)


def test_metrics_and_postprocessing_see_the_attacked_image(caplog: pytest.LogCaptureFixture) -> None:
    c = case("segmentation", 3, batch=4)
    post = Compose([AsDiscreted("pred", argmax=True, to_onehot=3), AsDiscreted("label", to_onehot=3)])

    def dice(attacked: bool) -> float:
        metric = MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))
        engine = evaluator(c, loader(c, 2), postprocessing=post, key_val_metric={"dice": metric})
        StatsHandler(name="stats", output_transform=lambda x: None).attach(engine)
        if attacked:
            AttackHandler(BIM(eps=0.3, steps=3), c.victim).attach(engine)
        with caplog.at_level("INFO"):
            engine.run()
        return engine.state.metrics["dice"]

    adversarial = torch.cat(
        [BIM(eps=0.3, steps=3)(c.victim, c.image[i:j], c.label[i:j]).adversarial for i, j in ((0, 2), (2, 4))]
    )
    decided = c.victim.decide(c.victim.infer(adversarial))
    expected = compute_dice(one_hot(decided, 3), one_hot(c.label, 3), include_background=False).nanmean(1).mean()
    assert dice(attacked=False) == pytest.approx(1.0)
    assert dice(attacked=True) == pytest.approx(float(expected), abs=1e-5)
    assert dice(attacked=True) < 0.9


def test_an_iteration_that_is_not_attacked_reports_no_perturbation() -> None:
    c = case("segmentation", 2, batch=5)
    engine = evaluator(c)
    AttackHandler(BIM(eps=0.05), c.victim).attach(engine, Events.ITERATION_STARTED(every=2))
    seen = record(engine, lambda e: ("perturbation" in e.state.output[0], e.state.attack_result is not None))
    images = record(engine, lambda e: e.state.output[0]["image"].as_tensor())
    engine.run()
    assert seen == [(False, False), (True, True), (False, False), (True, True), (False, False)]
    assert [torch.equal(a, b) for a, b in zip(images, c.image, strict=True)] == [True, False, True, False, True]


@pytest.mark.parametrize("event", [Events.ITERATION_STARTED, Events.ITERATION_STARTED(every=2)])
def test_attaching_twice_changes_nothing(event: Any) -> None:
    c = case("segmentation", 2, batch=2)
    calls: list[int] = []

    class Counted(BIM):
        def run(self, *args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return super().run(*args, **kwargs)

    engine, handler = evaluator(c), AttackHandler(Counted(eps=0.05, steps=1), c.victim)
    handler.attach(engine, event)
    handler.attach(engine, event)
    engine.run()
    assert len(calls) == (2 if event is Events.ITERATION_STARTED else 1)


def test_every_iteration_and_sample_draws_anew() -> None:
    """Four times the same image, in two batches of two, twice over."""
    c = case("segmentation", 2, batch=1)
    c.image, c.label = c.image.repeat(4, 1, 1, 1), c.label.repeat(4, 1, 1, 1)

    def perturbations(seed: int) -> list[Tensor]:
        engine = evaluator(c, loader(c, 2))
        AttackHandler(PGD(eps=0.05, steps=0, seed=seed), c.victim).attach(engine)
        seen = record(engine, lambda e: [o["perturbation"].as_tensor() for o in e.state.output])
        engine.run()
        engine.run()
        return [p for batch in seen for p in batch]

    first, again, other = perturbations(0), perturbations(0), perturbations(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert len({tuple(p.flatten().tolist()) for p in first[:4]}) == 4


@pytest.mark.parametrize("make", [tuple, list])
def test_batches_of_two_tensors(make: type) -> None:
    c = case("segmentation", 2)
    engine = evaluator(c, [make([c.image, c.label])], decollate=False)
    AttackHandler(BIM(eps=0.05), c.victim).attach(engine)
    batches = record(engine, lambda e: e.state.batch, Events.ITERATION_COMPLETED)
    engine.run()
    expected = BIM(eps=0.05)(c.victim, c.image, c.label).adversarial
    assert torch.equal(engine.state.output["image"], expected)
    assert type(batches[0]) is make
    assert torch.equal(batches[0][1], c.label)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_inside_no_grad_and_inference_mode(context: Any) -> None:
    c = case("segmentation", 2)
    expected = BIM(eps=0.05)(c.victim, c.image, c.label).adversarial
    with context():
        batch = {"image": c.image.clone(), "label": c.label.clone()}
        engine = evaluator(c, [batch], decollate=False)
        AttackHandler(BIM(eps=0.05), c.victim).attach(engine)
        engine.run()
    assert torch.equal(engine.state.output["image"], expected)


def test_mask() -> None:
    c = case("segmentation", 2)
    mask = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5
    engine = evaluator(c, [{"image": c.image, "label": c.label, "roi": mask}], decollate=False)
    AttackHandler(BIM(eps=0.05), c.victim, mask_key="roi").attach(engine)
    engine.run()
    changed = engine.state.output["perturbation"] != 0
    assert not (changed & ~mask).any()
    assert (changed & mask).any()


@pytest.mark.parametrize(
    ("batch", "options", "message"),
    [
        (lambda c: {"image": c.image}, {}, "must hold a label"),
        (
            lambda c: {"image": c.image, "label": c.label},
            {"image_key": "scan"},
            r"image_key must be a key .* got 'scan'",
        ),
        (
            lambda c: {"image": c.image, "label": c.label, "scan": c.image[..., :4]},
            {"image_key": "scan"},
            r"\(3, 2, 8, 4\), must be what prepare_batch hands to the network, \(3, 2, 8, 8\)",
        ),
    ],
)
def test_batches_that_cannot_be_attacked(batch: Any, options: dict[str, Any], message: str) -> None:
    c = case("segmentation", 2)
    engine = evaluator(c, [batch(c)])
    AttackHandler(BIM(eps=0.05), c.victim, **options).attach(engine)
    with pytest.raises(ValueError, match=message):
        engine.run()


def test_a_larger_image_through_the_sliding_window_of_the_engine() -> None:
    c = case("segmentation", 2, size=12)
    inferer = SlidingWindowInferer((8, 8), 2, 0.5)
    engine = evaluator(c, inferer=inferer)
    AttackHandler(BIM(eps=0.05), SegmentationVictim(c.victim.network, inferer=inferer)).attach(engine)
    engine.run()
    assert engine.state.attack_result.damage.item() > 0
    assert engine.state.output[0]["image"].shape == (2, 12, 12)


class TestTrainer:
    """Adversarial training: the handler on a SupervisedTrainer."""

    @staticmethod
    def train(net: torch.nn.Module, c: Case, attack: Any) -> SupervisedTrainer:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        trainer = SupervisedTrainer(
            CPU,
            2,
            [{"image": c.image, "label": c.label}],
            net,
            optimizer,
            lambda p, y: F.cross_entropy(p, y[:, 0]),
            decollate=False,
        )
        if attack is not None:
            AttackHandler(attack, SegmentationVictim(net)).attach(trainer)
        return trainer

    def test_steps_are_those_of_adversarial_training(self) -> None:
        c, attack = case("segmentation", 2), BIM(eps=0.1, steps=3)
        net, twin = (self.without_dropout() for _ in range(2))
        trainer = self.train(net, c, attack)
        modes = record(trainer, lambda e: e.network.training)
        trainer.run()
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
        for _ in range(2):
            adversarial = attack(SegmentationVictim(twin), c.image, c.label).adversarial
            twin.train()
            optimizer.zero_grad()
            F.cross_entropy(twin(adversarial), c.label[:, 0]).backward()
            optimizer.step()
        for ours, theirs in zip(net.state_dict().values(), twin.state_dict().values(), strict=True):
            torch.testing.assert_close(ours, theirs)
        assert modes == [True, True]
        assert all(p.requires_grad for p in net.parameters())

    def test_differs_from_clean_training(self) -> None:
        c = case("segmentation", 2)
        nets = [self.without_dropout() for _ in range(2)]
        for net, attack in zip(nets, (None, BIM(eps=0.1)), strict=True):
            self.train(net, c, attack).run()
        assert not torch.equal(*(net[0].weight for net in nets))  # type: ignore[index]

    @staticmethod
    def without_dropout() -> torch.nn.Module:
        net = network("segmentation", 2)
        net[3] = torch.nn.Identity()  # type: ignore[operator]
        return net


@pytest.mark.parametrize("every", [1, 2, 3])
def test_every_so_many_iterations_and_with_a_label_of_another_form(every: int) -> None:
    """One-hot labels for the trainer's loss, class numbers for the victim."""
    net = torch.nn.Conv2d(1, 2, 3, padding=1)
    generator = torch.Generator().manual_seed(0)
    batches = [
        {
            "image": torch.rand(1, 1, 8, 8, generator=generator),
            "label": torch.nn.functional.one_hot(torch.randint(0, 2, (1, 8, 8), generator=generator)).movedim(-1, 1),
        }
        for _ in range(6)
    ]
    evaluator = SupervisedEvaluator(torch.device("cpu"), batches, net, decollate=False)
    handler = AttackHandler(
        PGD(eps=0.1, steps=1), SegmentationVictim(net), every=every, label_transform=lambda y: y.argmax(1, keepdim=True)
    )
    handler.attach(evaluator)
    attacked = []
    evaluator.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: attacked.append(engine.state.attack_result is not None)
    )
    evaluator.run()
    assert attacked == [(iteration + 1) % every == 0 for iteration in range(6)]


def test_bad_every() -> None:
    with pytest.raises(ValueError, match="every must be a whole number >= 1, got 0"):
        AttackHandler(PGD(eps=0.1), SegmentationVictim(torch.nn.Conv2d(1, 2, 1)), every=0)
