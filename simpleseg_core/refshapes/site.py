"""RefShapes as a web site: JPEG files, a LAION-format table of URLs, the exact masks, and a server on loopback."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import IO, Any, BinaryIO, Literal
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from simpleseg_core.config.refshapes import RefShapesConfig
from simpleseg_core.data.records import write_table
from simpleseg_core.data.shards import encode_jpeg
from simpleseg_core.geometry import encode_rle
from simpleseg_core.refshapes import Scene, describe, phrase, scene

_logger = logging.getLogger(__name__)

BASE_URL = "http://refshapes.test"
"""Where the site claims to be; `.test` never resolves (RFC 6761), so a client has to be routed to `serve_folder`."""

METADATA = pa.schema(
    [
        ("SAMPLE_ID", pa.int64()),
        ("URL", pa.string()),
        ("TEXT", pa.string()),
        ("WIDTH", pa.int32()),
        ("HEIGHT", pa.int32()),
        ("LICENSE", pa.string()),
        ("LANGUAGE", pa.string()),
        ("similarity", pa.float64()),
        ("punsafe", pa.float64()),
        ("pwatermark", pa.float64()),
        ("hash", pa.int64()),
    ]
)
"""Columns of LAION-5B; as there, `hash` is of URL and text, not of the image."""

TRUTH = pa.schema(
    [
        ("url", pa.string()),
        ("object", pa.int32()),
        ("phrase", pa.string()),
        ("box", pa.list_(pa.float64(), 4)),
        ("rle_counts", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
    ]
)
"""One row for each object of each image that can be downloaded; boxes normalised xyxy, masks as COCO RLE."""

Fault = Literal["missing", "html", "truncated"]
_FAULTS: tuple[Fault, ...] = ("missing", "html", "truncated")
_HTML = b"<!doctype html><title>Not here</title><p>This image has moved.</p>\n"


def web_view(
    config: RefShapesConfig,
    seed: int,
    count: int,
    folder: Path,
    *,
    base_url: str = BASE_URL,
    broken: float = 0.04,
) -> Path:
    """Write a site of `count` images under `folder` and return its `metadata.parquet`; `truth.parquet` lies beside it.

    A share `broken` of the rows leads nowhere, to a web page or to half a JPEG, in turn, as on the real web.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, count])
    faults = _choose_faults(count, broken, rng)
    metadata: list[dict[str, Any]] = []
    truth: list[dict[str, Any]] = []
    for index in range(count):
        drawn = scene(config, seed, "train/web", index)
        path = f"images/{index:07d}.jpg"
        _write_image(folder / path, encode_jpeg(drawn.image), faults.get(index))
        url = f"{base_url}/{path}"
        metadata.append(_metadata_row(index, url, drawn, rng))
        truth.extend([] if index in faults else _truth_rows(url, drawn))
    write_table(truth, TRUTH, folder / "truth.parquet")
    write_table(metadata, METADATA, folder / "metadata.parquet")
    return folder / "metadata.parquet"


def _choose_faults(count: int, share: float, rng: np.random.Generator) -> dict[int, Fault]:
    chosen = rng.permutation(count)[: round(share * count)]
    return {int(index): _FAULTS[order % len(_FAULTS)] for order, index in enumerate(chosen)}


def _write_image(path: Path, jpeg: bytes, fault: Fault | None) -> None:
    body = {None: jpeg, "html": _HTML, "truncated": jpeg[: len(jpeg) // 2]}
    if fault != "missing":
        path.write_bytes(body[fault])


def _metadata_row(index: int, url: str, drawn: Scene, rng: np.random.Generator) -> dict[str, Any]:
    text = describe(drawn)
    height, width = drawn.image.shape[:2]
    digest = blake2b(f"{url}{text}".encode(), digest_size=8).digest()
    return {
        "SAMPLE_ID": index,
        "URL": url,
        "TEXT": text,
        "WIDTH": width,
        "HEIGHT": height,
        "LICENSE": "?",
        "LANGUAGE": "en",
        "similarity": float(rng.normal(0.32, 0.02)),
        "punsafe": float(rng.beta(1, 200)),
        "pwatermark": float(rng.beta(1, 20)),
        "hash": int.from_bytes(digest, "big", signed=True),
    }


def _truth_rows(url: str, drawn: Scene) -> Iterator[dict[str, Any]]:
    height, width = drawn.image.shape[:2]
    for number, item in enumerate(drawn.objects):
        yield {
            "url": url,
            "object": number,
            "phrase": phrase(item),
            "box": list(item.box),
            "rle_counts": encode_rle(item.mask)["counts"],
            "height": height,
            "width": width,
        }


_NAMES = ("127.0.0.1", "localhost", urlsplit(BASE_URL).hostname)


class _QuietHandler(SimpleHTTPRequestHandler):
    """Files only, under our own names: no listings, no log, connections kept open."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def send_head(self) -> BytesIO | BinaryIO | None:
        """Refuse a foreign name that leads to loopback: the page that goes by it would read what is served here."""
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname in _NAMES:
            return super().send_head()
        self.send_error(403)
        return None

    def list_directory(self, path: Any) -> IO[bytes] | None:  # type: ignore[override]
        self.send_error(404)
        return None

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    # A downloader opens many connections at once; the default queue of 5 would reset some of them.
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log, without a traceback on the terminal: a client that hangs up is no fault of the server."""
        _logger.debug("request from %s failed", client_address, exc_info=True)


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve a folder's files over HTTP on a free loopback port while the context lasts; yields the base URL.

    Raises:
        NotADirectoryError: no such folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no folder to serve; write it first (`web_view`)")
    handler = partial(_QuietHandler, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
