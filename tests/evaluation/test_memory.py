"""Memory that is gone at any stage of a run: a sentence, and the same tables once it is there again."""

from __future__ import annotations

import gc
import pydoc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from evaluation.test_resume import lasting
from evaluation.test_runner import PREPROCESS, Threshold, write_case
from evaluation.test_trouble import FAULTS, drawn

from monai_smia.evaluation import AttackEvaluation
from monai_smia.evaluation.errors import FailedCasesError, MachineError
from monai_smia.victims import SegmentationVictim


@pytest.fixture(autouse=True)
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time, and are part of the page."""
    monkeypatch.setattr(gc, "collect", lambda: 0)
    monkeypatch.setattr("monai_smia.report.html.charts", lambda *args, **options: {})


WHOLE_WAY = {  # of a run, with the calls that go well before memory is gone
    "reading": ("monai_smia.evaluation.runner.load_case", 1),
    "preprocessing": ("monai_smia.victims.preprocessing.FrozenPreprocessing.__call__", 3),
    "prediction": ("torch.nn.functional.avg_pool3d", 3),
    "gradient": ("monai_smia.attacks.iterative.gradient_of", 1),
    "a metric": ("monai_smia.metrics.segmentation.surface_scores", 2),
    "a distance": ("monai_smia.evaluation.row.perturbation_metrics", 1),
    "a probe": ("monai_smia.evaluation.row.probe", 0),
    "drawing": ("monai_smia.evaluation.row.RowEvaluator._draw", 0),
    "storing": ("monai_smia.storage.nifti._in_source_units", 1),
    "reading back": ("monai_smia.storage.nifti.check_whole", 1),
    "the journal": ("monai_smia.records.Journal.add", 3),
    "beginning": ("monai_smia.evaluation.progress.Progress.open", 0),
    "merging": ("monai_smia.evaluation.progress.Progress.merge", 0),
    "the summary": ("monai_smia.evaluation.runner.summary_of", 0),
    "the records": ("monai_smia.evaluation.runner.write_records", 0),
    "the volumes": ("monai_smia.evaluation.volumes.Volumes.finish", 0),
    "the report": ("monai_smia.evaluation.runner.make_report", 0),
}


@contextmanager
def without_memory(target: str, after: int, error: Exception) -> Iterator[None]:
    """Memory is gone from a call on, for good."""
    patch, calls, original = pytest.MonkeyPatch(), list[int](), pydoc.locate(target)
    assert callable(original)

    def spoilt(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > after:
            raise error
        return original(*args, **options)

    patch.setattr(target, spoilt)
    try:
        yield
        assert len(calls) > after
    finally:
        patch.undo()


def whole_way(cases: list[dict[str, str]], folder: Path) -> AttackEvaluation:
    victim = SegmentationVictim(Threshold(), preprocessing=PREPROCESS)
    return drawn(cases, folder, victim=victim, num_probed_cases=1)


@pytest.fixture(scope="module")
def untroubled(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, str]], Any]:
    folder = tmp_path_factory.mktemp("untroubled")
    cases = [write_case(folder, name) for name in "ab"]
    whole_way(cases, folder / "out").run()
    return cases, lasting(folder / "out")


@pytest.mark.parametrize("stage", WHOLE_WAY)
def test_memory_that_is_gone_at_any_stage(untroubled: Any, stage: str, tmp_path: Path) -> None:
    """A sentence that says so, and the same tables once it is there again."""
    (cases, whole), (target, after) = untroubled, WHOLE_WAY[stage]
    faults = [MemoryError("no room"), FAULTS["memory"](), FAULTS["host memory"]()]
    fault = faults[list(WHOLE_WAY).index(stage) % len(faults)]
    with without_memory(target, after, fault), pytest.raises((FailedCasesError, MachineError)) as caught:
        whole_way(cases, tmp_path / "out").run()
    assert str(fault) in str(caught.value)
    if isinstance(caught.value, MachineError):
        assert str(caught.value).startswith(f"the machine ran out of memory ({type(fault).__name__}: ")
        assert str(caught.value).endswith("run the same command again once there is some: what is done is kept.")
    assert not whole_way(cases, tmp_path / "out").run()["failures"]
    assert lasting(tmp_path / "out") == whole
