"""One self-contained HTML page about a run, and the two tables of numbers behind it."""

from simpleseg_core.report.page import render_page
from simpleseg_core.report.results import MODEL_LABELS, Results, differences_json, metrics_json, read_results
from simpleseg_core.report.sources import Facts, Sources, git_facts, read_sources

__all__ = [
    "MODEL_LABELS", "Facts", "Results", "Sources", "differences_json", "git_facts", "metrics_json", "read_results",
    "read_sources", "render_page",
]  # fmt: skip
