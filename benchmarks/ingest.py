"""Our downloader against img2dataset: the same files from the same local server, with the same number of processes.

    python benchmarks/ingest.py --peer PYTHON [--images 2000] [--modes keep resize] [--json FILE]

PYTHON is the interpreter of a virtual environment that has img2dataset:
`python3.11 -m venv peer && peer/bin/pip install img2dataset`.

Both use two processes (ours: one for the network, one for decoding), 64 requests in flight, and no retries. Ours keeps
every check on: addresses, robots.txt, reservations, caps, decoding of every image, hashes, near duplicates. `keep`
stores images as served, `resize` shrinks them to 256 pixels and encodes them again. Speed is counted between the first
and the last request that the server sees; CPU is that of the downloader and all its processes, less what a run of a few
images costs: starting (mostly imports) is not what a download of millions waits for. All traffic stays on 127.0.0.1.
"""

import argparse
import asyncio
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

_SIZE = (640, 480)
_IN_FLIGHT = 64
_PROCESSES = 2
_RESIZED = 256
_SUBREAPER = 36
_FEW = 30
_SPAN = "/span"
"""Asks the server for the seconds between the first and the last request since it was last asked."""


@dataclass(frozen=True)
class Case:
    """What the server does to a run."""

    mode: str
    latency_ms: int
    failures: float


@dataclass(frozen=True)
class Result:
    """One downloader in one case; `seconds` and `cpu_seconds` without the start."""

    downloader: str
    case: Case
    rows: int
    images: int
    seconds: float
    cpu_seconds: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds

    @property
    def cpu_per_thousand(self) -> float:
        return 1000 * self.cpu_seconds / self.rows


