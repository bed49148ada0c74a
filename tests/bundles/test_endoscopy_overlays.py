"""The overlay of the endoscopy bundle's attack_eval for the paper's tables."""

from __future__ import annotations

from pathlib import Path

from monai.bundle import ConfigParser

BUNDLE = Path(__file__).parents[2] / "bundles" / "endoscopic_artefact_detection"


def test_the_papers_tables(tmp_path: Path) -> None:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / f"{name}.yaml") for name in ("attack_eval", "paper_tables")])
    parser.update({"bundle_root": str(BUNDLE), "output_dir": str(tmp_path), "frame_count": 1})
    evaluation = parser.get_parsed_content("evaluation")
    assert (evaluation.storage, evaluation.figure) == (None, None)
    names = {(row.name, row.setting, row.eps) for row in evaluation.attacks}
    assert {("DAG", "equal radius", 0.01), ("SMIA", "25 iterations", 0.01), ("PGD", "paper", 0.1)} <= names
