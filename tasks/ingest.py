"""The stage that brings images in, whatever `data.source` is."""

import json
import logging
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from simpleseg_core.config import Config
from simpleseg_core.contract import Context, Inputs, Outputs, StageResult
from simpleseg_core.fetch import FetchJob, Run, ingest, run_here, run_on_ray
from simpleseg_core.ray_session import ray_session
from simpleseg_core.sources import source

_log = logging.getLogger(__name__)

_RECENT = 20
"""Finished shards that the speed of the moment is measured over."""
_LOG_EVERY_S = 10.0
_REASONS = 5
"""The most frequent reasons that a line of the log names."""


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `images` with tar shards, one parquet of rows beside each, and `summary.json`."""
    output, start = outputs["images"], time.monotonic()
    with source(config.data.source).open(config, context.work) as opened:
        identity = json.dumps(opened.identity, sort_keys=True, default=str)
        job = FetchJob(identity, opened.filters, opened.limits, output, context.work, opened.routes)
        with _runner(config) as runner:
            counts = ingest(job, opened.tables, Watch(context), runner)
        if opened.truth is not None:
            shutil.copyfile(opened.truth, output / "truth.parquet")
    return _result(counts, opened.left_out, time.monotonic() - start)


@contextmanager
def _runner(config: Config) -> Iterator[Run]:
    if config.ingest.engine == "local":
        yield run_here
        return
    with ray_session(config.ray) as session:
        session.check_room("ingest.workers", config.ingest.workers, on_gpu=False)
        yield run_on_ray


class Watch:
    """Hands what the downloader reports to the progress bar and the curves, and now and then to the log."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._planned = 0
        self._counts: Counter[str] = Counter()
        self._recent = deque([(time.monotonic(), 0, 0)], maxlen=_RECENT)
        """Moments, with the images and bytes that had come by then."""
        self._logged_at = time.monotonic()

    def planned(self, rows: int) -> None:
        self._planned = rows
        self._context.progress.start(rows, "images")

    def finished(self, counts: Mapping[str, int]) -> None:
        self._counts.update(counts)
        size = self._counts["bytes"]
        rows, images = self._counts.total() - size, self._counts["ok"]
        now = time.monotonic()
        then, images_then, size_then = self._recent[0]
        self._recent.append((now, images, size))
        speed = {
            "images_per_second": (images - images_then) / (now - then),
            "megabytes_per_second": (size - size_then) / (now - then) / 1e6,
            "success_rate": images / rows,
        }
        statuses = {name: count for name, count in self._counts.items() if name != "bytes"}
        self._context.progress.advance(sum(counts.values()) - counts["bytes"])
        self._context.tracker.metrics(speed | {f"rows/{name}": count for name, count in statuses.items()}, rows)
        if now - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = now
            _log.info("%s", _line(rows, self._planned, speed, statuses))


def _line(rows: int, planned: int, speed: Mapping[str, float], statuses: Mapping[str, int]) -> str:
    reasons = sorted((-count, name) for name, count in statuses.items() if name != "ok")[:_REASONS]
    return (
        f"{rows} of {planned} rows, {speed['images_per_second']:.0f} images/s, "
        f"{speed['megabytes_per_second']:.1f} MB/s, {speed['success_rate']:.1%} with an image"
    ) + "".join(f"; {name} {-count}" for count, name in reasons)


def _result(counts: Mapping[str, int], left_out: Sequence[str], seconds: float) -> StageResult:
    rows, images = sum(counts.values()), counts.get("ok", 0)
    reasons = [{"status": status, "rows": count, "share": count / rows} for status, count in sorted(counts.items())]
    metrics = {
        "rows": float(rows),
        "images": float(images),
        "success_rate": images / rows if rows else 0.0,
        "seconds": seconds,
    }
    tables: dict[str, Sequence[Mapping[str, object]]] = {"reasons": reasons}
    if left_out:
        tables["files_left_out"] = [{"reason": reason} for reason in left_out]
    return StageResult(metrics=metrics, tables=tables)
