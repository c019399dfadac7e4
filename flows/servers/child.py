"""The process of a server: `python -m flows.servers.child PAGE MODULE:FACTORY SOCKET`, started by `launch`."""

import importlib
import os
import socket
import sys
from contextlib import suppress
from threading import Thread

import uvicorn

from flows.servers.access import Access
from flows.servers.guard import Guard

_GRACE_S = 5


def main(page: str, factory: str, descriptor: str) -> None:
    """Serve what a factory makes, behind the guard, on an open socket, until the owner closes our standard input."""
    access = Access.handed_over()
    module, _, name = factory.partition(":")
    app = getattr(importlib.import_module(module), name)()
    server = uvicorn.Server(
        uvicorn.Config(
            Guard(app, access, page),
            log_level="warning",
            access_log=False,  # addresses hold tickets
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )
    Thread(target=_end_with_owner, args=(server,), daemon=True).start()
    with suppress(KeyboardInterrupt):  # it raises again what has ended it
        server.run(sockets=[socket.socket(fileno=int(descriptor))])


def _end_with_owner(server: uvicorn.Server) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    server.should_exit = True  # closed, by the owner or, however that died, by the operating system


if __name__ == "__main__":
    main(*sys.argv[1:])
