"""From analysis to what people look at: the page, tables, charts, pictures."""

from __future__ import annotations

from monai_smia.report.html import Report, make_report, write_report
from monai_smia.report.paper_tables import write_tables
from monai_smia.report.summary_table import summary_table, survival_table

__all__ = ["Report", "make_report", "summary_table", "survival_table", "write_report", "write_tables"]
