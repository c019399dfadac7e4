"""Our downloader against img2dataset: the same files from the same local server, with as many workers and processes.

    python benchmarks/ingest.py --peer PYTHON [--images 3000] [--modes keep resize] [--json FILE]
    python benchmarks/ingest.py --scale 10000 100000          ours alone: memory and time against the rows fetched
    python benchmarks/ingest.py --filtered 100000 1000000     the same against rows that a filter refuses

PYTHON is the interpreter of a virtual environment that has img2dataset:
`python3.11 -m venv peer && peer/bin/pip install img2dataset`.

Both use two workers (img2dataset's fetch and decode, ours decode while the main process fetches), 64 requests in
flight, and no retries; how many processes that makes in all is counted and printed. Ours keeps every check on:
addresses, robots.txt, reservations, caps, decoding of every image, hashes, near duplicates. `keep` stores images as
served, `resize` shrinks them to 256 pixels and encodes them again. Of the failures a third each is 404, a web page and
half an image. Speed is counted between the first and the last request that the server sees; CPU is that of the
downloader and all its processes, less what a run of a few images costs: starting, mostly imports, is not what a
download of millions waits for. They take turns for some rounds; shown are the best speed and the median of the CPU, for
other work on the machine slows a round down and never speeds it up. Time caps are a minute, so that a busy machine
costs no images. All traffic stays on 127.0.0.1.
"""

import argparse
import asyncio
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

_SIZE = (640, 480)
_IN_FLIGHT = 64
_PROCESSES = 2
_RESIZED = 256
_SUBREAPER = 36
_NAMES = ("simpleseg", "img2dataset")
_FEW = 30
_LOOK_S = 0.25
_TIMEOUT_S = 60
_TINY = (48, 32)
_FAULTS = 100
"""Of so many images in a row the first ones fail."""
_SPAN = "/span"
"""Asks the server for the seconds between the first and the last request since it was last asked."""


@dataclass(frozen=True)
class Case:
    """What is asked of both, and what the server does to them."""

    mode: str
    latency_ms: int
    failures: float

    def fault(self, number: int) -> str | None:
        """What is wrong with an image."""
        place = number % _FAULTS
        return ("404", "page", "half")[place % 3] if place < self.failures * _FAULTS else None


@dataclass(frozen=True)
class Usage:
    """Processor time of a command and all its processes, the most memory that one of them had, and the most of them at
    a time."""

    cpu_seconds: float
    peak_mib: float
    processes: int


@dataclass(frozen=True)
class Result:
    """One downloader in one case; `seconds` are between the first and the last request."""

    downloader: str
    case: Case
    rows: int
    status: dict[str, int]
    seconds: float
    cpu_seconds: float
    peak_mib: float
    processes: int

    @property
    def images(self) -> int:
        return self.status.get("ok", 0) + self.status.get("success", 0)

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds

    @property
    def cpu_per_thousand(self) -> float:
        return 1000 * self.cpu_seconds / self.rows


