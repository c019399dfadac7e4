"""From predictions to claims: metrics with intervals, paired differences, breakdowns, and samples worth a look."""

from simpleseg_core.evaluation.comparison import Comparison, Subset, compare_runs, comparison_json
from simpleseg_core.evaluation.gates import Gate, failures
from simpleseg_core.evaluation.samples import extremes, prediction_probe, representative
from simpleseg_core.evaluation.summary import Breakdown, Difference, by_kind, by_size, compare, summarise

__all__ = [
    "Breakdown", "Comparison", "Difference", "Gate", "Subset", "by_kind", "by_size", "compare", "compare_runs",
    "comparison_json", "extremes", "failures", "prediction_probe", "representative", "summarise",
]  # fmt: skip
