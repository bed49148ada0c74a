from __future__ import annotations

import ast
import importlib
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from evaluation.test_resume import quick
from evaluation.test_runner import write_case
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_smia.data import write_ct_phantoms
from monai_smia.evaluation.tracking import tracked_metrics
from monai_smia.evidence import verify
from monai_smia.records import SummaryRow

BUNDLE = Path(__file__).parents[2] / "bundles" / "ct_lung_segmentation"
BLOCK, WHOLE, LAST = 1 << 15, 1, 4  # of LevelDB's logs
DOCUMENT = Path(__file__).parents[2] / "docs" / "evaluation.md"


class Recorder:
    """What an experiment tracker sees, and which cases the journal held when it saw it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.metrics: dict[str, float] = {}
        self.epochs: list[tuple[int, dict[str, float]]] = []
        self.told: list[str] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, lambda: self.told.append("started"))
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, lambda: self.told.append("completed"))
        engine.add_event_handler(Events.EXCEPTION_RAISED, lambda error: self.told.append(str(error)))

    def __call__(self, engine: Engine) -> None:
        self.metrics = dict(engine.state.metrics)
        self.epochs.append((engine.state.epoch, self.metrics))
        if self.folder is not None:
            journal = (self.folder / "journal" / "rank0.jsonl").read_text().splitlines()
            cases = dict.fromkeys(json.loads(line)["case"] for line in journal)
            self.told.append(f"{'.'.join(cases)} {'whole' if (self.folder / 'summary.json').exists() else 'running'}")


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


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run attack_eval --tracking mlflow` of the bundle, with MONAI's own settings."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow, which is not installed")
    data = write_ct_phantoms(tmp_path / "ct", 1, size=(48, 48, 32), spacing=(5.0, 5.0, 6.0), seed=5)
    out, config = tmp_path / "out", BUNDLE / "configs" / "attack_eval.yaml"
    options = {"bundle_root": str(BUNDLE), "dataset_dir": str(data), "split": None, "output_dir": f"$'{out}'"}
    options["evaluation::attacks"] = "$@attacks[:2]"  # Clean, Noise
    flow = ConfigWorkflow(
        str(config), workflow_type="infer", run_id="attack_eval", tracking="mlflow", logging_file=False, **options
    )
    flow.initialize()
    flow.run()
    rows = json.loads((out / "summary.json").read_text())["rows"]
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{out / 'mlruns.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("monai_experiment").experiment_id])
    assert run.info.status == "FINISHED"
    final = {name: value for name, value in run.data.metrics.items() if not name.startswith("cases/")}
    assert final == pytest.approx(tracked_metrics([SummaryRow.from_json(row) for row in rows]))
    assert [m.step for m in client.get_metric_history(run.info.run_id, "cases/number")] == [1]
    assert [m.step for m in client.get_metric_history(run.info.run_id, "Clean_computed/jaccard")] == [2]
    assert verify(out, rows=0).differences == []  # the tracker's own files are none of the evidence
    assert len(rows) == 3
    (artifact,) = client.list_artifacts(run.info.run_id)  # the configuration as it was run
    assert artifact.path.startswith("config_")


def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of docs/evaluation.md, and what lies in the file that `wandb sync` would send."""
    wandb = pytest.importorskip("wandb", reason="needs wandb, which is not installed")
    line = re.search(r'--handlers "(\[.*WandBLogger.*\])"', DOCUMENT.read_text(encoding="utf-8"))
    assert line is not None
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    parser = ConfigParser({"handlers": ast.literal_eval(line[1])})
    handlers = parser.get_parsed_content("handlers")
    summary = quick([write_case(tmp_path, "a")], tmp_path / "out", handlers=handlers).run()
    assert wandb.run.settings.mode == "offline"
    wandb.finish()
    wandb.teardown()  # the process that writes the file has ended
    (file,) = Path("wandb").glob("offline-run-*/*.wandb")
    expected = tracked_metrics([SummaryRow.from_json(row) for row in summary["rows"]])
    found = logged(file)
    assert found.pop("robustness/cases/number") == 1.0
    assert found.pop("robustness/cases/SMIA_equal-radius_0.05_stored/jaccard") == pytest.approx(
        expected["SMIA_equal-radius_0.05_stored/jaccard"]  # of the only case
    )
    final = {name: value for name, value in found.items() if not name.startswith("robustness/cases/")}
    assert final == pytest.approx({f"robustness/{name}": value for name, value in expected.items()})


def logged(file: Path) -> dict[str, float]:
    """The metrics in a file of Weights & Biases: records of protobuf in a log of LevelDB, behind seven bytes."""
    record = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    data, place, part, found = file.read_bytes(), 7, b"", {}
    while place + 7 <= len(data):
        if place % BLOCK > BLOCK - 7:  # too little for a header
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (WHOLE, LAST):
            for item in record.FromString(part).history.item:
                found["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
            part = b""
    return {name: value for name, value in found.items() if not name.startswith("_")}


def test_tensorboard(tmp_path: Path) -> None:
    """MONAI's handler, and what TensorBoard reads of it."""
    reason = "needs tensorboard, which is not installed"
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=reason)
    from monai.handlers import TensorBoardStatsHandler

    handler = TensorBoardStatsHandler(log_dir=str(tmp_path / "events"), iteration_log=False)
    summary = quick([write_case(tmp_path, "a")], tmp_path / "out", handlers=[handler]).run()
    handler.close()
    read = events.EventAccumulator(str(tmp_path / "events"))
    read.Reload()
    found = {tag: read.Scalars(tag)[-1].value for tag in read.Tags()["scalars"]}
    assert [each.step for each in read.Scalars("cases/number")] == [1]
    assert [each.step for each in read.Scalars("Clean_computed/jaccard")] == [2]
    found = {tag: value for tag, value in found.items() if not tag.startswith("cases/")}
    assert found == pytest.approx(tracked_metrics([SummaryRow.from_json(row) for row in summary["rows"]]), rel=1e-6)
