"""The overlays of the endoscopy bundle's attack_eval: the paper's tables, several processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles.shipped import ENDOSCOPY
from monai.bundle import ConfigParser


def parsed(overlay: str, folder: Path, *further: str) -> ConfigParser:
    return ENDOSCOPY.parser("attack_eval", *further, overlay, output_dir=str(folder), frame_count=1)


def test_the_papers_tables(tmp_path: Path) -> None:
    evaluation = parsed("paper_tables", tmp_path).get_parsed_content("evaluation")
    assert (evaluation.storage, evaluation.figure) == (None, None)
    names = {(row.name, row.key().setting_label, row.eps) for row in evaluation.attacks}
    assert {("DAG", "equal radius", 0.01), ("SMIA", "25 iterations", 0.01), ("PGD", "paper", 0.11)} <= names


@pytest.mark.parametrize("further", [(), ("artefacts",)], ids=["polyps", "artefacts"])
def test_several_processes(tmp_path: Path, further: tuple[str, ...]) -> None:
    parser = parsed("multi_gpu_attack_eval", tmp_path, *further)
    assert "one_rank_only" in parser["drawn"]  # the others wait for the first one's frames
    (case,) = parser.get_parsed_content("evaluation").cases
    assert Path(case["image"]).parent == tmp_path / "cases" / "0"
    assert case["synthetic"]
    checked, first, *others = parser["initialize"]
    assert "idist.initialize" in first
    assert [checked, *others] == ENDOSCOPY.parser("attack_eval")["initialize"]
