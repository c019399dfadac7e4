"""Secrets given the way the documentation names: the run that uses them leaves none of them behind."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simpleseg_core.config.files import dump_yaml, load_config
from tasks.runs.processes import stop_tree
from tasks.runs.workspace import Workspace
from tests.fetch.server import jpeg
from tests.tiny_pipeline import git, make_workspace, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_HEADER, _SINK_KEY, _PASSWORD, _CLOUD = (
    "planted-header-1f",
    "planted-sink-2e",
    "planted-password-3d",
    "planted-cloud-4c",
)
_PLANTED = (_HEADER, _SINK_KEY, _PASSWORD, _CLOUD)
_DVC_YAML = """\
stages:
  ingest:
    cmd: simpleseg stage ingest
    params: [seed, data, ingest]
    outs:
      - data/images: {persist: true}
    metrics:
      - reports/metrics/ingest.json: {cache: false}
"""


class _Site(BaseHTTPRequestHandler):
    """Files for those who show the header; pictures for everybody."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes] = {}

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None: ...

    def _answer(self, *, with_body: bool) -> None:
        body = self.files.get(self.path.partition("?")[0])
        welcome = self.path.endswith(".jpg") or self.headers["Authorization"] == f"Bearer {_HEADER}"
        status = 404 if body is None else 200 if welcome else 401
        body = body if body is not None and welcome else b""
        self.send_response(206 if status == 200 and "Range" in self.headers else status)
        if status == 200 and (span := self.headers.get("Range")):
            first, _, last = span.removeprefix("bytes=").partition("-")
            total, body = len(body), body[int(first) : int(last or len(body) - 1) + 1]
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(body) - 1}/{total}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A table of three pictures that opens to a header, and the pictures; host:port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    address = f"127.0.0.1:{server.server_port}"
    urls = [f"http://{address}/{number}.jpg" for number in range(3)]
    pq.write_table(pa.table({"url": urls, "text": ["a cat"] * 3}), tmp_path / "table.parquet")
    _Site.files = {f"/{number}.jpg": jpeg(number) for number in range(3)}
    _Site.files["/table.parquet"] = (tmp_path / "table.parquet").read_bytes()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield address
    server.shutdown()


@contextmanager
def _mlflow(folder: Path) -> Iterator[int]:
    """A real MLflow server whose database and artifacts lie in a folder; its port."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, *store], cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        yield port
    finally:
        stop_tree(process.pid)


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 (loopback)
        return bool(reply.status == 200)
    return False


def _real_ingest(root: Path, site: str, sink: Path) -> Workspace:
    root.mkdir()
    workspace = make_workspace(root)
    workspace.dvc_yaml.write_text(_DVC_YAML)
    settings = (
        "data.source=web",
        f"data.web.metadata=http://{site}/table.parquet?download=true",
        "data.web.filters.max_punsafe=off",
        f"ingest.allowed_private_hosts=['{site}']",
        "ingest.honour_robots=false",
        f"ingest.sink=file://{sink}",
        "tracking.system_metrics=false",
    )
    workspace.params.write_text(dump_yaml(load_config(workspace.params, settings)))
    git(root, "commit", "-qam", "real")
    return workspace


def test_what_a_run_leaves_holds_no_secret(tmp_path: Path, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = _real_ingest(tmp_path / "copy", site, tmp_path / "sink")
    monkeypatch.setenv("FSSPEC_HTTP", json.dumps({"headers": {"Authorization": f"Bearer {_HEADER}"}}))
    monkeypatch.setenv("FSSPEC_FILE", json.dumps({"auto_mkdir": True, "secret": _SINK_KEY}))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _CLOUD)
    with _mlflow(tmp_path / "server") as port, (tmp_path / "said.log").open("w") as said:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://robot:{_PASSWORD}@127.0.0.1:{port}")
        with running(workspace.root, said, "run", "--until", "ingest", "--verbose") as process:
            process.wait()
    assert process.returncode == 0, (tmp_path / "said.log").read_text()

    shard = pq.read_table(workspace.root / "data" / "images" / "00000.parquet").to_pylist()
    assert {(row["status"], row["source"]) for row in shard} == {("ok", "laion:table.parquet")}
    assert (tmp_path / "sink" / "00000.tar").exists()
    assert b"sqlite" in b"".join(_left(tmp_path / "server")).lower()
    assert not [secret for secret in _PLANTED for text in _left(tmp_path) if secret.encode() in text]
    assert not (workspace.root / "mlflow.db").exists()


def _left(folder: Path) -> list[bytes]:
    """Everything in the files of a folder; tables unpacked."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    tables = [file for file in files if file.suffix == ".parquet"]
    return [file.read_bytes() for file in files] + [repr(pq.read_table(file).to_pylist()).encode() for file in tables]


def test_a_secret_on_the_command_line_reaches_no_file(workspace: Workspace, tmp_path: Path) -> None:
    before = {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with (tmp_path / "said.log").open("w") as said:
        with running(workspace.root, said, "run", "--set", f"ingest.sink=s3://KEY:{_SINK_KEY}@bucket") as process:
            assert process.wait() == 2
    assert "`ingest.sink`: holds a user name or a password" in " ".join((tmp_path / "said.log").read_text().split())
    after = {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert before == {name: text for name, text in after.items() if name in before}
    assert not [name for name, text in after.items() if _SINK_KEY.encode() in text]
