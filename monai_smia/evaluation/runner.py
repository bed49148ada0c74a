"""The evaluation: cases x attacks, one record each, then their summary and report. What a task brings along:

- cases: items with ``case`` (a unique name), ``image`` (a file), ``label`` (a file, a grade, boxes), and ``patient``
  where a patient has several cases, and ``strata`` (``{"scanner": ...}``) to compare cases by
- loading: a transform from an item to ``image`` ``(C, *spatial)`` and ``label``: a label map of the image's rank, a
  number or vector ``(K,)`` of classes, or a dictionary of ``boxes`` ``(N, 4 or 6)`` and ``labels`` ``(N,)``. The victim
  gets a batch of one: ``(1, ...)``, ``(1,)``, or a list of one dictionary
- victim: any `monai_smia.victims.Victim`; what it predicts is a tensor or a dictionary of head maps
- metrics: a `monai_smia.metrics.CaseMetrics`: values of a case that JSON can hold, and the summary of many
- storage: ``write(image, adversarial, *, eps, source, stem) -> path`` and ``read(path) -> (C, *spatial)``; the name of
  every file that is written begins with the stem
- figure: ``(path, image, label, clean_decision, panels, unit)`` draws one case, see `segmentation_figure`
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch

from monai_smia.analysis import converged, groups_of, summary_of
from monai_smia.analysis.acceptance import Criterion, judge, parse_criteria
from monai_smia.attacks import Attack
from monai_smia.attacks.steps import watched
from monai_smia.degradations import Degradation
from monai_smia.evaluation.cases import Case, check_labeled, check_radii, load_case, patient_of
from monai_smia.evaluation.console import console
from monai_smia.evaluation.errors import check_failures, memory_trouble, output_trouble
from monai_smia.evaluation.facts import about_of, checked_about, spec_of
from monai_smia.evaluation.fingerprint import describe, weights_hash
from monai_smia.evaluation.line import ProgressLine
from monai_smia.evaluation.lock import locked
from monai_smia.evaluation.memory import keep_freed_memory
from monai_smia.evaluation.pace import Pace
from monai_smia.evaluation.pipeline import Pipeline
from monai_smia.evaluation.plan import PlannedAttack, check_cases, check_settings, plan_of, share_of
from monai_smia.evaluation.probe import probing_attack
from monai_smia.evaluation.progress import Progress, wait_for_all
from monai_smia.evaluation.row import RowEvaluator
from monai_smia.evaluation.survival import named_degradations
from monai_smia.evaluation.told import kept, tell_outcome, tell_plan
from monai_smia.evaluation.tracking import Tracker
from monai_smia.evaluation.volumes import WORST, Volumes, which_volumes
from monai_smia.evaluation.work import Work
from monai_smia.metrics import CaseMetrics
from monai_smia.records import Journal, Primary, seal, write_records
from monai_smia.records.manifest import write_manifest
from monai_smia.records.summary import TOLERANCE
from monai_smia.report import make_report
from monai_smia.report.figures.selector import FigureSelector
from monai_smia.storage import Storage
from monai_smia.victims.base import Victim

CONFIGURATION = ("victim", "loading", "metrics", "storage", "unit", "data_range", "survival")
RESTART = 60.0  # seconds that torchrun may take to end the processes that it starts anew


@dataclass(kw_only=True, eq=False)
class AttackEvaluation:
    """Evaluates a victim clean and under every planned attack, case by case.

    Every attack is reported twice: as computed, and after the adversarial image was written, read back and predicted
    again. A case that cannot be loaded or attacked becomes a failure with its reason, and the others go on. Killed at
    any moment and started again, the evaluation goes on where it was: what is missing is computed, or what depends on a
    file or an attack that has changed; records of another victim, other weights or metrics are never mixed in. Started
    in several processes (torchrun), each takes its share of the cases, and the first makes the report. What is written
    into `output_dir` stands in docs/evaluation.md.

    Args:
        cases: items with ``image`` (a file), ``label`` and a unique name ``case``.
        loading: transform from an item to its image ``(C, *spatial)`` and label, with whatever preprocessing is not in
            the victim.
        victim: what is attacked.
        attacks: the plan, as from `preset_plan`, or attacks; rows of ``"round 2"``, ... run while the headline moves.
        metrics: of the task, such as `monai_smia.metrics.SegmentationMetrics`.
        output_dir: where to write.
        storage: writes and reads adversarial images, such as `NiftiStorage`; None leaves the stored rows out.
        figure: draws a case under attack, such as `segmentation_figure`; None draws nothing.
        figures: how many cases are drawn, the first ones; of every attack the worst and the best case are, too.
        num_probed_cases: how many cases the victim is probed on for the flags, the first ones.
        device: where the victim's network is and the cases go.
        unit: unit of the images, for tables (``"HU"``).
        data_range: width of the images' range that PSNR and SSIM relate to.
        write_volumes: which adversarial images and perturbations stay as files: ``"worst"``, those of the worst case of
            every attack; ``"all"`` (or True) or ``"none"`` (or False). The others are removed once read back.
        survival: degradations by their names (`monai_smia.degradations`), after each of which every attack is measured
            again, beside an oracle that attacks through the degradation: see `monai_smia.analysis.survival`.
        resume: go on from the records in `output_dir`; False starts anew.
        verify: hash every input file again, though its size and time of change are as they were.
        retry_failed: try cases again that have failed before, though neither they nor their attack have changed.
        tolerance: no further round is run, with twice the gradients, where the last moved the headline metric by less.
        about: what the report says of model, intended use and acceptance, see `monai_smia.report.html`.
        training: items of what the network was trained on, where known: the report says which cases show the same
            picture as one of them, or as another case (`find_duplicates`).
        accept: criteria of your own on the worst case, such as ``"jaccard >= 0.80 at 28 HU"``; several in a list, or
            with ``;`` between them. Summary and report say whether they are met: `monai_smia.analysis.acceptance`.
        handlers: Ignite handlers that get every case's figures when it ends, then the summary's: see `Tracker`.
        progress: say what is planned, how far it is and what was found.
        pipeline: makes every figure, where the victim is the differentiable twin of a deployed pipeline; None for the
            victim itself.

    Raises:
        ValueError: if there are no cases or no rows of a plan, two cases or two rows of the plan have the same name, or
            a criterion is of what the evaluation will not have.
    """

    cases: Sequence[Mapping[str, Any]]
    loading: Callable[[Any], Any]
    victim: Victim
    attacks: Sequence[PlannedAttack | Attack]
    metrics: CaseMetrics
    output_dir: str | Path
    storage: Storage | None = None
    figure: Callable[..., None] | None = None
    figures: int = 12
    num_probed_cases: int = 3
    device: torch.device | str = "cpu"
    unit: str = ""
    data_range: float = 1.0
    write_volumes: str | bool = WORST
    survival: Mapping[str, Degradation] | None = None
    resume: bool = True
    verify: bool = False
    retry_failed: bool = False
    tolerance: float = TOLERANCE
    about: Mapping[str, Any] | None = None
    training: Sequence[Mapping[str, Any]] = ()
    accept: str | Sequence[str] | None = None
    handlers: Sequence[Any] = field(default_factory=list)
    progress: bool = True
    pipeline: Pipeline | None = None
    checks: InitVar[int | None] = None

    def __post_init__(self, checks: int | None) -> None:
        if checks is not None:
            text = "checks is deprecated and will be removed in 0.3: use num_probed_cases."
            warnings.warn(text, DeprecationWarning, stacklevel=3)
            self.num_probed_cases = checks
        self._prepare()

    def _prepare(self) -> None:
        """Check the settings, and derive what hangs on them; again before a run, since they may have been changed."""
        if not self.cases:
            raise ValueError("cases must hold at least one case, got none.")
        self.attacks = self.plan = plan_of(self.attacks, self.data_range)
        self.names = [item["case"] for item in self.cases]
        check_cases(self.names, self.plan)
        check_settings(self)
        self.output_dir = Path(self.output_dir)
        self.device = torch.device(self.device)
        self.survival = named_degradations(self.survival)
        self.about = checked_about(self.about)
        self.write_volumes = which_volumes(self.write_volumes)
        self.criteria: list[Criterion] = parse_criteria(
            self.accept,
            rows=[row.key(self.unit) for row in self.plan],
            metrics=self.metrics,
            unit=self.unit,
            patients=len({patient_of(item) for item in self.cases}),
        )

    def run(self) -> dict[str, Any]:
        """Evaluate everything that is not done yet.

        Returns:
            The summary, as in ``summary.json``; nothing in processes other than the first.

        Raises:
            FailedCasesError: after all the rest is written, if a case failed.
            ConfigurationError: if `output_dir` holds records of another configuration.
            RecordVersionError: if it holds records of another version of this package.
            LockedError: if another run has `output_dir`.
            OutputError: if it cannot be written; `DiskFullError` if the disk is full.
            MachineError: if the machine, such as the GPU, fails again and again, or memory runs out beside the cases.
            LostWorkerError: if another process is gone.
        """
        keep_freed_memory()
        self._prepare()
        rank = idist.get_rank()
        with console(self.progress and rank == 0), output_trouble(), memory_trouble():
            if rank:  # the folder is the first one's
                return self._run(rank)
            restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
            with locked(self.output_dir, wait=RESTART if restarted else 0):
                return self._run(rank)

    def _run(self, rank: int) -> dict[str, Any]:
        progress = self.make_progress()
        progress.open()
        if rank == 0:
            self._volumes(progress).begin(progress.run)
        with Tracker(() if rank else self.handlers, self.names) as self._tracker:
            self._compute(progress, rank)
            return {} if rank else self._finish(progress)

    def _compute(self, progress: Progress, rank: int) -> None:
        """This process's share of the cases, round by round."""
        pace = Pace(stored=self.storage is not None, degradations=len(self.survival or {}))
        show = self.progress and rank == 0
        with ProgressLine(pace, show=show) as line, watched(line.tick), kept(line, progress.output_dir):
            for number in progress.rounds:
                if number > 1:
                    progress.begin(number)
                wait_for_all()  # everyone has seen the same records before anyone adds to them
                pending = [item for item in self.cases if progress.missing(item)]
                with Journal(progress.folder / f"rank{rank}.jsonl") as journal:
                    self._evaluate(pending[rank :: idist.get_world_size()], progress, journal, line)
                wait_for_all()
                if number > 1 and converged(progress.merge(), self.metrics, self.tolerance):
                    break

    def make_progress(self) -> Progress:
        """Progress of this evaluation in its output folder, to be opened."""
        configuration = {name: describe(getattr(self, name)) for name in CONFIGURATION}
        configuration["pipeline"] = describe(self.pipeline)
        configuration["weights"] = weights_hash(self.victim.network)
        again = {"resume": self.resume, "verify": self.verify, "retry_failed": self.retry_failed}
        return Progress(Path(self.output_dir), self.cases, self.plan, configuration, **again)

    def load(self, item: Mapping[str, Any]) -> Case:
        """One case as a batch of one, see `monai_smia.evaluation.cases.load_case`."""
        clips = {row.attack.clip for row in self.plan if row.attack is not None and row.attack.clip is not None}
        case = load_case(item, self.loading, torch.device(self.device), clips, label_on_grid=self.pipeline is None)
        check_radii(self.plan, case)
        check_labeled(case, self.cases if self.pipeline is None else ())
        return case

    def _evaluate(
        self, items: Sequence[Mapping[str, Any]], progress: Progress, journal: Journal, line: ProgressLine
    ) -> None:
        evaluate_row, selector = self.row_evaluator(self.output_dir), self._selector()
        selector.note(known := progress.known())
        self._tracker.note(known)
        later = [row for row in self.plan if row not in progress.planned]
        share = len(self.names[idist.get_rank() :: idist.get_world_size()])
        line.resume(known, [row for item in items for row in progress.missing(item)] + later * share)

        def first(case: Case) -> None:
            if line.show and not line.pace.gradient:  # by the first case that is a whole one
                line.pace.measure(self.victim, case, evaluate_row.score)
                tell_plan(line, self, case)

        Work(
            load=self.load,
            evaluate_row=evaluate_row,
            progress=progress,
            journal=journal,
            line=line,
            selector=selector,
            tracker=self._tracker,
            volumes=self._volumes(progress),
            probes=dict.fromkeys(self.names[: self.num_probed_cases], probing_attack(self.plan)),
            first=first,
        ).run(items)

    def row_evaluator(self, folder: str | Path) -> RowEvaluator:
        """What makes the records of a row; pictures go into a folder."""
        return RowEvaluator(
            **{name: getattr(self, name) for name in ("victim", "metrics", "storage", "figure", "unit", "data_range")},
            output_dir=Path(folder),
            device=torch.device(self.device),
            survival=self.survival or {},
            pipeline=self.pipeline,
        )

    def _selector(self) -> FigureSelector:
        return FigureSelector(Path(self.output_dir) / "figures", self.names, self.figures, Primary.of(self.metrics))

    def _volumes(self, progress: Progress) -> Volumes:
        return Volumes(str(self.write_volumes), self.storage, self.names, self.plan, progress.journals)

    def _finish(self, progress: Progress) -> dict[str, Any]:
        """Merge the records of all processes, and write their summary and report."""
        folder = Path(self.output_dir)
        self._tracker.note(outcomes := progress.merge())
        given: dict[str, Any] = {"cases": len(self.cases), "tolerance": self.tolerance, "share": share_of(self.plan)}
        summary = summary_of(outcomes, self.metrics, unit=self.unit, **given)
        summary.criteria = judge(self.criteria, groups_of(outcomes), summary.critical_radii)
        selector = self._selector()  # pictures of cases that are none of the chosen ones any more go
        selector.note(record for group in groups_of(outcomes) for record in group.records)
        selector.remove_others([row.slug for row in self.plan])
        volumes = self._volumes(progress).finish(outcomes, Primary.of(self.metrics))
        settings: dict[str, Any] = {"unit": self.unit, "device": torch.device(self.device), "about": about_of(self)}
        spec = spec_of(self.victim, progress.planned, self.metrics, cases=self.cases, **settings)
        spec.write(folder)
        write_records(folder, outcomes)
        summary.write(folder)
        seal(folder)
        self._tracker.end(summary.rows)
        report = make_report(folder, spec, summary, outcomes)
        write_manifest(folder)
        tell_outcome(summary, report, self.metrics.primary, volumes)
        check_failures(summary.failures, len(self.cases))
        return summary.to_json()
