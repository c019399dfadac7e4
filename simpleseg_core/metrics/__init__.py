"""Scores of single answers, the table of metrics that they make, and bootstrap intervals."""

from simpleseg_core.metrics.bootstrap import Interval, PairedDifference, bootstrap_interval, paired_bootstrap
from simpleseg_core.metrics.boundary import OutlineDistances, boundary_iou, outline_distances
from simpleseg_core.metrics.sample import SampleScore, box_iou, score_sample
from simpleseg_core.metrics.table import HEADLINES, METRICS, Metric, Predictions

__all__ = [
    "HEADLINES",
    "METRICS",
    "Interval",
    "Metric",
    "OutlineDistances",
    "PairedDifference",
    "Predictions",
    "SampleScore",
    "bootstrap_interval",
    "boundary_iou",
    "box_iou",
    "outline_distances",
    "paired_bootstrap",
    "score_sample",
]
