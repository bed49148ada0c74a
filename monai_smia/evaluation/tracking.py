"""An evaluation's figures for experiment trackers, which MONAI reaches through Ignite handlers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events

from monai_smia.report.text_table import HIDDEN


def tracked_metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Every metric of every row under a name that trackers take.

    Example:
        >>> tracked_metrics([{"attack": "PGD", "setting": "paper", "eps": 0.5, "stage": "stored", "jaccard": 0.25}])
        {'PGD_paper_0.5_stored/jaccard': 0.25}
    """
    found = {}
    for row in rows:
        parts = [row.get(name) for name in ("attack", "loss", "setting", "eps", "stage")]
        name = re.sub(r"[^\w.-]+", "-", "_".join(str(part) for part in parts if part not in (None, "")))
        for metric, value in row.items():
            if isinstance(value, float) and metric not in (*HIDDEN, "eps", "eps_input"):
                found[f"{name}/{metric}"] = value
    return found


def track(handlers: Sequence[Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Run handlers, such as MONAI's MLFlowHandler, over one epoch whose metrics are the rows of the summary.

    Args:
        handlers: with ``attach(engine)``.
        rows: of the summary.
    """
    engine = Engine(lambda engine, rows: None)

    @engine.on(Events.STARTED)
    def _(engine: Engine) -> None:
        engine.state.metrics = dict(tracked_metrics(rows))

    for handler in handlers:
        handler.attach(engine)
    engine.run([rows])
