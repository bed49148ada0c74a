from __future__ import annotations

import pytest
import torch
from helpers import case

from monai_smia.attacks import APGD, PGD
from monai_smia.evaluation import paper_comparison, preset_plan, standard_attack


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("task", "dims"), [("classification", 2), ("segmentation", 2), ("segmentation", 3)])
def test_it_is_at_least_as_strong_as_what_it_replaces(task: str, dims: int, norm: str) -> None:
    c = case(task, dims, dtype=torch.float64, batch=4)
    eps = (0.1 if norm == "linf" else 0.8) if task == "classification" else (0.03 if norm == "linf" else 0.4)
    worst = standard_attack(task, eps=eps, norm=norm, steps=20)(c.victim, c.image, c.label)
    radius = torch.linalg.vector_norm(worst.perturbation.flatten(1), torch.inf if norm == "linf" else 2, 1)
    assert bool((radius <= eps + 1e-12).all())
    for other in (PGD(eps=eps, norm=norm, steps=20), APGD(eps=eps, norm=norm, steps=20)):
        assert float(worst.damage.mean()) >= float(other(c.victim, c.image, c.label).damage.mean()) - 1e-12
    with torch.no_grad():
        told = c.victim.damage(c.victim.predict(worst.adversarial), c.label)
    torch.testing.assert_close(worst.damage, told.double())


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ValueError, match=r"task must be one of .* got 'registration'"):
        standard_attack("registration", eps=0.1)


@pytest.mark.parametrize("task", ["classification", "segmentation", "detection"])
@pytest.mark.parametrize(("preset", "gradients"), [("quick", 20), ("standard", 100), ("thorough", 400)])
def test_a_plan_by_name(preset: str, gradients: int, task: str) -> None:
    plan = preset_plan(preset, task, [0.05, 0.1], unit_scale=1 / 1400, clip=(-1024, 3071))
    assert len({row.slug for row in plan}) == len(plan)
    assert {row.attack.eps for row in plan if row.attack is not None} == {70.0, 140.0}
    assert max(row.attack.planned_gradients for row in plan if row.name == "APGD" and row.attack) == gradients
    assert {"Clean", "Noise", "APGD", "SMIA"} <= {row.name for row in plan}


def test_papers_plan_and_what_is_no_preset() -> None:
    plan = preset_plan("paper", "segmentation", 0.05, steps=3, stronger_loss="soft_jaccard", stop_at=1.0)
    expected = paper_comparison(0.05, steps=3, stronger_loss="soft_jaccard", stop_at=1.0, clip=(0.0, 1.0), seed=0)
    assert [repr(row) for row in plan] == [repr(row) for row in expected]
    with pytest.raises(ValueError, match=r"preset must be one of .*'thorough'.* got 'best'"):
        preset_plan("best", "segmentation", 0.05)
    with pytest.raises(ValueError, match="gradients is of the other presets"):
        preset_plan("paper", "segmentation", 0.05, gradients=10)
