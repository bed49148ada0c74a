from __future__ import annotations

import pytest
import torch
from helpers import case

from monai_smia.attacks import APGD, PGD
from monai_smia.evaluation import standard_attack


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
    with pytest.raises(ValueError, match=r"task must be one of .* got 'regression'"):
        standard_attack("regression", eps=0.1)
