"""One self-contained HTML page about a run, and the two tables of numbers behind it."""

from simpleseg_core.report.comparison import (
    TABLE_FORMATS,
    comparison_table,
    parts_table,
    render_comparison,
    text_report,
)
from simpleseg_core.report.page import render_page
from simpleseg_core.report.results import Results, differences_json, metrics_json, read_results
from simpleseg_core.report.sources import Facts, Sources, read_sources

__all__ = [
    "TABLE_FORMATS", "Facts", "Results", "Sources", "comparison_table", "differences_json", "metrics_json",
    "parts_table", "read_results", "read_sources", "render_comparison", "render_page", "text_report",
]  # fmt: skip
