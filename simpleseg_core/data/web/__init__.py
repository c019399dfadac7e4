"""Web images: metadata tables in, checked downloads in tar shards out."""

from simpleseg_core.data.web._files import finished_shards
from simpleseg_core.data.web._images import Picture, inspect
from simpleseg_core.data.web._ingest import Job, Run, Watcher, count_rows, ingest, run_here, summarise
from simpleseg_core.data.web._metadata import ADAPTERS, METADATA, Adapter, read_metadata, url_key
from simpleseg_core.data.web._ray import run_on_ray
from simpleseg_core.data.web._status import Refused, Status, may_pass

__all__ = [
    "ADAPTERS",
    "METADATA",
    "Adapter",
    "Job",
    "Picture",
    "Refused",
    "Run",
    "Status",
    "Watcher",
    "count_rows",
    "finished_shards",
    "ingest",
    "inspect",
    "may_pass",
    "read_metadata",
    "run_here",
    "run_on_ray",
    "summarise",
    "url_key",
]
