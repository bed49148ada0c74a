"""Adversarial training of the CT bundle: an overlay on its training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.transforms import Compose

from monai_smia.attacks import PGD
from monai_smia.data import ct_datalist, write_ct_phantoms
from monai_smia.handlers import AttackHandler
from monai_smia.victims import SegmentationVictim

BUNDLE = Path(__file__).parents[2] / "bundles" / "ct_lung_segmentation"


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ct_phantoms(tmp_path_factory.mktemp("ct"), 1, size=(72, 64, 40), spacing=(4.5, 4.5, 7.0), seed=77)


@pytest.mark.parametrize("every", [1, 2])
def test_the_overlay_trains_on_attacked_batches_from_the_shipped_weights(
    tmp_path: Path, phantoms: Path, every: int
) -> None:
    items = ct_datalist(phantoms, target="lung")
    flow = ConfigWorkflow(
        [str(BUNDLE / "configs" / f"{name}.yaml") for name in ("train", "train_robust")],
        workflow_type="train",
        bundle_root=str(BUNDLE),
        output_dir=str(tmp_path),
        ckpt_dir=str(tmp_path),
        patients=[],
        phantoms=items * 4,
        roi_size=[32, 32, 32],
        max_epochs=1,
        attack_every=every,
    )
    flow.initialize()
    shipped = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    network = flow.parser.get_parsed_content("network")
    assert all(torch.equal(value, shipped[name]) for name, value in network.state_dict().items())
    trainer = flow.parser.get_parsed_content("train::trainer")
    seen: list[float | None] = []

    def look(engine: object) -> None:
        result = engine.state.attack_result  # type: ignore[attr-defined]
        seen.append(None if result is None else float(result.perturbation.abs().max()))
        if result is not None:  # what the network learns from is the attacked image
            assert torch.equal(engine.state.batch[0]["image"], result.adversarial[0])  # type: ignore[attr-defined]
        assert network.training

    trainer.add_event_handler(Events.ITERATION_COMPLETED, look)
    flow.run()
    assert [value is not None for value in seen] == [every == 1, True]
    assert all(value is None or 0.02 < value <= 0.03 + 1e-6 for value in seen)
    trained = torch.load(tmp_path / "model_robust.pt", weights_only=True)
    assert any(not torch.equal(value, shipped[name]) for name, value in trained.items())
    assert trainer.has_event_handler(
        next(h for h in flow.parser.get_parsed_content("train::handlers") if isinstance(h, AttackHandler))
    )


@pytest.mark.slow
def test_the_robust_weights_stand_where_the_standard_ones_fall(shared_data: Callable[[str], Path]) -> None:
    """A cube of 96 voxels of the held-out patient, 42 HU, on the network's grid."""
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "attack_eval.yaml")
    parser.update({"bundle_root": str(BUNDLE), "dataset_dir": str(shared_data("ct")), "space": "network"})
    case = Compose([*parser.get_parsed_content("load"), *parser.get_parsed_content("preprocess")])(
        parser.get_parsed_content("datalist")[0]
    )
    image, label = (case[key].as_tensor()[None] for key in ("image", "label"))
    place = [slice(None), slice(None)]
    for axis, size in zip(label[0, 0].nonzero().T, label.shape[2:], strict=True):
        start = max(0, min(int(axis.float().mean()) - 48, size - 96))
        place.append(slice(start, start + 96))
    image, label = image[tuple(place)].clone(), label[tuple(place)].clone()
    network = parser.get_parsed_content("network")
    victim = SegmentationVictim(network)
    jaccard = {}
    for name in ("model", "model_robust"):
        network.load_state_dict(torch.load(BUNDLE / "models" / f"{name}.pt", weights_only=True))
        attack = PGD(eps=0.03, steps=20, loss="soft_jaccard", autocast="bfloat16", progress=False)
        attacked = victim.infer(attack(victim, image, label).adversarial)
        jaccard[name] = [1 - float(victim.damage(seen, label)) for seen in (victim.infer(image), attacked)]
    assert jaccard["model"][1] < 0.5
    assert jaccard["model_robust"][1] >= 0.8
    assert jaccard["model_robust"][0] >= jaccard["model"][0] - 0.05
