"""The overlays of the fundus bundle's attack_eval: the paper's tables, several processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles.shipped import FUNDUS
from monai.bundle import ConfigParser

from monai_smia.targets.fundus import write_fundus_phantoms


def parsed(overlay: str, folder: Path) -> ConfigParser:
    eyes = write_fundus_phantoms(folder / "eyes", 1, grades=[0], size=96, seed=1)
    parser = FUNDUS.parser("attack_eval", overlay, output_dir=str(folder), dataset_dir=str(eyes), split=None)
    parser.parse()
    return parser


def test_the_papers_tables(tmp_path: Path) -> None:
    evaluation = parsed("paper_tables", tmp_path).get_parsed_content("evaluation")
    assert (evaluation.storage, evaluation.figure) == (None, None)
    names = {(row.name, row.key().setting_label, row.eps) for row in evaluation.attacks}
    assert {("DeepFool", "equal radius", 5e-5), ("SMIA", "25 iterations", 5e-5), ("SMIA", "alpha 1.25", 5e-5)} <= names
    paper = next(row.attack for row in evaluation.attacks if (row.name, row.setting) == ("SMIA", "paper"))
    assert (paper.step_size, paper.eps) == (pytest.approx(0.01275), pytest.approx(0.1275))  # grey levels


def test_several_processes(tmp_path: Path) -> None:
    parser = parsed("multi_gpu_attack_eval", tmp_path)
    assert len(parser.get_parsed_content("evaluation").cases) == 1
    checked, first, *others = parser["initialize"]
    assert "idist.initialize" in first
    assert [checked, *others] == FUNDUS.parser("attack_eval")["initialize"]
