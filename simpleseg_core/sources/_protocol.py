"""What a source of images is: how `ingest` opens it, and the labelled images that it gives to `dataset`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from simpleseg_core.config import Config, FilterConfig, IngestConfig
from simpleseg_core.instructions.labels import LabelledImage

Images = Iterable[LabelledImage]


@dataclass(frozen=True, slots=True)
class Opened:
    """Rows to ingest, and under which public name a server of our own stands."""

    identity: Mapping[str, object]
    """Settings that the rows depend on; other ones start the shards anew."""
    tables: Iterable[pa.Table]
    """In the schema `fetch.METADATA`."""
    limits: IngestConfig
    filters: FilterConfig = field(default_factory=FilterConfig)
    routes: Mapping[str, str] = field(default_factory=dict)
    """host:port -> host:port to connect to instead."""
    truth: Path | None = None
    """Table of exact masks, to be kept beside the shards."""
    left_out: Sequence[str] = ()
    """Metadata files that could not be read, and why; complete when all tables were read."""


@dataclass(frozen=True, slots=True)
class Gold:
    """Images with gold masks, by what they are for."""

    benchmarks: Mapping[str, Images]
    sft: Images
    rl: Images
    """More than `data.rl_images` may be on offer: the first that are not leaked are taken."""
    queries_per_image: int | None = None
    """Queries of each benchmark image; None: all."""
    held_out: Mapping[str, Images] = field(default_factory=dict)
    """Splits that are no benchmarks, but must not be trained on."""


@dataclass(frozen=True, slots=True)
class Source:
    """A value of `data.source`: the object `SOURCE` of the file of that name."""

    open: Callable[[Config, Path], AbstractContextManager[Opened]]
    """What `ingest` brings in; the path is a local folder to work in."""
    gold: Callable[[Config, Path, Path], Gold] | None = None
    """Gold masks, from the ingested images (first path), or written to shards in `images/` of the second; None: the
    source has none, and RefShapes gives them."""
    check: Callable[[Config], None] = lambda config: None
    """Raises a ValueError or FileNotFoundError where the files that the configuration names are not there."""
