"""A local server of JPEG files that answers late, or wrongly, as often as it is told to.

python benchmarks/image_server.py FOLDER CASE     CASE is JSON: mode, latency_ms, failures
"""

import asyncio
import json
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

_FAULTS = 100
"""Of so many images in a row the first ones fail."""
_SPAN = "/span"
"""Asks the server for the seconds between the first and the last request since it was last asked."""


@dataclass(frozen=True)
class Case:
    """What is asked of a downloader, and what the server does to it."""

    mode: str
    latency_ms: int
    failures: float

    def fault(self, number: int) -> str | None:
        """What is wrong with an image."""
        place = number % _FAULTS
        return ("404", "page", "half")[place % 3] if place < self.failures * _FAULTS else None


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


@contextmanager
def image_server(site: Path, case: Case) -> Iterator[int]:
    """Serve a site from a process of its own, on the port that this yields."""
    command = [sys.executable, __file__, str(site), json.dumps(asdict(case))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield int(next(iter(process.stdout or [])))
        finally:
            process.terminate()


def span(port: int) -> float:
    """Seconds between the first and the last request since this was last asked."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{_SPAN}") as answer:
        return float(answer.read())


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Case(**json.loads(sys.argv[2]))))
