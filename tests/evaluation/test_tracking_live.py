"""A tracker sees every case when it ends, whatever becomes of the tracker, the case or the run."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path

import pytest
from evaluation.test_resume import quick
from evaluation.test_runner import write_case
from evaluation.test_tracking import Recorder, logged
from ignite.engine import Engine, Events
from model_files import Dark, script
from monai.handlers import StatsHandler
from product_helpers import cases

from monai_smia.cli import main
from monai_smia.evaluation.errors import FailedCasesError
from monai_smia.evidence import verify


def of_cases(folder: Path) -> dict[str, dict[str, float]]:
    """The metrics that a tracker is to see of every case, by the records."""
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    found: dict[str, dict[str, float]] = {}
    for record in records:
        radius = "_equal-radius_0.05" if record["attack"] != "Clean" else ""
        name = f"cases/{record['attack']}{radius}_{record['stage']}/jaccard"
        found.setdefault(record["case"], {})[name] = record["jaccard"]
    return found


def jaccards(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.endswith("/jaccard")}


def three(folder: Path) -> list[dict[str, str]]:
    shift = iter((0, 20, 40))
    return [write_case(folder, name, lambda image, label: image.__iadd__(next(shift))) for name in "abc"]


def test_every_case_is_seen_when_it_ends(tmp_path: Path) -> None:
    out = tmp_path / "out"
    recorder = Recorder(out)
    quick(three(tmp_path), out, handlers=[recorder]).run()
    assert recorder.told == ["started", "a running", "a.b running", "a.b.c running", "a.b.c whole", "completed"]
    assert [epoch for epoch, _ in recorder.epochs] == [1, 2, 3, 4]
    found = of_cases(out)
    for number, ((_, metrics), case) in enumerate(zip(recorder.epochs[:3], "abc", strict=True), 1):
        assert metrics["cases/number"] == number
        assert jaccards(metrics) == found[case]
        assert len(found[case]) == 7  # three attacks as computed and stored, and the clean row
        assert metrics["cases/BIM_equal-radius_0.05_computed/gradients"] == 2
    assert not any(name.startswith("cases/") for name in recorder.metrics)
    (mean,) = {
        name: value for name, value in recorder.metrics.items() if name == "BIM_equal-radius_0.05_stored/jaccard"
    }
    values = [found[case][f"cases/{mean}"] for case in "abc"]
    assert recorder.metrics[mean] == pytest.approx(sum(values) / 3, abs=1e-12)


def test_a_run_that_goes_on_gives_every_case_once(tmp_path: Path) -> None:
    """The first case was done, of the second two rows."""
    out, cases, first = tmp_path / "out", three(tmp_path), Recorder()

    class Stopped(KeyboardInterrupt):
        pass

    def stop(engine: Engine) -> None:
        if engine.state.epoch == 2:
            raise Stopped("here")

    first.attach, attach = (
        lambda engine: (attach(engine), engine.add_event_handler(Events.EPOCH_COMPLETED, stop)),
        first.attach,
    )  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        quick(cases, out, handlers=[first]).run()
    assert first.told[0] == "started"
    assert "here" in first.told[1] or "Interrupted" in first.told[1]
    journal = out / "journal" / "rank0.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:6]))
    recorder = Recorder()
    quick(cases, out, handlers=[recorder]).run()
    found = of_cases(out)
    seen = [(metrics.get("cases/number"), jaccards(metrics)) for _, metrics in recorder.epochs[:-1]]
    assert [number for number, _ in seen] == [1, 2, 2, 3]
    assert seen[0][1] == found["a"]
    assert len(seen[1][1]) == 3
    assert seen[1][1] | seen[2][1] == found["b"]
    assert seen[3][1] == found["c"]


def test_a_case_that_fails_is_not_seen(tmp_path: Path) -> None:
    cases = three(tmp_path)
    Path(cases[1]["image"]).write_bytes(b"no image")
    recorder = Recorder()
    with pytest.raises(FailedCasesError):
        quick(cases, tmp_path / "out", handlers=[recorder]).run()
    assert [metrics.get("cases/number") for _, metrics in recorder.epochs] == [1, 3, None]
    assert recorder.told == ["started", "completed"]


class Broken(Recorder):
    """A tracker whose server is gone at a certain epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def __call__(self, engine: Engine) -> None:
        super().__call__(engine)
        if engine.state.epoch == self.epoch:
            raise ConnectionError("nobody answers")


