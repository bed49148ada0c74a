"""The overlays of the endoscopy bundle's attack_eval: the paper's tables, several processes."""

from __future__ import annotations

from pathlib import Path

from monai.bundle import ConfigParser

BUNDLE = Path(__file__).parents[2] / "bundles" / "endoscopic_artefact_detection"


def parsed(overlay: str, folder: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / f"{name}.yaml") for name in ("attack_eval", overlay)])
    parser.update({"bundle_root": str(BUNDLE), "output_dir": str(folder), "frame_count": 1})
    return parser


def test_the_papers_tables(tmp_path: Path) -> None:
    evaluation = parsed("paper_tables", tmp_path).get_parsed_content("evaluation")
    assert (evaluation.storage, evaluation.figure) == (None, None)
    names = {(row.name, row.setting, row.eps) for row in evaluation.attacks}
    assert {("DAG", "equal radius", 0.01), ("SMIA", "25 iterations", 0.01), ("PGD", "paper", 0.1)} <= names


def test_several_processes(tmp_path: Path) -> None:
    parser = parsed("multi_gpu_attack_eval", tmp_path)
    assert "one_rank_only" in parser["drawn"]  # the others wait for the first one's frames
    (case,) = parser.get_parsed_content("evaluation").cases
    assert Path(case["image"]).parent == tmp_path / "cases" / "0"
    base = ConfigParser()
    base.read_config(str(BUNDLE / "configs" / "attack_eval.yaml"))
    assert parser["initialize"][1:] == base["initialize"]
