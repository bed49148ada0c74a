"""Image and label pass the same gate whichever way they come: transform, handler, engine, evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, ScaleIntensityRange, Spacing
from torch import Tensor, nn

from monai_smia.attacks import BIM
from monai_smia.engines import AttackEvaluator
from monai_smia.evaluation import AttackEvaluation, paper_comparison
from monai_smia.handlers import AttackHandler
from monai_smia.metrics import SegmentationMetrics
from monai_smia.transforms import ApplyAttack, ApplyAttackd
from monai_smia.victims import SegmentationVictim


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("way", ["array", "dictionary", "handler", "engine", "evaluation"])
class TestEveryWayIn:
    """Whichever way image and label come, they pass the same gate."""

    def use(self, way: str, victim: SegmentationVictim, image: Tensor, label: Tensor, folder: Path) -> None:
        attack, device = BIM(eps=0.1, steps=1), torch.device("cpu")
        if way == "array":
            ApplyAttack(attack, victim)(image, label)
        elif way == "dictionary":
            ApplyAttackd("image", attack, victim)({"image": image, "label": label})
        elif way == "evaluation":
            AttackEvaluation(
                cases=[{"case": "a", "image": "a", "label": "a"}],
                loading=lambda item: {"image": image, "label": label},
                victim=victim,
                attacks=paper_comparison(0.1, steps=1),
                metrics=SegmentationMetrics(2),
                output_dir=folder,
                progress=False,
            ).run()
        else:
            loader = [{"image": image[None], "label": label[None]}]
            if way == "engine":
                AttackEvaluator(device, loader, victim.network, attack=attack, victim=victim).run()
            else:
                evaluator = SupervisedEvaluator(device, loader, victim.network)
                AttackHandler(attack, victim).attach(evaluator)
                evaluator.run()

    def victim(self, held: bool, transform: Any) -> SegmentationVictim:
        return SegmentationVictim(nn.Conv3d(1, 2, 3, padding=1), preprocessing=Compose([transform]) if held else None)

    @pytest.mark.parametrize("cut", [6, 1])
    def test_a_label_of_another_shape(self, way: str, held: bool, cut: int, tmp_path: Path) -> None:
        image = torch.rand(1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
        victim = self.victim(held, ScaleIntensityRange(0, 1, 0, 1))
        self.use(way, victim, image, (image > 0.5).long(), tmp_path / "good")
        with pytest.raises((ValueError, RuntimeError), match=rf"12, 12, 12\).*12, 12, {cut}\)"):
            self.use(way, victim, image, (image > 0.5).long()[..., :cut], tmp_path / "bad")

    def test_a_spacing_that_is_not_known(self, way: str, held: bool, tmp_path: Path) -> None:
        image = torch.rand(1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
        victim, label = self.victim(held, Spacing((2.0, 2.0, 2.0))), (image > 0.5).long()
        if not held:
            self.use(way, victim, image, label, tmp_path)
            return
        with pytest.raises((ValueError, RuntimeError), match=r"must be a MetaTensor with its affine: .*Spacing"):
            self.use(way, victim, image, label, tmp_path)
