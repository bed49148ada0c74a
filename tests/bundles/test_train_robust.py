"""Adversarial training of the bundles: overlays on their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles.shipped import CT, ENDOSCOPY, FUNDUS, Shipped
from ignite.engine import Engine, Events
from PIL import Image

from monai_smia.targets.ct_lung import ct_datalist, write_ct_phantoms
from monai_smia.targets.endoscopy import write_artefact_frames, write_polyp_frames
from monai_smia.targets.fundus import write_fundus_phantoms


def ct(folder: Path) -> dict[str, Any]:
    phantoms = write_ct_phantoms(folder / "ct", 1, size=(72, 64, 40), spacing=(4.5, 4.5, 7.0), seed=77)
    items = ct_datalist(phantoms, target="lung") * 4
    return {"patients": [], "phantoms": items, "roi_size": [32, 32, 32], "ckpt_dir": str(folder)}


def fundus(folder: Path) -> dict[str, Any]:
    eyes = write_fundus_phantoms(folder / "eyes", 1, grades=[0], size=128, seed=77)
    return {"phantom_dir": str(eyes), "ckpt_dir": str(folder), "epoch_draws": 4}


def polyps(folder: Path) -> dict[str, Any]:
    frames = write_polyp_frames(folder / "frames", 4, size=(128, 96), seed=77)
    small = {"frame_size": [128, 96], "attack_start": 2 / 255}
    return {"dataset_dir": str(frames), "split": None, "weights": str(folder / "model_robust.pt"), **small}


def polyps_from_nothing(folder: Path) -> dict[str, Any]:
    given = {name: value for name, value in polyps(folder).items() if name != "attack_start"}
    return {**given, "initial_weights": None}


def artefacts(folder: Path) -> dict[str, Any]:
    frames = write_artefact_frames(folder / "frames", 4, seed=77)
    return {"dataset_dir": str(frames), "split": None, "weights": str(folder / "model_robust.pt")}


ARTEFACTS = ("artefacts", "train_artefacts", "train_robust_artefacts")


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize(
    ("bundle", "data", "overlays", "start", "radii"),
    [
        (CT, ct, (), "model", (0.03, 0.03)),
        (FUNDUS, fundus, (), "model", (0.004, 0.02)),  # it grows
        (ENDOSCOPY, polyps, (), "model", (2 / 255, 2 / 255)),
        (ENDOSCOPY, artefacts, ARTEFACTS, "model_artefacts", (0.01, 0.01)),
    ],
)
def test_the_overlay_trains_on_attacked_batches_from_the_shipped_weights(
    tmp_path: Path, bundle: Shipped, data: Any, overlays: Sequence[str], start: str, radii: Any, every: int
) -> None:
    flow = bundle.workflow(
        "train",
        "train_robust",
        *overlays,
        workflow_type="train",
        output_dir=str(tmp_path),
        batch_size=2,
        max_epochs=1,
        attack_every=every,
        **data(tmp_path),
    )
    shipped = torch.load(bundle.root / "models" / f"{start}.pt", weights_only=True)
    network = flow.parser.get_parsed_content("network")
    assert all(torch.equal(value, shipped[name].to(value)) for name, value in network.state_dict().items())
    trainer = flow.parser.get_parsed_content("train::trainer")
    seen: list[float | None] = []

    def look(engine: Engine) -> None:
        result = engine.state.attack_result  # type: ignore[attr-defined]
        seen.append(None if result is None else float(result.perturbation.abs().max()))
        if result is not None:  # what the network learns from is the attacked image
            batch = engine.state.batch  # MONAI may have taken it apart
            image = batch["image"] if isinstance(batch, Mapping) else torch.stack([item["image"] for item in batch])
            assert torch.equal(image, result.adversarial)  # type: ignore[attr-defined]
        assert network.training

    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    flow.run()
    assert [value is not None for value in seen] == [every == 1, True]
    assert all(value is None or 0.5 * eps < value <= eps + 1e-6 for value, eps in zip(seen, radii, strict=True))
    trained = torch.load(tmp_path / "model_robust.pt", weights_only=True)
    assert any(not torch.equal(value, shipped[name]) for name, value in trained.items())


def test_polyps_are_attacked_within_a_radius_that_grows(tmp_path: Path) -> None:
    """Every second batch, from a quarter of a grey level to two; the backbone learns from its stem on."""
    lines = [f"{name}.png,train,polyp,10,20,60,60" for name in "abcd"]
    for name in "abcd":
        Image.new("RGB", (128, 64), (150, 80, 60)).save(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text("\n".join(["file,split,class,x1,y1,x2,y2", *lines]) + "\n")
    written = tmp_path / "model_robust.pt"
    options = {"dataset_dir": str(tmp_path), "output_dir": str(tmp_path / "out"), "weights": str(written)}
    options |= {"batch_size": 2, "max_epochs": 4, "frame_size": [128, 64]}
    flow = ENDOSCOPY.workflow("train", "train_robust", workflow_type="train", **options)
    shipped = torch.load(ENDOSCOPY.root / "models" / "model.pt", weights_only=True)
    network = flow.parser.get_parsed_content("network")
    assert all(torch.equal(value, shipped[name].to(value)) for name, value in network.state_dict().items())
    levels: list[float | None] = []

    def look(engine: Engine) -> None:
        result = engine.state.attack_result  # type: ignore[attr-defined]
        levels.append(None if result is None else 255 * float(result.perturbation.abs().max()))

    flow.parser.get_parsed_content("train::trainer").add_event_handler(Events.ITERATION_COMPLETED, look)
    flow.run()
    assert levels[::2] == [None] * 4
    assert levels[1::2] == pytest.approx([0.25 + 1.75 / 4, 0.25 + 3 * 1.75 / 4, 2.0, 2.0], rel=0.01)
    trained = torch.load(written, weights_only=True)
    stem = "feature_extractor.body._conv_stem.weight"
    assert trained[stem].dtype == torch.float16
    assert not torch.equal(trained[stem], shipped[stem])
    assert all(torch.equal(trained[name], shipped[name]) for name in shipped if "body" in name and "running" in name)


@pytest.mark.parametrize(
    ("bundle", "data", "told"),
    [
        (CT, ct, "weights are not finite after training, so not written: "),
        (FUNDUS, fundus, "weights are not finite after training, so not written: "),
        (ENDOSCOPY, polyps_from_nothing, "cls_logits is NaN or Inf"),  # MONAI says it
    ],
)
def test_weights_that_are_not_finite_are_not_written(tmp_path: Path, bundle: Shipped, data: Any, told: str) -> None:
    options = {"output_dir": str(tmp_path), "batch_size": 2, "max_epochs": 1, "learning_rate": 1e30, **data(tmp_path)}
    flow = bundle.workflow("train", workflow_type="train", **options)
    with pytest.raises(RuntimeError) as caught:
        flow.run()
    assert told in str(caught.value.__cause__)
    assert not list(tmp_path.glob("*.pt"))


@pytest.mark.parametrize("autocast", ["bfloat16", None])
def test_the_ct_network_learns_in_the_precision_that_is_asked_for(tmp_path: Path, autocast: str | None) -> None:
    options = {"output_dir": str(tmp_path), "autocast": autocast, **ct(tmp_path)}
    parser = CT.parser("train", "train_robust", "train_robust_shifts", **options)
    network, trainer, attacks = map(parser.get_parsed_content, ("network", "train::trainer", "inner_attacks"))
    image = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        assert torch.equal(trainer.network.eval()(image), network.eval()(image)) == (autocast is None)
    assert all((attack.autocast is None) == (autocast is None) for attack in attacks)


def test_shifts_take_turns_with_pgd(tmp_path: Path) -> None:
    """Every second batch keeps to PGD's ball; the others are shifted farther, and are what the network learns from."""
    overlays = ("train_robust", "train_robust_shifts")
    options = {"workflow_type": "train", "output_dir": str(tmp_path), "max_epochs": 1, **ct(tmp_path)}
    flow = CT.workflow("train", *overlays, **options)
    trainer = flow.parser.get_parsed_content("train::trainer")
    names: list[str] = []
    sizes: list[float] = []

    def look(engine: Engine) -> None:
        result = engine.state.attack_result  # type: ignore[attr-defined]
        names.append(type(result).__name__)
        sizes.append(float(result.perturbation.abs().max()))

    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    flow.run()
    assert names == ["AttackResult", "ShiftResult"]
    assert sizes[0] <= 0.03 + 1e-6 < sizes[1]
    assert (tmp_path / "model_robust_shifts.pt").is_file()
    assert not (tmp_path / "model_robust.pt").exists()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *[("attack_eps", value, "a finite number > 0") for value in (-0.01, 0, float("nan"), [0.01, 0.02])],
        *[("attack_every", value, "a whole number >= 1") for value in (0, -1, 1.5, [1])],
        ("attack_steps", 0, "a whole number >= 1"),
        ("seed", [0, 1], "a whole number >= 0"),
    ],
)
@pytest.mark.parametrize("bundle", [CT, FUNDUS, ENDOSCOPY], ids=lambda bundle: bundle.name)
def test_an_argument_that_is_none_ends_the_run_before_anything_is_read(
    bundle: Shipped, name: str, value: Any, allowed: str, tmp_path: Path
) -> None:
    options = {name: value, "output_dir": str(tmp_path / "out")}
    with pytest.raises(RuntimeError, match="check_number") as caught:
        bundle.workflow("train", "train_robust", workflow_type="train", **options)
    assert str(caught.value.__cause__) == f"{name} must be {allowed}, got {value!r}."
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fold", ["abc", "", 1.5, 9, [0], -1, True])
def test_a_fold_is_one_of_five(fold: Any, tmp_path: Path) -> None:
    options = {"fold": fold, "output_dir": str(tmp_path / "out"), "dataset_dir": "gone"}
    with pytest.raises(RuntimeError, match="check_number") as caught:
        FUNDUS.workflow("train", workflow_type="train", **options)
    assert str(caught.value.__cause__) == f"fold must be None or a whole number from 0 to 4, got {fold!r}."
    assert not (tmp_path / "out").exists()
