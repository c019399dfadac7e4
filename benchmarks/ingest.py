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
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.image_server import Case, image_server, span, write_site
from benchmarks.usage import measure

_SIZE = (640, 480)
_IN_FLIGHT = 64
_PROCESSES = 2
_RESIZED = 256
_NAMES = ("simpleseg", "img2dataset")
_FEW = 30
_TIMEOUT_S = 60
_TINY = (48, 32)


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


def download(table: Path, output: Path, port: int, mode: str) -> None:
    """Our side, in a process of its own."""
    from simpleseg_core.config import FilterConfig, IngestConfig, WebConfig
    from simpleseg_core.fetch import FetchJob, ingest, read_metadata

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
    print(json.dumps(ingest(FetchJob("benchmark", web.filters, limits, output, work), read_metadata(web), _Silent())))


class _Silent:
    def planned(self, rows: int) -> None: ...

    def finished(self, counts: Mapping[str, int]) -> None: ...


def _statuses(output: Path) -> dict[str, int]:
    files = output.glob("*.parquet")
    return dict(Counter(s for file in files for s in pq.read_table(file, columns=["status"])["status"].to_pylist()))


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
    with image_server(site, case) as port:
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
    seconds = span(port)
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
    parser.add_argument("--download", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.download:
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
    with image_server(site, case) as port:
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
