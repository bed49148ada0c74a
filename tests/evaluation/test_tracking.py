from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evaluation.test_resume import quick
from evaluation.test_runner import write_case
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow

BUNDLE = Path(__file__).parents[2] / "bundles" / "ct_lung_segmentation"


class Recorder:
    """What an experiment tracker sees."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        self.metrics = dict(engine.state.metrics)


def test_handlers_get_the_figures_of_the_summary(tmp_path: Path) -> None:
    recorder = Recorder()
    summary = quick([write_case(tmp_path, "a")], tmp_path / "out", handlers=[recorder]).run()
    row = next(r for r in summary["rows"] if (r["attack"], r["stage"]) == ("SMIA", "stored"))
    assert recorder.metrics["SMIA_equal-radius_0.05_stored/jaccard"] == row["jaccard"]
    assert all(
        name.replace("/", "").replace("_", "").replace(".", "").replace("-", "").isalnum() for name in recorder.metrics
    )


def test_monai_adds_its_tracker_to_attack_eval(tmp_path: Path) -> None:
    """`--tracking` with MONAI's own settings, whose handler needs mlflow, replaced by one that does not."""
    settings: dict[str, Any] = {
        "handlers_id": {"evaluator": {"id": "evaluator", "handlers": "handlers"}},
        "configs": {"evaluator": {"_target_": "evaluation.test_tracking.Recorder"}},
    }
    flow = ConfigWorkflow(
        str(BUNDLE / "configs" / "attack_eval.yaml"),
        workflow_type="infer",
        tracking=settings,
        bundle_root=str(BUNDLE),
        output_dir=str(tmp_path),
    )
    (handler,) = flow.parser.get_parsed_content("evaluation").handlers
    assert type(handler).__name__ == "Recorder"


def test_mlflow(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    from monai.handlers import MLFlowHandler

    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    handler = MLFlowHandler(tracking_uri=uri, experiment_name="attack", iteration_log=False, close_on_complete=True)
    summary = quick([write_case(tmp_path, "a")], tmp_path / "out", handlers=[handler]).run()
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("attack").experiment_id])
    clean = next(r for r in summary["rows"] if r["attack"] == "Clean")
    assert run.data.metrics["Clean_computed/jaccard"] == clean["jaccard"]
