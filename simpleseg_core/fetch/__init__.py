"""Web images: metadata tables in, checked downloads in tar shards out."""

from simpleseg_core.fetch._files import finished_shards
from simpleseg_core.fetch._images import DecodedImage, inspect
from simpleseg_core.fetch._ingest import Run, Watcher, count_rows, ingest, run_here, summarise
from simpleseg_core.fetch._job import FetchJob
from simpleseg_core.fetch._metadata import read_metadata, url_key
from simpleseg_core.fetch._places import place
from simpleseg_core.fetch._ray import run_on_ray
from simpleseg_core.fetch._remove import Removals, matches, record, take_out_removed
from simpleseg_core.fetch._schemas import ADAPTERS, METADATA, Adapter
from simpleseg_core.fetch._status import Refused, Status, may_pass

__all__ = [
    "ADAPTERS",
    "METADATA",
    "Adapter",
    "DecodedImage",
    "FetchJob",
    "Refused",
    "Removals",
    "Run",
    "Status",
    "Watcher",
    "count_rows",
    "finished_shards",
    "ingest",
    "inspect",
    "matches",
    "may_pass",
    "place",
    "read_metadata",
    "record",
    "run_here",
    "run_on_ray",
    "summarise",
    "take_out_removed",
    "url_key",
]
