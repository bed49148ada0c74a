"""Makes docs/overview.png, the picture of the README: a synthetic CT under PGD and SMIA, at twice the bundle's eps.

python docs/overview.py
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from monai.bundle import ConfigParser

from monai_smia.attacks import PGD, SMIA
from monai_smia.evaluation.plan import EQUAL_RADIUS, PlannedAttack
from monai_smia.report.figures import Panel, segmentation_figure


def main() -> None:
    """Attack one phantom twice and draw it."""
    docs = Path(__file__).parent
    bundle = docs.parent / "bundles" / "ct_lung_segmentation"
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "attack_eval.yaml")
    with TemporaryDirectory() as folder:
        parser.update({"bundle_root": str(bundle), "output_dir": folder})
        network = parser.get_parsed_content("network")
        network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
        victim = parser.get_parsed_content("victim")
        case = parser.get_parsed_content("evaluation").load(parser.get_parsed_content("datalist")[0])
    image, label = case.image, case.label
    panels = []
    for loss, attack_class in (("soft_jaccard", PGD), (None, SMIA)):
        attack = attack_class(eps=140.0, steps=10, clip=(-1024.0, 3071.0), loss=loss)
        adversarial = attack(victim, image, label).adversarial
        decision = victim.decide(victim.infer(adversarial))
        panels.append(Panel(PlannedAttack(attack, 0.1, EQUAL_RADIUS).key("HU"), adversarial[0], decision[0]))
    segmentation_figure(docs / "overview.png", image[0], label[0], victim.decide(victim.infer(image))[0], panels, "HU")


if __name__ == "__main__":
    main()
