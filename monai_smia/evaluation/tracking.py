"""An evaluation's figures for experiment trackers, which MONAI reaches through Ignite handlers, while it runs."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers.base_logger import BaseLogger

from monai_smia.records import Failure, Outcome, Record, RowKey, Stage, SummaryRow
from monai_smia.report.summary_table import HIDDEN

LOGGER = logging.getLogger(__name__)
TAG = "robustness"
CASES = "cases"  # before the names of a single case's figures
NUMBER = f"{CASES}/number"  # of the case among all of the evaluation, from 1 on: names are nobody else's


def tracked_metrics(rows: Sequence[SummaryRow]) -> dict[str, float]:
    """Every metric of every row under a name that trackers take.

    Example:
        >>> from monai_smia.records import STORED, RowKey
        >>> tracked_metrics([SummaryRow(RowKey("PGD", "paper", eps=0.5), STORED, 1, {"jaccard": 0.25})])
        {'PGD_paper_0.5_stored/jaccard': 0.25}
    """
    return {
        f"{_name(row.row, row.stage)}/{metric}": value
        for row in rows
        for metric, value in row.metrics.items()
        if isinstance(value, float) and metric not in HIDDEN
    }


def case_metrics(records: Iterable[Record]) -> dict[str, float]:
    """Every number of a case under the name of the row's mean, behind `CASES`; vectors are left out.

    Example:
        >>> from monai_smia.records import STORED
        >>> case_metrics([Record(RowKey("PGD", eps=0.5), STORED, "a", metrics={"jaccard": 0.25, "counts": [1, 2]})])
        {'cases/PGD_0.5_stored/jaccard': 0.25}
    """
    return {
        f"{CASES}/{_name(record.row, record.stage)}/{metric}": float(value)
        for record in records
        for metric, value in record.measured().items()
        if isinstance(value, (int, float)) and metric not in HIDDEN
    }


def _name(row: RowKey, stage: Stage) -> str:
    parts = (row.attack, row.loss, row.setting_label, row.eps, stage)
    return re.sub(r"[^\w.-]+", "-", "_".join(str(part) for part in parts if part not in (None, "")))


class Tracker:
    """Gives handlers the figures of every case when it ends, an epoch each, and those of the summary as the last epoch.

    Within the block the engine has started; an error that leaves it is the engine's. A handler that fails once the
    engine has started, such as one whose server is gone, ends the tracking and nothing else: that is said.

    Args:
        handlers: with ``attach(engine)``, such as MONAI's MLFlowHandler; or loggers of Ignite, such as WandBLogger,
            which are given all metrics under the tag `TAG`.
        names: of all cases, in their order.

    Example:
        >>> with Tracker([], ["a"]) as tracker:
        ...     tracker.note([])
        ...     tracker.end([])
    """

    def __init__(self, handlers: Sequence[Any], names: Sequence[str]) -> None:
        self.numbers = {name: number for number, name in enumerate(names, 1)}
        self._engine = Engine(lambda engine, batch: None)
        self._engine.state.max_epochs = len(names) + 1
        self._engine.state.epoch_length = 1
        self._on = bool(handlers)
        self._given: set[tuple[str, RowKey, Stage]] = set()
        for handler in handlers:
            if isinstance(handler, BaseLogger):
                handler.attach_output_handler(self._engine, Events.EPOCH_COMPLETED, tag=TAG, metric_names="all")
            else:
                handler.attach(self._engine)

    def __enter__(self) -> Tracker:
        if self._on:
            self._engine.fire_event(Events.STARTED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._tell(lambda: self._engine._fire_event(Events.EXCEPTION_RAISED, error), known=error)

    def note(self, outcomes: Iterable[Outcome]) -> None:
        """Give the figures of the records that it has not had: an epoch for every case that has any.

        Args:
            outcomes: records of cases; those of a case that failed count in no figure, and are left out.
        """
        if not self._on:
            return
        outcomes, cases = list(outcomes), dict[str, list[Record]]()
        failed = {outcome.case for outcome in outcomes if isinstance(outcome, Failure)}
        for record in outcomes:
            if isinstance(record, Failure) or record.case in failed:
                continue
            if (key := (record.case, record.row, record.stage)) not in self._given:
                self._given.add(key)
                cases.setdefault(record.case, []).append(record)
        for case, records in cases.items():
            self._epoch({NUMBER: float(self.numbers[case]), **case_metrics(records)})

    def end(self, rows: Sequence[SummaryRow]) -> None:
        """Give the figures of the summary, and complete the engine.

        Args:
            rows: of the summary.
        """
        self._epoch(tracked_metrics(rows))
        self._tell(lambda: self._engine.fire_event(Events.COMPLETED))
        self._on = False

    def _epoch(self, metrics: Mapping[str, float]) -> None:
        self._engine.state.epoch += 1
        self._engine.state.iteration += 1
        self._engine.state.metrics = dict(metrics)
        self._tell(lambda: self._engine.fire_event(Events.EPOCH_COMPLETED))

    def _tell(self, fire: Callable[[], None], known: BaseException | None = None) -> None:
        """Fire an event; an error of a handler ends the tracking, but for one that was known before."""
        if not self._on:
            return
        try:
            fire()
        except Exception as error:  # whatever a tracker raises
            self._on = False
            if error is known:
                return
            LOGGER.warning(
                "Tracking ended, the evaluation goes on: a handler raised %s: %s", type(error).__name__, error
            )