@pytest.mark.parametrize("epoch", [1, 4])
def test_a_tracker_that_is_gone_ends_the_tracking_alone(
    epoch: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken(epoch)
    summary = quick(three(tmp_path), tmp_path / "out", handlers=[broken]).run()
    assert (summary["evaluated"], len(broken.epochs)) == (3, epoch)
    assert broken.told == ["started"]
    said = [r.message for r in caplog.records if "Tracking ended" in r.message]
    assert said == ["Tracking ended, the evaluation goes on: a handler raised ConnectionError: nobody answers"]
    assert (tmp_path / "out" / "report.html").is_file()


KINDS = {"mlflow": "mlruns.db", "tensorboard": "events/events.out*", "wandb": "wandb/offline-run-*/*.wandb"}


@pytest.mark.parametrize("name", KINDS)
def test_on_the_command_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--tracking` of the commands that evaluate: all of it lies in the output folder, and is none of the evidence."""
    pytest.importorskip(name, reason=f"needs {name}, which is not installed")
    for variable, value in {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    cases(tmp_path)
    script(Dark(), tmp_path / "model.ts")
    words = ["--roi", "8", "8", "8", "--window", "-1000", "400", "--eps", "60", "--steps", "2", "--preset", "paper"]
    words += ["--attacks", "Noise", "--tracking", name, "--output_dir", "out"]
    assert main(["run", "--model", "model.ts", "--task", "segmentation", "--images", "images", *words]) == 0
    if name == "wandb":
        wandb = pytest.importorskip(name)
        wandb.finish()
        wandb.teardown()
        (file,) = (tmp_path / "out").glob(KINDS[name])
        found = logged(file)
        assert found["robustness/cases/number"] == 1.0
        assert "robustness/Noise_equal-radius_0.0428571_stored/jaccard" in {
            re.sub(r"(_0\.04285714?)\d*", "_0.0428571", n) for n in found
        }
    assert list((tmp_path / "out").glob(KINDS[name]))
    assert {path.name for path in tmp_path.iterdir()} == {"images", "labels", "model.ts", "out"}
    assert verify(tmp_path / "out", rows=0).differences == []


def test_a_tracker_that_is_not_known_or_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    cases(tmp_path)
    script(Dark(), tmp_path / "model.ts")
    words = ["run", "--model", "model.ts", "--task", "segmentation", "--images", "images", "--output_dir", "out"]
    assert main([*words, "--tracking", "mlfow"]) == 1
    assert (
        "tracking must be of mlflow, tensorboard, wandb, got 'mlfow'; did you mean mlflow?" in capsys.readouterr().err
    )
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main([*words, "--tracking", "wandb"]) == 1
    assert "tracking by wandb needs its package: pip install 'monai_smia[tracking]'" in capsys.readouterr().err
    assert not (tmp_path / "out" / "journal").exists()


def test_monais_statistics_are_printed_case_by_case(tmp_path: Path) -> None:
    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    lines: list[str] = []
    handler = StatsHandler(iteration_log=False, name="told")
    logging.getLogger("told").addHandler(Lines())
    quick(three(tmp_path), tmp_path / "out", handlers=[handler]).run()
    assert [(line.split()[0], "cases/number" in line) for line in lines if line.startswith("Epoch")] == [
        ("Epoch[1]", True),
        ("Epoch[2]", True),
        ("Epoch[3]", True),
        ("Epoch[4]", False),
    ]
