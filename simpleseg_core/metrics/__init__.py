"""gIoU, cIoU, P@k, Acc@0.5, boundary metrics; accumulation across workers and bootstrap intervals."""

from simpleseg_core.metrics.bootstrap import Interval, PairedDifference, bootstrap_interval, paired_bootstrap
from simpleseg_core.metrics.boundary import boundary_iou
from simpleseg_core.metrics.sample import SampleScore, box_iou, score_sample
from simpleseg_core.metrics.summary import MetricAccumulator

__all__ = [
    "Interval", "MetricAccumulator", "PairedDifference", "SampleScore", "bootstrap_interval", "boundary_iou", "box_iou", "paired_bootstrap",
    "score_sample",
]  # fmt: skip