def write_site(folder: Path, count: int, size: tuple[int, int]) -> None:
    """JPEG files with the detail of photographs, each another one, in one file for each thousand: no folder is full."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    grain = rng.integers(0, 24, (*size[::-1], 3), dtype=np.uint8)
    for start in range(0, count, 1000):
        with tarfile.open(folder / f"{start // 1000:05d}.tar", "w") as tar:
            for number in range(start, min(start + 1000, count)):
                coarse = rng.integers(0, 232, (9, 12, 3), dtype=np.uint8)
                image = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR))
                body = BytesIO()
                Image.fromarray(image + np.roll(grain, number, axis=1)).save(body, format="JPEG", quality=85)
                member = tarfile.TarInfo(f"{number}.jpg")
                member.size = body.tell()
                body.seek(0)
                tar.addfile(member, body)


def read_site(folder: Path) -> dict[str, bytes]:
    """Path of a URL -> body."""
    bodies = {}
    for file in folder.glob("*.tar"):
        with tarfile.open(file) as tar:
            bodies |= {f"/{member.name}": body.read() for member in tar if (body := tar.extractfile(member))}
    return bodies


async def serve(folder: Path, case: Case) -> None:
    """Serve the files from memory on a free port, which is printed."""
    bodies = read_site(folder)
    moments: list[float] = []

    def answer(path: str) -> bytes:
        body = bodies.get(path, b"")
        fault = case.fault(int(path[1:-4])) if body else "404"
        match fault:
            case "404":
                body = b""
            case "page":
                body = b"<html></html>"
            case "half":
                body = body[: len(body) // 2]
        status = b"404 Not Found" if fault == "404" else b"200 OK"
        head = b"HTTP/1.1 %s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        return head + body

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                path = request.split(b" ", 2)[1].decode()
                if path == _SPAN:
                    writer.write(b"HTTP/1.0 200 OK\r\n\r\n%f" % (moments[-1] - moments[0] if moments else 0))
                    moments.clear()
                    return
                moments.append(time.monotonic())
                if case.latency_ms:
                    await asyncio.sleep(case.latency_ms / 1000)
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
        workers=_PROCESSES,
        retries=0,
        timeout_s=_TIMEOUT_S,
        shard_size=500,
        resize="longest" if mode == "resize" else "keep",
        image_size=_RESIZED,
        allowed_private_hosts=(f"127.0.0.1:{port}",),
    )
    work = output.with_name("work")
    work.mkdir(exist_ok=True)
    web = WebConfig(metadata=str(table), filters=FilterConfig(max_punsafe=0.5))
    print(json.dumps(ingest(Job("benchmark", web.filters, limits, output, work), read_metadata(web), _Silent())))


class _Silent:
    def planned(self, rows: int) -> None: ...

    def finished(self, counts: Mapping[str, int]) -> None: ...


def measure(name: str, command: list[str], log: Path) -> Usage:
    """What a downloader and everything that it starts needs."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": str(_root())}
    watched = [sys.executable, __file__, "--measure", str(log), *command]
    answer = subprocess.run(watched, env=environment, stdout=subprocess.PIPE, check=True).stdout
    code, cpu, peak, processes = json.loads(answer)
    if code:
        raise SystemExit(f"{name} failed:\n{log.read_text()[-3000:]}")
    return Usage(float(cpu), float(peak), int(processes))


