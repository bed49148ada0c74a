"""The evaluation: cases x attacks, one record each, and what is made of the records.

It knows nothing of the task. What a task brings along:

- cases: items of a datalist with ``case`` (a unique name), ``image`` (a file), ``label`` (a file, a grade, boxes), and
  ``patient`` where a patient has several cases, and ``strata`` (``{"scanner": ...}``) to compare cases by
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

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from tqdm.auto import tqdm

from monai_smia.attacks import FGSM
from monai_smia.evaluation.cases import load_case, read_ahead
from monai_smia.evaluation.errors import DISK_FULL, DiskFullError, FailedCasesError, kind_of, reason_of
from monai_smia.analysis.flags import flags_of
from monai_smia.report.figures.selector import Pictures
from monai_smia.evaluation.plan import PlannedAttack, schedule
from monai_smia.evaluation.progress import Progress, wait_for_all
from monai_smia.records.journal import Journal
from monai_smia.report.html import write_report
from monai_smia.evaluation.row import RowEvaluator, Storage
from monai_smia.analysis.summary import failed_cases, groups_of, summarize, write_summary
from monai_smia.analysis.survival import add_recovered, survival_table
from monai_smia.report.text_table import format_table
from monai_smia.evaluation.tracking import track
from monai_smia.degradations import Degradation
from monai_smia.metrics import CaseMetrics
from monai_smia.victims.base import Victim


class AttackEvaluation:
    """Evaluates a victim clean and under every planned attack, case by case.

    Every attack is reported twice: as computed, and after the adversarial image was written, read back and predicted
    again. A case that cannot be loaded or attacked becomes a failure with its reason, and the others go on.

    What is done is on disk at once: killed at any moment and started again, the evaluation goes on where it was. Only
    what is missing is computed, or what depends on a file or an attack that has changed; records of another victim,
    other weights or metrics are never mixed in. Started in several processes (torchrun), each takes its share of the
    cases, and the first makes the report.

    Written into `output_dir`: ``summary.json``, ``records.jsonl``, ``cases.csv``, ``report.html``, ``report.json``,
    ``figures/*.png``, and the processes' own records in ``journal``.

    Args:
        cases: items with ``image`` (a file), ``label`` and a unique name ``case``.
        loading: transform from an item to its image ``(C, *spatial)`` and label, with whatever preprocessing is not in
            the victim.
        victim: what is attacked.
        attacks: the plan, as from `paper_comparison`.
        metrics: of the task, such as `monai_smia.metrics.SegmentationMetrics`.
        output_dir: where to write.
        storage: writes and reads adversarial images, such as `NiftiStorage`; None leaves the stored rows out.
        figure: draws a case under attack, such as `segmentation_figure`; None draws nothing.
        figures: how many cases are drawn, the first ones; of every attack the worst and the best case are, too.
        checks: how many cases the victim is probed on for the flags, the first ones.
        device: where the victim's network is and the cases go.
        unit: unit of the images, for tables (``"HU"``).
        data_range: width of the images' range that PSNR and SSIM relate to.
        write_volumes: keep adversarial images and perturbations; without them they are removed once read back.
        survival: degradations by their names (`monai_smia.degradations`), after each of which every attack is measured again,
            beside an oracle that attacks through the degradation: see `monai_smia.analysis.survival`.
        resume: go on from the records in `output_dir`; False starts anew.
        verify: hash every input file again, though its size and time of change are as they were.
        about: what the report says of model, intended use and acceptance, see `monai_smia.report.html`.
        handlers: Ignite handlers that get the summary's figures as metrics, such as MONAI's MLFlowHandler.
        progress: print the schedule and show progress.

    Raises:
        ValueError: if there are no cases, or two cases or two rows of the plan have the same name.
    """

    def __init__(
        self,
        *,
        cases: Sequence[Mapping[str, Any]],
        loading: Callable[[Any], Any],
        victim: Victim,
        attacks: Sequence[PlannedAttack],
        metrics: CaseMetrics,
        output_dir: str | Path,
        storage: Storage | None = None,
        figure: Callable[..., None] | None = None,
        figures: int = 12,
        checks: int = 3,
        device: torch.device | str = "cpu",
        unit: str = "",
        data_range: float = 1.0,
        write_volumes: bool = True,
        survival: Mapping[str, Degradation] | None = None,
        resume: bool = True,
        verify: bool = False,
        about: Mapping[str, Any] | None = None,
        handlers: Sequence[Any] = (),
        progress: bool = True,
    ) -> None:
        if not cases:
            raise ValueError("cases must hold at least one case, got none.")
        _check_unique("cases", [item["case"] for item in cases])
        _check_unique("attacks", [row.slug for row in attacks])
        self.cases = cases
        self.loading = loading
        self.victim = victim
        self.attacks = attacks
        self.metrics = metrics
        self.output_dir = Path(output_dir)
        self.storage = storage
        self.figure = figure
        self.figures = figures
        self.checks = checks
        self.device = torch.device(device)
        self.unit = unit
        self.data_range = data_range
        self.write_volumes = write_volumes
        self.survival = survival or {}
        self.resume = resume
        self.verify = verify
        self.about = about or {}
        self.handlers = handlers
        self.progress = progress

    def run(self) -> dict[str, Any]:
        """Evaluate everything that is not done yet.

        Returns:
            The summary, as in ``summary.json``; nothing in processes other than the first.

        Raises:
            FailedCasesError: after all the rest is written, if a case failed.
            ConfigurationError: if `output_dir` holds records of another configuration.
            DiskFullError: if the disk is full.
            LostWorkerError: if another process is gone.
        """
        progress = Progress(self)
        progress.open()
        wait_for_all()  # everyone has seen the same records before anyone adds to them
        rank, processes = idist.get_rank(), idist.get_world_size()
        pending = [item for item in self.cases if progress.missing(item)]
        # as MONAI's DistributedSampler(even_divisible=False), which refuses fewer cases than processes
        with Journal(progress.folder / f"rank{rank}.jsonl") as journal:
            self._evaluate(pending[rank::processes], progress, journal)
        wait_for_all()
        return self._finish(progress) if rank == 0 else {}

    def load(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """One case as a batch of one, see `monai_smia.evaluation.cases.load_case`."""
        clips = {row.attack.clip for row in self.attacks if row.attack is not None and row.attack.clip is not None}
        return load_case(item, self.loading, self.device, clips)

    def _schedule(self, case: Mapping[str, Any], cases: int) -> str:
        start = time.perf_counter()
        FGSM(eps=0.0, clip=None, keep="last", progress=False)(self.victim, case["image"], case["label"])
        seconds = time.perf_counter() - start
        return schedule(self.attacks, cases, seconds, stored=self.storage is not None, degradations=len(self.survival))

    def _evaluate(self, items: Sequence[Mapping[str, Any]], progress: Progress, journal: Journal) -> None:
        evaluate_row = RowEvaluator(
            self.victim,
            self.metrics,
            self.storage,
            self.figure,
            self.output_dir,
            self.device,
            self.unit,
            self.data_range,
            self.write_volumes,
            self.survival,
        )
        pictures = self._pictures()
        pictures.note(progress.known())
        radii = [row.attack for row in self.attacks if row.attack is not None and row.attack.eps > 0]
        check = min(radii, key=lambda attack: attack.eps, default=None)
        checked = {item["case"]: check for item in self.cases[: self.checks]}
        shown = self.progress and idist.get_rank() == 0
        total = sum(len(progress.missing(item)) for item in items)
        with tqdm(total=total, unit="row", disable=not shown) as bar:
            for number, (item, case) in enumerate(read_ahead(items, self.load)):
                row, done = None, []
                try:
                    if isinstance(case, Exception):
                        raise case
                    if number == 0 and shown:
                        tqdm.write(self._schedule(case, len(items)))
                    for row in progress.missing(item):
                        bar.set_description(f"{item['case']}: {row.name} {row.setting}".rstrip())
                        draw = partial(pictures.wanted, row.slug)
                        records = evaluate_row(case, row, draw=draw, check=checked.get(item["case"]))
                        line = progress.line(item, row, records)
                        journal.add(line)
                        done += line["records"]
                        bar.update()
                    pictures.note(done)
                except Exception as error:
                    if kind_of(error) == DISK_FULL:
                        raise DiskFullError(
                            f"the disk is full ({reason_of(error)}); make room and run the same command again: what is "
                            "done is kept."
                        ) from error
                    failure = {"case": item["case"], "status": "failed", "kind": kind_of(error)}
                    journal.add(progress.line(item, row, [failure | {"reason": reason_of(error)}], failed=True))
                    del error
                    gc.collect()  # after running out of memory, let go of what the case held

    def _pictures(self) -> Pictures:
        cases = [item["case"] for item in self.cases]
        return Pictures(self.output_dir / "figures", cases, self.figures, self.metrics)

    def _finish(self, progress: Progress) -> dict[str, Any]:
        """Merge the records of all processes, and write what is made of them."""
        records = progress.merge()
        groups = groups_of(records)
        failures = [record for record in records if record["status"] == "failed"]
        summary: dict[str, Any] = {
            "rows": summarize(records, self.metrics.summary, with_intervals=True),
            "flags": flags_of(groups),
            "failures": failures,
            "cases": len(self.cases),
            "evaluated": len(self.cases) - len(failed_cases(records)),
            "unit": self.unit,
            "seconds": sum(record.get("seconds") or 0.0 for record in records),
        }
        add_recovered(summary["rows"], self.metrics.primary)
        pictures = self._pictures()
        pictures.note(record for members in groups.values() for record in members)
        pictures.remove_others([row.slug for row in self.attacks])
        write_summary(self.output_dir, summary, records)
        track(self.handlers, summary["rows"])
        report = write_report(self, summary, records, pictures)
        if self.progress:
            print(format_table(summary), f"Report: {report.resolve()}", sep="\n")
            if self.survival:
                print(survival_table(summary["rows"], self.metrics.primary))
        if failures:
            reasons = "; ".join(f"{record['case']}: {record['reason']}" for record in failures)
            raise FailedCasesError(f"{len(failures)} of {len(self.cases)} cases failed: {reasons}")
        return summary


def _check_unique(name: str, values: Sequence[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{name} must have unique names, got more than once: {twice}.")
