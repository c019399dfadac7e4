"""gIoU, cIoU, P@k, Acc@0.5, boundary and outline metrics; accumulation across workers and bootstrap intervals."""

from simpleseg_core.metrics.bootstrap import Interval, PairedDifference, bootstrap_interval, paired_bootstrap
from simpleseg_core.metrics.boundary import OutlineDistances, boundary_iou, outline_distances
from simpleseg_core.metrics.sample import SampleScore, box_iou, score_sample
from simpleseg_core.metrics.summary import MetricAccumulator

__all__ = [
    "Interval",
    "MetricAccumulator",
    "OutlineDistances",
    "PairedDifference",
    "SampleScore",
    "bootstrap_interval",
    "boundary_iou",
    "box_iou",
    "outline_distances",
    "paired_bootstrap",
    "score_sample",
]
