"""From predictions to claims: metrics with intervals, paired differences, breakdowns, and samples worth a look."""

from simpleseg_core.evaluation.outcomes import METRICS, Metric, Outcomes
from simpleseg_core.evaluation.samples import extremes, prediction_probe, representative
from simpleseg_core.evaluation.summary import Breakdown, Difference, by_kind, by_size, compare, summarise

__all__ = [
    "METRICS", "Breakdown", "Difference", "Metric", "Outcomes", "by_kind", "by_size", "compare", "extremes",
    "prediction_probe", "representative", "summarise",
]  # fmt: skip
