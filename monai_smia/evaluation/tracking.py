"""An evaluation's figures for experiment trackers, which MONAI reaches through Ignite handlers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers.base_logger import BaseLogger

from monai_smia.records import SummaryRow
from monai_smia.report.summary_table import HIDDEN

TAG = "robustness"


def tracked_metrics(rows: Sequence[SummaryRow]) -> dict[str, float]:
    """Every metric of every row under a name that trackers take.

    Example:
        >>> from monai_smia.records import STORED, RowKey
        >>> tracked_metrics([SummaryRow(RowKey("PGD", "paper", eps=0.5), STORED, 1, {"jaccard": 0.25})])
        {'PGD_paper_0.5_stored/jaccard': 0.25}
    """
    found = {}
    for row in rows:
        parts = (row.row.attack, row.row.loss, row.row.setting_label, row.row.eps, row.stage)
        name = re.sub(r"[^\w.-]+", "-", "_".join(str(part) for part in parts if part not in (None, "")))
        for metric, value in row.metrics.items():
            if isinstance(value, float) and metric not in HIDDEN:
                found[f"{name}/{metric}"] = value
    return found


def track(handlers: Sequence[Any], rows: Sequence[SummaryRow]) -> None:
    """Run handlers, such as MONAI's MLFlowHandler, over one epoch whose metrics are the rows of the summary.

    Args:
        handlers: with ``attach(engine)``; or loggers of Ignite, such as WandBLogger, which are given all metrics under
            the tag `TAG`.
        rows: of the summary.
    """
    engine = Engine(lambda engine, rows: None)

    @engine.on(Events.STARTED)
    def _(engine: Engine) -> None:
        engine.state.metrics = dict(tracked_metrics(rows))

    for handler in handlers:
        if isinstance(handler, BaseLogger):
            handler.attach_output_handler(engine, Events.EPOCH_COMPLETED, tag=TAG, metric_names="all")
        else:
            handler.attach(engine)
    engine.run([rows])