def run_measured(log: str, command: list[str]) -> None:
    """Run a command; print its exit code and what all its processes needed, orphans included."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    most = 0
    with Path(log).open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        while process.poll() is None:
            most = max(most, len(psutil.Process().children(recursive=True)))
            time.sleep(_LOOK_S)
    code = process.returncode
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, most]))


def _root() -> Path:
    return Path(__file__).resolve().parent.parent


def _statuses(output: Path) -> dict[str, int]:
    files = output.glob("*.parquet")
    return dict(Counter(s for file in files for s in pq.read_table(file, columns=["status"])["status"].to_pylist()))


@contextmanager
def _server(site: Path, case: Case) -> Iterator[int]:
    command = [sys.executable, __file__, "--serve", str(site), json.dumps(asdict(case))]
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
        "timeout": _TIMEOUT_S,
        "enable_wandb": False,
    }
    return [peer, "-c", f"import img2dataset; img2dataset.download(**{options!r})"]


def in_turns(case: Case, site: Path, rows: int, peer: str, folder: Path, rounds: int) -> dict[str, list[Result]]:
    """Both downloaders in one case, some rounds each."""
    results: dict[str, list[Result]] = {name: [] for name in _NAMES}
    with _server(site, case) as port:
        for number in range(rounds):
            for name in _NAMES:
                results[name].append(download_once(name, case, port, rows, peer, folder / str(number)))
    return results


def typical(results: list[Result], start: float) -> Result:
    """The best speed and the median CPU of some rounds, less the CPU seconds of the start."""
    cpu = statistics.median(result.cpu_seconds for result in results)
    return replace(min(results, key=lambda result: result.seconds), cpu_seconds=cpu - start)


def download_once(name: str, case: Case, port: int, rows: int, peer: str, folder: Path) -> Result:
    """One downloader in one case, start and all."""
    output = folder / name
    usage = measure(name, _command(name, case, port, rows, output, peer), output.with_suffix(".log"))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{_SPAN}") as answer:
        seconds = float(answer.read())
    result = Result(name, case, rows, _statuses(output), seconds, usage.cpu_seconds, usage.peak_mib, usage.processes)
    whole = 0 if case.mode == "filtered" else sum(case.fault(number) is None for number in range(rows))
    if result.images != whole:
        raise SystemExit(f"{name} has {result.images} images of {whole}: {result.status}; see {output}.log")
    return result


def _command(name: str, case: Case, port: int, count: int, output: Path, peer: str) -> list[str]:
    """The command line of a downloader, and the table of URLs that it needs."""
    output.mkdir(parents=True)
    table = output.with_suffix(".table")
    columns = {
        "URL": [f"http://127.0.0.1:{port}/{number}.jpg" for number in range(count)],
        "TEXT": [f"caption {number}" for number in range(count)],
        "punsafe": np.full(count, 0.9 if case.mode == "filtered" else 0.1),
    }
    pq.write_table(pa.table(columns), table)
    if name == "simpleseg":
        return [sys.executable, __file__, "--download", str(table), str(output), str(port), case.mode]
    return _peer_command(peer, table, output, case.mode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="interpreter of an environment with img2dataset")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--modes", nargs="+", default=["keep", "resize"], choices=["keep", "resize"])
    parser.add_argument("--latencies", nargs="+", type=int, default=[0, 50])
    parser.add_argument("--failures", nargs="+", type=float, default=[0.0, 0.2])
    parser.add_argument("--scale", nargs="+", type=int, metavar="ROWS", help="our memory and time for so many rows")
    parser.add_argument("--filtered", nargs="+", type=int, metavar="ROWS", help="the same for rows that are refused")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--download", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(Path(options.serve[0]), Case(**json.loads(options.serve[1]))))
    elif options.measure:
        run_measured(options.measure[0], options.measure[1:])
    elif options.download:
        table, output, port, mode = options.download
        download(Path(table), Path(output), int(port), mode)
    elif not (options.peer or options.scale or options.filtered):
        parser.error("name the interpreter of an environment with img2dataset: --peer PYTHON")
    else:
        with tempfile.TemporaryDirectory() as folder:
            results = [
                *_scale(options.scale, "keep", Path(folder)),
                *_scale(options.filtered, "filtered", Path(folder)),
            ]
            results += _compare(options, Path(folder))
        if options.json:
            options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def _compare(options: argparse.Namespace, folder: Path) -> Iterator[Result]:
    """Both downloaders in all cases, as a table."""
    if not options.peer:
        return
    site, rounds = folder / "site", options.rounds
    write_site(site, options.images, _SIZE)
    few = in_turns(Case("keep", 0, 0), site, _FEW, options.peer, folder / "start", rounds)
    start = {name: statistics.median(result.cpu_seconds for result in few[name]) for name in _NAMES}
    print(f"CPU s to start: {start['simpleseg']:.1f} ours, {start['img2dataset']:.1f} img2dataset\n")
    print(
        "| images | latency | failures | images/s | img2dataset | ratio | CPU s per 1,000 | img2dataset | ratio "
        "| processes | img2dataset |"
    )
    print("|---" * 11 + "|")
    cases = [Case(mode, ms, share) for mode in options.modes for ms in options.latencies for share in options.failures]
    for number, case in enumerate(cases):
        results = in_turns(case, site, options.images, options.peer, folder / f"case{number}", rounds)
        ours, theirs = (typical(results[name], start[name]) for name in _NAMES)
        print(
            f"| {case.mode} | {case.latency_ms} ms | {case.failures:.0%} "
            f"| {ours.rows_per_second:.0f} | {theirs.rows_per_second:.0f} "
            f"| {ours.rows_per_second / theirs.rows_per_second:.2f} "
            f"| {ours.cpu_per_thousand:.2f} | {theirs.cpu_per_thousand:.2f} "
            f"| {ours.cpu_per_thousand / theirs.cpu_per_thousand:.2f} | {ours.processes} | {theirs.processes} |",
            flush=True,
        )
        yield from (ours, theirs)


def _scale(sizes: list[int] | None, mode: str, folder: Path) -> Iterator[Result]:
    """Ours on tables of growing size: all of it fetched, from tiny images, or all of it refused by a filter."""
    if not sizes:
        return
    site, case = folder / f"site-{mode}", Case(mode, 0, 0)
    write_site(site, max(sizes) if mode == "keep" else 1, _TINY)
    print(f"| rows ({mode}) | seconds | CPU s | CPU s per 1,000 | peak memory, MiB |\n|---|---|---|---|---|")
    with _server(site, case) as port:
        for rows in sizes:
            start = time.monotonic()
            result = download_once("simpleseg", case, port, rows, "", folder / f"{mode}{rows}")
            print(
                f"| {rows:,} | {time.monotonic() - start:.0f} | {result.cpu_seconds:.0f} "
                f"| {result.cpu_per_thousand:.2f} | {result.peak_mib:.0f} |",
                flush=True,
            )
            yield result


if __name__ == "__main__":
    main()
