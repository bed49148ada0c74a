"""A new task is one victim and one metric: landmarks of an image, attacked and evaluated with what is there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, ScaleIntensityRange
from torch import Tensor, nn

from monai_smia.attacks import APGD, BIM, FMN, MIFGSM, PGD, SMIA, Attack, Ensemble, Noise, Square, Transfer
from monai_smia.evaluation import AttackEvaluation, paper_comparison
from monai_smia.metrics import CaseMetrics
from monai_smia.victims import Choice, Victim

SIZE = 12


def squared_error(output: None, prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square().sum(1)


@dataclass(kw_only=True, eq=False)
class LandmarkVictim(Victim):
    """Predicts the coordinates of n landmarks ``(B, 2 * n)``; the label has the same shape."""

    losses = divergences = {"squared_error": squared_error}
    tolerance: float = 1.0  # pixels
    loss: Choice = Choice("squared_error")
    divergence: Choice = Choice("squared_error")

    def decide(self, prediction: Tensor) -> Tensor:
        return prediction.detach().unflatten(1, (-1, 2))

    def damage(self, prediction: Tensor, label: Tensor) -> Tensor:
        return (self.decide(prediction - label).norm(dim=2) > self.tolerance).float().mean(1)

    def check_label(self, prediction: Tensor, label: Tensor) -> None:
        if prediction.shape != label.shape:
            raise ValueError(f"label must hold {tuple(prediction.shape)} coordinates, got {tuple(label.shape)}.")


class LandmarkMetrics(CaseMetrics):
    """Mean distance of the landmarks in pixels."""

    primary, higher_is_better = "distance", False

    def case(self, victim: Any, prediction: Tensor, label: Tensor, image: Tensor) -> dict[str, Any]:
        return {"distance": float(victim.decide(prediction - label).norm(dim=2).mean())}


class CentersOfMass(nn.Module):
    """The landmark of every channel: its center of mass."""

    def forward(self, image: Tensor) -> Tensor:
        places = torch.arange(SIZE, dtype=image.dtype)
        weight = image / image.sum((2, 3), keepdim=True)
        return torch.stack([(weight.sum(3) * places).sum(2), (weight.sum(2) * places).sum(2)], 2).flatten(1)


def batch() -> tuple[Tensor, Tensor]:
    """Two images of two blobs each, and where the blobs are."""
    label = torch.tensor([[3.0, 4.0, 8.0, 7.0], [6.0, 5.0, 4.0, 8.0]])
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    distance = [((rows - y) ** 2 + (columns - x) ** 2) / 2 for y, x in label.reshape(-1, 2).tolist()]
    return torch.stack(distance).neg().exp().reshape(2, 2, SIZE, SIZE) * 0.9 + 0.001, label


ATTACKS: list[Attack] = [
    BIM(eps=0.1, steps=5),
    MIFGSM(eps=0.1, steps=5),
    PGD(eps=0.1, steps=5, restarts=2),
    SMIA(eps=0.1, steps=5),
    APGD(eps=0.1, steps=6),
    FMN(eps=0.1, steps=6, success=1.0),
    Square(eps=0.1, queries=100),
    Ensemble(attacks=[PGD(eps=0.1, steps=3), BIM(eps=0.1, steps=3)]),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attacks_find_it(attack: Attack) -> None:
    victim, (image, label) = LandmarkVictim(CentersOfMass()), batch()
    assert not victim.damage(victim.predict(image), label).any()
    result = attack(victim, image, label)
    assert bool((result.perturbation.abs() <= 0.1 + 1e-6).all())
    assert bool((result.loss > 4).all())  # pixels squared
    assert bool((result.damage >= 0.5).all())
    assert torch.equal(victim.damage(victim.predict(result.adversarial), label), result.damage)
    transferred = Transfer(attack=attack, surrogate=victim)(victim, image, label)
    assert torch.equal(transferred.damage, result.damage)


def test_more_than_noise_does() -> None:
    victim, (image, label) = LandmarkVictim(CentersOfMass()), batch()
    noise, pgd = (attack(victim, image, label) for attack in (Noise(eps=0.03), PGD(eps=0.03, steps=10)))
    assert bool((pgd.loss > 2 * noise.loss).all())
    assert bool((pgd.damage >= noise.damage).all())


def test_a_label_that_does_not_fit_is_refused() -> None:
    victim, (image, label) = LandmarkVictim(CentersOfMass()), batch()
    with pytest.raises(ValueError, match=r"label must hold \(2, 4\) coordinates, got \(2, 2\)"):
        PGD(eps=0.1, steps=2)(victim, image, label[:, :2])


def test_its_own_arguments_are_replaced_like_any_other() -> None:
    victim, (image, label) = LandmarkVictim(CentersOfMass()), batch()
    moved = label + 1.5
    assert victim.damage(victim.predict(image), moved).tolist() == [1, 1]
    assert replace(victim, tolerance=3.0).damage(victim.predict(image), moved).tolist() == [0, 0]


@pytest.mark.parametrize("in_grey_levels", [False, True])
def test_evaluated_with_its_metric(tmp_path: Path, in_grey_levels: bool) -> None:
    image, label = batch()
    scale = 255.0 if in_grey_levels else 1.0
    window = Compose([ScaleIntensityRange(0, 255, 0, 1)]) if in_grey_levels else None
    victim = LandmarkVictim(CentersOfMass(), preprocessing=window)
    cases = [{"case": str(number), "image": number, "label": number} for number in range(2)]
    evaluation = AttackEvaluation(
        cases=cases,
        loading=lambda item: {"image": MetaTensor(image[item["image"]] * scale), "label": label[item["label"]]},
        victim=victim,
        attacks=paper_comparison(0.1 * scale, steps=5, clip=(0.0, scale), extra=[APGD]),
        metrics=LandmarkMetrics(),
        output_dir=tmp_path,
        progress=False,
    )
    rows = {row["attack"]: row for row in evaluation.run()["rows"]}
    assert rows["Clean"]["distance"] < 0.5 < rows["Noise"]["distance"] < rows["PGD"]["distance"]
    for name in ("BIM", "SMIA", "APGD"):
        assert rows[name]["distance"] > rows["Clean"]["distance"] + 1
    assert "distance" in (tmp_path / "report.html").read_text()
