"""The stage that brings images in: RefShapes through a local web server, a COCO folder, or the web itself."""

import json
import logging
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from simpleseg_core.config import CocoConfig, Config, FilterConfig, IngestConfig, WebConfig
from simpleseg_core.data.coco import coco_rows
from simpleseg_core.data.web import METADATA, Job, Run, ingest, read_metadata, run_here, run_on_ray, url_key
from simpleseg_core.data.web_view import BASE_URL, serve_folder, web_view
from simpleseg_core.ray_session import ray_session
from simpleseg_core.stages._base import Context, Inputs, Outputs, StageResult

_log = logging.getLogger(__name__)

_PATIENCE_S = 120.0
"""Seconds for one image from our own server."""
_RECENT = 20
"""Finished shards that the speed of the moment is measured over."""
_LOG_EVERY_S = 10.0
_REASONS = 5
"""The most frequent reasons that a line of the log names."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where rows come from, and under which public name a server of our own stands."""

    identity: Mapping[str, object]
    tables: Iterable[pa.Table]
    limits: IngestConfig
    filters: FilterConfig = field(default_factory=FilterConfig)
    routes: Mapping[str, str] = field(default_factory=dict)
    truth: Path | None = None


def run(config: Config, inputs: Inputs, outputs: Outputs, context: Context) -> StageResult:
    """Fill `images` with tar shards, one parquet of rows beside each, and `summary.json`."""
    output, start = outputs["images"], time.monotonic()
    with _OPEN[config.data.source](config, context.work) as source:
        identity = json.dumps(source.identity, sort_keys=True, default=str)
        job = Job(identity, source.filters, source.limits, output, context.work, source.routes)
        with _runner(config) as runner:
            counts = ingest(job, source.tables, Watch(context), runner)
        if source.truth is not None:
            shutil.copyfile(source.truth, output / "truth.parquet")
    return _result(counts, time.monotonic() - start)


@contextmanager
def _runner(config: Config) -> Iterator[Run]:
    if config.ingest.engine == "local":
        yield run_here
        return
    with ray_session(config.ray):
        yield run_on_ray


@contextmanager
def _refshapes(config: Config, work: Path) -> Iterator[_Source]:
    """The synthetic world as a site of JPEG files with a LAION table, really served and really downloaded."""
    site = work / "site"
    shutil.rmtree(site, ignore_errors=True)
    metadata = web_view(config.data.refshapes, config.seed, config.data.web_images, site)
    with serve_folder(site) as base_url:
        identity = {
            "refshapes": config.data.refshapes.model_dump(),
            "images": config.data.web_images,
            "seed": config.seed,
        }
        tables = read_metadata(WebConfig(metadata=str(metadata)))
        # Tables must not depend on the port of the day: the site keeps its name, only connections are redirected.
        routes = {f"{urlsplit(BASE_URL).netloc}:80": urlsplit(base_url).netloc}
        # The tables must not depend on how busy the machine is either.
        patient = config.ingest.model_copy(update={"timeout_s": max(config.ingest.timeout_s, _PATIENCE_S)})
        yield _Source(identity, tables, patient, routes=routes, truth=site / "truth.parquet")


@contextmanager
def _coco(config: Config, work: Path) -> Iterator[_Source]:
    """Photographs of a COCO folder with their annotations, which stay true only for images as they are."""
    limits = config.ingest.model_copy(update={"resize": "keep", "near_duplicate_bits": None})
    yield _Source({"coco": config.data.coco.model_dump()}, _coco_tables(config.data.coco), limits)


def _coco_tables(coco: CocoConfig) -> Iterator[pa.Table]:
    for key, body, caption, annotations in coco_rows(coco):
        url = f"coco:{key}"
        row = {"row_id": key, "key": url_key(url), "url": url, "text": caption, "source": "coco"}
        yield pa.Table.from_pylist([row | {"annotations": annotations, "image": key, "body": body}], METADATA)


@contextmanager
def _web(config: Config, work: Path) -> Iterator[_Source]:
    web = config.data.web
    identity = web.model_dump(exclude={"filters", "max_images"})
    yield _Source(identity, _first(read_metadata(web), web.max_images), config.ingest, web.filters)


_OPEN = {"refshapes": _refshapes, "coco": _coco, "web": _web}


def _first(tables: Iterable[pa.Table], rows: int | None) -> Iterator[pa.Table]:
    """The first rows of a stream of tables, all of them for None."""
    for table in tables:
        if rows is None:
            yield table
        elif rows > 0:
            yield table.slice(0, rows)
            rows -= table.num_rows


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


def _result(counts: Mapping[str, int], seconds: float) -> StageResult:
    rows, images = sum(counts.values()), counts.get("ok", 0)
    reasons = [{"status": status, "rows": count, "share": count / rows} for status, count in sorted(counts.items())]
    metrics = {
        "rows": float(rows),
        "images": float(images),
        "success_rate": images / rows if rows else 0.0,
        "seconds": seconds,
    }
    return StageResult(metrics=metrics, tables={"reasons": reasons})
