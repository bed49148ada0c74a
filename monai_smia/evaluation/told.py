"""What an evaluation tells the person who runs it, before and after."""

from __future__ import annotations

import logging

from monai_smia.records import Summary
from monai_smia.report import Report, summary_table, survival_table
from monai_smia.report.verdicts import verdict_text

LOGGER = logging.getLogger(__name__)


def tell_outcome(summary: Summary, report: Report, primary: str) -> None:
    """The table, the headline, the user's own criteria and where the report is.

    Args:
        summary: what was found.
        report: that is written.
        primary: headline metric of the task.
    """
    LOGGER.info(summary_table(summary.rows).text())
    if report.headline:
        LOGGER.info(report.headline)
    for verdict in summary.criteria:
        LOGGER.info("Criterion %s", verdict_text(verdict, summary.flags))
    LOGGER.info("Report: %s", report.path.resolve())
    if any(row.stage.is_after for row in summary.rows):
        LOGGER.info(survival_table(summary.rows, primary))