def write_site(folder: Path, count: int) -> None:
    """JPEG files with the detail of photographs, each another one."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    grain = rng.integers(0, 24, (*_SIZE[::-1], 3), dtype=np.uint8)
    for number in range(count):
        coarse = rng.integers(0, 232, (9, 12, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize(_SIZE, Image.Resampling.BILINEAR))
        Image.fromarray(image + np.roll(grain, number, axis=1)).save(folder / f"{number}.jpg", quality=85)


async def serve(folder: Path, latency: float, failures: float) -> None:
    """Serve the files from memory on a free port, which is printed; a share is 404, a web page or half an image."""
    bodies = {f"/{file.name}": file.read_bytes() for file in folder.glob("*.jpg")}
    moments: list[float] = []

    def answer(path: str) -> bytes:
        body = bodies.get(path, b"")
        fault = int(path[1:-4]) % 100 if body else 100
        status = b"200 OK"
        if not body or fault < failures * 100:
            kind = fault % 3 if body else 0
            status = b"404 Not Found" if kind == 0 else status
            body = (b"", b"<html></html>", body[: len(body) // 2])[kind]
        head = b"HTTP/1.1 %s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        return head + body

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                path = request.split(b" ", 2)[1].decode()
                if path == _SPAN:
                    writer.write(b"HTTP/1.0 200 OK\r\n\r\n%f" % (moments[-1] - moments[0]))
                    moments.clear()
                    return
                moments.append(time.monotonic())
                if latency:
                    await asyncio.sleep(latency)
                writer.write(answer(path))
                await writer.drain()
                if b"connection: close" in request.lower():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def download(table: Path, output: Path, port: int, mode: str) -> None:
    """Our side, in a process of its own."""
    from simpleseg_core.config import FilterConfig, IngestConfig, WebConfig
    from simpleseg_core.data.web import Job, ingest, read_metadata

    limits = IngestConfig(
        concurrency=_IN_FLIGHT,
        per_host=_IN_FLIGHT,
        retries=0,
        shard_size=500,
        resize="keep" if mode == "keep" else "longest",
        image_size=_RESIZED,
        allowed_private_hosts=(f"127.0.0.1:{port}",),
    )
    work = output.with_name("work")
    work.mkdir(exist_ok=True)
    web = WebConfig(metadata=str(table), filters=FilterConfig(max_punsafe="off"))
    print(json.dumps(ingest(Job("benchmark", web.filters, limits, output, work), read_metadata(web), _Silent())))


class _Silent:
    def planned(self, rows: int) -> None: ...

    def finished(self, counts: Mapping[str, int]) -> None: ...


def cpu_seconds(name: str, command: list[str], log: Path) -> float:
    """CPU time of a downloader and of everything it starts."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": str(_root())}
    watched = [sys.executable, __file__, "--measure", str(log), *command]
    code, cpu = json.loads(subprocess.run(watched, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    if code:
        raise SystemExit(f"{name} failed:\n{log.read_text()[-3000:]}")
    return float(cpu)


def run_measured(log: str, command: list[str]) -> None:
    """Run a command; print its exit code and the CPU seconds of all its processes, orphans included."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    with Path(log).open("w") as file:
        code = subprocess.run(command, stdout=file, stderr=file, check=False).returncode
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps([code, used.ru_utime + used.ru_stime]))


def _root() -> Path:
    return Path(__file__).resolve().parent.parent


def _count(output: Path) -> int:
    statuses = [
        s for file in output.glob("*.parquet") for s in pq.read_table(file, columns=["status"])["status"].to_pylist()
    ]
    return sum(status in ("ok", "success") for status in statuses)


@contextmanager
def _server(site: Path, case: Case) -> Iterator[int]:
    command = [sys.executable, __file__, "--serve", str(site), str(case.latency_ms), str(case.failures)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield int(next(iter(process.stdout or [])))
        finally:
            process.terminate()


def _peer_command(peer: str, table: Path, output: Path, mode: str) -> list[str]:
    keep = mode == "keep"
    options = {
        "url_list": str(table),
        "output_folder": str(output),
        "input_format": "parquet",
        "url_col": "URL",
        "caption_col": "TEXT",
        "output_format": "webdataset",
        "processes_count": _PROCESSES,
        "thread_count": _IN_FLIGHT // _PROCESSES,
        "number_sample_per_shard": 500,
        "resize_mode": "no" if keep else "keep_ratio_largest",
        "image_size": _RESIZED,
        "resize_only_if_bigger": True,
        "skip_reencode": keep,
        "encode_quality": 92,
        "compute_hash": "sha256",
        "retries": 0,
        "timeout": 10,
        "enable_wandb": False,
    }
    return [peer, "-c", f"import img2dataset; img2dataset.download(**{options!r})"]


def compare(case: Case, site: Path, count: int, peer: str, folder: Path, start_cpu: dict[str, float]) -> list[Result]:
    """Both downloaders in one case, one after the other; what their start costs is kept in `start_cpu`."""
    with _server(site, case) as port:
        for rows in (_FEW, count):
            results = []
            for name in ("simpleseg", "img2dataset"):
                if rows == _FEW and name in start_cpu:
                    continue
                output = folder / f"{case.mode}-{case.latency_ms}-{case.failures}-{rows}" / name
                cpu = cpu_seconds(name, _command(name, case, port, rows, output, peer), output.with_suffix(".log"))
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{_SPAN}") as answer:
                    seconds = float(answer.read())
                if rows == _FEW:
                    start_cpu[name] = cpu
                results.append(Result(name, case, rows, _count(output), seconds, cpu - start_cpu[name]))
    return results


def _command(name: str, case: Case, port: int, count: int, output: Path, peer: str) -> list[str]:
    """The command line of a downloader, and the table of URLs that it needs."""
    output.mkdir(parents=True)
    table = output.with_suffix(".table")
    rows = [{"URL": f"http://127.0.0.1:{port}/{i}.jpg", "TEXT": f"caption {i}"} for i in range(count)]
    pq.write_table(pa.Table.from_pylist(rows), table)
    if name == "simpleseg":
        return [sys.executable, __file__, "--download", str(table), str(output), str(port), case.mode]
    return _peer_command(peer, table, output, case.mode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="interpreter of an environment with img2dataset")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--modes", nargs="+", default=["keep", "resize"], choices=["keep", "resize"])
    parser.add_argument("--latencies", nargs="+", type=int, default=[0, 50])
    parser.add_argument("--failures", nargs="+", type=float, default=[0.0, 0.2])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--download", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(Path(options.serve[0]), int(options.serve[1]) / 1000, float(options.serve[2])))
    elif options.measure:
        run_measured(options.measure[0], options.measure[1:])
    elif options.download:
        table, output, port, mode = options.download
        download(Path(table), Path(output), int(port), mode)
    elif not options.peer:
        parser.error("name the interpreter of an environment with img2dataset: --peer PYTHON")
    else:
        _compare_all(options)


def _compare_all(options: argparse.Namespace) -> None:
    cases = [Case(mode, ms, share) for mode in options.modes for ms in options.latencies for share in options.failures]
    results: list[Result] = []
    start_cpu: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        write_site(site, options.images)
        for case in cases:
            results += compare(case, site, options.images, options.peer, Path(folder), start_cpu)
            _print(results[-2:])
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def _print(pair: list[Result]) -> None:
    ours, theirs = pair
    case = ours.case
    print(
        f"{case.mode:6} latency {case.latency_ms:2} ms, failures {case.failures:3.0%}: "
        + ", ".join(
            f"{r.downloader} {r.images}/{r.rows}, {r.rows_per_second:.0f}/s, {r.cpu_per_thousand:.2f} CPU s per 1,000"
            for r in pair
        )
        + f" -> {ours.rows_per_second / theirs.rows_per_second:.2f}x speed, "
        f"{ours.cpu_per_thousand / theirs.cpu_per_thousand:.2f}x CPU",
        flush=True,
    )


if __name__ == "__main__":
    main()
