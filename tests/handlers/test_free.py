"""Free adversarial training, beside the loop of the paper's Algorithm 1."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from bundles.shipped import CT
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import Tensor, nn

from monai_smia.attacks import PGD
from monai_smia.handlers import AttackHandler, FreeAttackHandler
from monai_smia.targets.ct_lung import ct_datalist, write_ct_phantoms
from monai_smia.victims import SegmentationVictim

CPU = torch.device("cpu")


def batches() -> list[dict[str, Tensor]]:
    drawn = torch.Generator().manual_seed(0)
    return [
        {"image": torch.rand(2, 1, 6, 6, generator=drawn), "label": torch.rand(2, 1, 6, 6, generator=drawn)}
        for _ in range(3)
    ]


def trainer(network: nn.Module, loader: Any, epochs: int = 2) -> SupervisedTrainer:
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    return SupervisedTrainer(CPU, epochs, loader, network, optimizer, nn.MSELoss(), decollate=False)


@pytest.mark.parametrize("step_size", [None, 0.01])
@pytest.mark.parametrize("clip", [(0.0, 1.0), None])
def test_it_is_the_loop_of_the_paper(step_size: float | None, clip: tuple[float, float] | None) -> None:
    """Weights and perturbation after two epochs of three batches, each four times."""
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 1, 1))
    theirs, given = deepcopy(ours), batches()
    handler = FreeAttackHandler(0.05, step_size=step_size, clip=clip)
    engine = trainer(ours, [batch for batch in given for _ in range(4)])
    handler.attach(engine)
    engine.run()

    delta, optimizer = torch.zeros(2, 1, 6, 6), torch.optim.SGD(theirs.parameters(), 0.1)
    for _ in range(2):
        for batch in given:
            for _ in range(4):
                image = batch["image"] + delta
                image = (image.clamp(0, 1) if clip else image).detach().requires_grad_()
                optimizer.zero_grad()
                nn.functional.mse_loss(theirs(image), batch["label"]).backward()
                delta = (delta + (step_size or 0.05) * image.grad.sign()).clamp(-0.05, 0.05)
                optimizer.step()
    assert handler.perturbation is not None
    assert torch.equal(handler.perturbation, delta)
    assert all(torch.equal(*pair) for pair in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(given, batches(), strict=True))  # not written to


def test_the_perturbation_stays_in_its_ball_and_the_image_in_its_range() -> None:
    network = nn.Conv2d(1, 1, 3, padding=1)
    engine, handler = (
        trainer(network, [batch for batch in batches() for _ in range(3)], 1),
        FreeAttackHandler(0.05, step_size=0.2),
    )
    handler.attach(engine)
    seen: list[tuple[float, float, float]] = []

    def look(engine: Any) -> None:
        image = engine.state.batch["image"]
        clean = batches()[(engine.state.iteration - 1) // 3]["image"]
        seen.append((float(image.min()), float(image.max()), float((image - clean).abs().max())))

    engine.add_event_handler(Events.ITERATION_COMPLETED, look)
    engine.run()
    assert len(seen) == 9
    assert seen[0][2] == 0  # begins with none
    assert all(low >= 0 and high <= 1 and change <= 0.05 + 1e-6 for low, high, change in seen)
    assert max(change for *_, change in seen) == pytest.approx(0.05)


def test_another_shape_begins_anew() -> None:
    """A last batch that is smaller takes none of the others' perturbation."""
    small = {name: value[:1] for name, value in batches()[0].items()}
    handler = FreeAttackHandler(0.05)
    given, seen = [batches()[0], small], []
    engine = trainer(nn.Conv2d(1, 1, 3, padding=1), given, epochs=1)
    handler.attach(engine)

    def look(engine: Any) -> None:
        clean = given[engine.state.iteration - 1]["image"]
        seen.append(float((engine.state.batch["image"] - clean).abs().max()))

    engine.add_event_handler(Events.ITERATION_COMPLETED, look)
    engine.run()
    assert handler.perturbation is not None
    assert handler.perturbation.shape == (1, 1, 6, 6)
    assert torch.allclose(handler.perturbation.abs(), torch.full((1, 1, 6, 6), 0.05))  # one step from none
    assert seen == [0.0, 0.0]


@pytest.mark.parametrize(("name", "value"), [("eps", 0.0), ("eps", float("nan")), ("step_size", -1.0)])
def test_a_radius_and_a_step_are_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a finite number > 0"):
        FreeAttackHandler(**{"eps": 0.1, name: value})


@pytest.mark.parametrize("clip", [(1.0, 0.0), (0.5, 0.5)])
def test_a_range_has_two_ends(clip: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="clip must be"):
        FreeAttackHandler(0.1, clip=clip)


def test_what_is_no_image_of_the_batch_is_named() -> None:
    engine = trainer(nn.Conv2d(1, 1, 1), batches())
    FreeAttackHandler(0.05, image_key="scan").attach(engine)
    with pytest.raises(ValueError, match=r"image_key must be a key of the batch, \['image', 'label'\], got 'scan'"):
        engine.run()


def test_an_image_outside_of_its_range_is_refused() -> None:
    """It would be cut off, and the network learn from something else."""
    network, given = nn.Conv2d(1, 1, 1), [{**batches()[0], "image": batches()[0]["image"] * 3 - 1}]
    engine = trainer(network, given)
    FreeAttackHandler(0.05).attach(engine)
    with pytest.raises(ValueError, match="image must lie in clip"):
        engine.run()
    engine = trainer(network, given)
    FreeAttackHandler(0.05, clip=(-1, 2)).attach(engine)
    engine.run()


@pytest.mark.parametrize("free_first", [True, False])
def test_two_attacks_do_not_add_up(free_first: bool) -> None:
    network = nn.Conv2d(1, 1, 1)
    engine, free = trainer(network, batches()), FreeAttackHandler(0.05)
    other = AttackHandler(PGD(eps=0.05), SegmentationVictim(network))
    first, second = (free, other) if free_first else (other, free)
    first.attach(engine)
    first.attach(engine)  # the same once more changes nothing
    with pytest.raises(ValueError, match="engine must have one AttackHandler"):
        second.attach(engine)


def test_the_overlay_of_the_ct_bundle(tmp_path: Any) -> None:
    """Every batch four times, from the shipped weights into a file of its own."""
    phantoms = write_ct_phantoms(tmp_path / "ct", 1, size=(72, 64, 40), spacing=(4.5, 4.5, 7.0), seed=77)
    items = ct_datalist(phantoms, target="lung") * 4
    given = {"patients": [], "phantoms": items, "roi_size": [32, 32, 32], "ckpt_dir": str(tmp_path)}
    flow = CT.workflow("train", "train_free", workflow_type="train", output_dir=str(tmp_path), max_epochs=1, **given)
    shipped = torch.load(CT.root / "models" / "model.pt", weights_only=True)
    network = flow.parser.get_parsed_content("network")
    assert all(torch.equal(value, shipped[name].to(value)) for name, value in network.state_dict().items())
    engine, attack = (flow.parser.get_parsed_content(name) for name in ("train::trainer", "free_attack"))
    flow.run()
    assert engine.state.iteration == 4 * 2
    assert float(attack.perturbation.abs().max()) == pytest.approx(0.03)
    trained = torch.load(tmp_path / "model_free.pt", weights_only=True)
    assert any(not torch.equal(value, shipped[name]) for name, value in trained.items())
