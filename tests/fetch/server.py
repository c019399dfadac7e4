"""A real HTTP server on the loopback interface whose paths misbehave on demand."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image


def jpeg(seed: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """A small photograph-like JPEG, another one for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


@dataclass
class Exchange:
    """One request and the raw connection to answer it on."""

    path: str
    headers: Mapping[str, str]
    writer: asyncio.StreamWriter
    keep: bool = True

    async def send(
        self, body: bytes = b"", status: int = 200, kind: str = "image/jpeg", headers: Mapping[str, str] | None = None
    ) -> None:
        """A complete answer; a header given here replaces the usual one."""
        fields = {"Content-Type": kind, "Content-Length": str(len(body))} | dict(headers or {})
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        await self.raw(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)

    async def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.keep = False


Handler = Callable[[Exchange], Awaitable[None]]


@dataclass
class Server:
    """Serves `routes`; paths that are missing are 404. `requests` holds the path of every request that came in."""

    routes: dict[str, Handler] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        """URL of a path."""
        return f"http://{self.address}{path}"

    def image(self, path: str, body: bytes, **kwargs: object) -> None:
        """Serve a body at a path, the ordinary way."""

        async def answer(exchange: Exchange) -> None:
            await exchange.send(body, **kwargs)  # type: ignore[arg-type]

        self.routes[path] = answer

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.split("\r\n")
        path = request.split(" ")[1]
        self.requests.append(path)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        exchange = Exchange(path, headers, writer)
        await self.routes.get(path.partition("?")[0], _missing)(exchange)
        return exchange.keep


async def _missing(exchange: Exchange) -> None:
    await exchange.send(b"not here", 404, "text/plain")
